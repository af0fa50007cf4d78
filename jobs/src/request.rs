//! `request.json`: what a visitor asked for. User text goes in here and nowhere else.

use serde::{Deserialize, Serialize};

use crate::{Blend, Clamped, JobId, LoadOptions};

/// The version of `request.json` that this crate writes; a runner refuses a newer one.
pub const REQUEST_VERSION: u32 = 1;

/// What to paint. With `input.png` beside it, everything that the picture depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`REQUEST_VERSION`] of the frontend that wrote it.
    pub version: u32,
    /// The job's id: the name of its directory.
    pub id: JobId,
    /// The installed model's full name.
    pub model: String,
    /// Width of `input.png` and of the painting, in pixels.
    pub width: u32,
    /// Height of `input.png` and of the painting, in pixels.
    pub height: u32,
    /// The model's parameters, already inside its bounds.
    #[serde(flatten)]
    pub parameters: Parameters,
    /// How the operator has the model loaded.
    #[serde(default, skip_serializing_if = "LoadOptions::is_default")]
    pub loading: LoadOptions,
    /// Numbers that were out of bounds in the visitor's request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clamped: Vec<Clamped>,
    /// SHA-256 of the visitor's cookie in hexadecimal: whose job it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
}

/// The parameters of a painting. Absent ones take the model's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// What the picture should show.
    pub prompt: String,
    /// What it should not show.
    pub negative_prompt: String,
    /// One style or a blend, for models that have styles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<Blend>,
    /// Number of denoising steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Scale of classifier-free guidance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// How far the painting may leave the frame, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Seed of the random numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Name of the noise scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_json_whatever_the_prompt_holds() {
        let request = Request {
            version: REQUEST_VERSION,
            id: JobId::new(),
            model: "starter".to_owned(),
            width: 512,
            height: 384,
            parameters: Parameters {
                prompt: "\"quotes\" `backticks` $(reboot)\n\u{1b}[31m\0 <script>".to_owned(),
                style: Some("embers:0.5, pastel:0.5".parse().expect("a blend")),
                strength: Some(0.5),
                seed: Some(u64::MAX),
                ..Parameters::default()
            },
            loading: LoadOptions { taesd: true, ..LoadOptions::default() },
            clamped: vec![Clamped { field: "steps".to_owned(), from: "9999".to_owned(), to: "150".to_owned() }],
            visitor: Some("ab".repeat(32)),
            retry_of: None,
        };
        let json = crate::local::to_json(&request);
        assert_eq!(serde_json::from_slice::<Request>(&json).expect("a request"), request);
    }
}
