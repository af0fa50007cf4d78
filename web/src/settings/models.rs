//! `[models]`: which model paints, what else it is called, and how single models are loaded.

use std::collections::BTreeMap;

use livewebcam_jobs::{DeviceChoice, LoadOptions, Precision};
use serde::{Deserialize, Serialize};

/// `[models]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Keys")]
pub struct Models {
    /// The model that paints where a request names none.
    pub default: String,
    /// Other names for installed models; case does not matter. The embedded default maps the names in the Python version's
    /// selector to `starter`.
    pub alias: BTreeMap<String, String>,
    /// Settings of single models, by their full names; case does not matter.
    #[serde(flatten)]
    pub own: BTreeMap<String, Model>,
}

impl Default for Models {
    fn default() -> Self {
        Self { default: "starter".to_owned(), alias: BTreeMap::new(), own: BTreeMap::new() }
    }
}

/// `[models]` as it is written: what is neither of the two keys must be a model's table.
#[derive(Deserialize)]
struct Keys {
    default: Option<String>,
    #[serde(default)]
    alias: BTreeMap<String, String>,
    #[serde(flatten)]
    own: BTreeMap<String, toml::Value>,
}

impl TryFrom<Keys> for Models {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let own = keys.own.into_iter().map(|(name, value)| {
            if !value.is_table() {
                return Err(format!("unknown field `{name}`, expected `default`, `alias` or the table of a model"));
            }
            let model = value.try_into().map_err(|error| format!("models.\"{name}\": {}", error.message()))?;
            Ok((name, model))
        });
        let default = keys.default.unwrap_or_else(|| Self::default().default);
        Ok(Self { default, alias: keys.alias, own: own.collect::<Result<_, _>>()? })
    }
}

/// `[models."<org>/<name>"]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// Where it computes.
    pub device: DeviceChoice,
    /// The number format of its weights.
    pub dtype: Precision,
    /// Whether a TAESD takes the place of its own autoencoder.
    pub taesd: bool,
    /// Seconds from the submission to the result, in place of `deadlines.job`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<f64>,
}

impl Model {
    /// How the runner loads it.
    #[must_use]
    pub fn loading(&self) -> LoadOptions {
        LoadOptions { device: self.device, precision: self.dtype, taesd: self.taesd }
    }
}

impl Models {
    /// What is set for the model with this full name.
    #[must_use]
    pub fn of(&self, name: &str) -> Model {
        let own = self.own.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map_or_else(Model::default, |(_, model)| model.clone())
    }

    /// Maps the names that the Python version's page and its documentation know to `starter`, unless they are mapped already.
    pub(super) fn add_python_names(&mut self) {
        for name in PYTHON_MODELS {
            self.alias.entry(name.to_owned()).or_insert_with(|| "starter".to_owned());
        }
    }
}

const PYTHON_MODELS: [&str; 10] = [
    "CompVis/stable-diffusion-v1-4",
    "dreamlike-art/dreamlike-photoreal-2.0",
    "gsdf/Counterfeit-V2.5",
    "lykon/dreamshaper-8",
    "prompthero/openjourney",
    "runwayml/stable-diffusion-v1-5",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-inpainting",
];
