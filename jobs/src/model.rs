//! What a model says of itself: its controls, their bounds and defaults, and the frame sizes that it takes.

use serde::{Deserialize, Serialize};

use crate::{Blend, Clamped, InvalidBlend, LoadChoices, Parameters};

/// One installed model, as `livewebcam-runner models --json` lists it. The page draws its form from this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// As on the hub: `stabilityai/sd-turbo`; or `starter`, which is built into the runner.
    pub name: String,
    /// For people.
    pub title: String,
    /// What kind of network it is, for instance `style-transfer`.
    pub family: String,
    /// The frames that it takes.
    pub size: FrameSize,
    /// The parameters that it takes.
    pub controls: Controls,
    /// How it can be loaded; `None` for a model that leaves no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<LoadChoices>,
    /// The size of its weights in bytes.
    pub bytes: u64,
    /// The commit on the hub that it is of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Why it cannot paint (an incomplete download, say); `None` if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// The frame sizes that a model takes, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameSize {
    /// The largest width.
    pub width: u32,
    /// The largest height.
    pub height: u32,
    /// Width and height must be multiples of this.
    pub multiple_of: u32,
    /// Whether a frame keeps its own aspect ratio (it is scaled down to fit); otherwise it is cropped around its centre to
    /// exactly `width` × `height`.
    pub keep_aspect: bool,
}

/// An inclusive range of numbers and the value that stands for an absent one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds<T> {
    /// Smallest allowed value.
    pub min: T,
    /// Largest allowed value.
    pub max: T,
    /// Taken where the request has none.
    pub default: T,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Nearest value in the range.
    pub fn clamp(&self, value: T) -> T {
        if value < self.min {
            self.min
        } else if value > self.max {
            self.max
        } else {
            value
        }
    }
}

/// Bounds of a number of steps that hold where the model has none of its own.
pub(crate) const ANY_STEPS: Bounds<u32> = Bounds { min: 1, max: 150, default: 20 };
/// Bounds of a guidance scale that hold where the model has none of its own.
pub(crate) const ANY_GUIDANCE: Bounds<f64> = Bounds { min: 0.0, max: 30.0, default: 7.5 };
/// Bounds of a strength that hold where the model has none of its own.
pub(crate) const ANY_STRENGTH: Bounds<f64> = Bounds { min: 0.0, max: 1.0, default: 0.5 };

/// The parameters that a model takes. `None`, `false` and empty lists are parameters that it does not take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Controls {
    /// Whether a prompt changes the picture.
    pub prompt: bool,
    /// Whether a negative prompt changes the picture.
    pub negative_prompt: bool,
    /// Denoising steps.
    pub steps: Option<Bounds<u32>>,
    /// Scale of classifier-free guidance.
    pub guidance_scale: Option<Bounds<f64>>,
    /// How far the painting may leave the frame, 0 to 1.
    pub strength: Option<Bounds<f64>>,
    /// Whether a seed changes the picture.
    pub seed: bool,
    /// Names of the noise schedulers to choose from, the model's own first.
    pub schedulers: Vec<String>,
    /// Styles to choose from, the default first in [`Controls::default_style`].
    pub styles: Vec<Style>,
    /// The style that is painted where none is chosen.
    pub default_style: Option<String>,
}

/// A style that a model can paint in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Style {
    /// In lower case, with spaces: `starry night`.
    pub name: String,
}

/// The index of the style with this name; case, and `-` or `_` for a space, do not matter.
pub(crate) fn find_style(styles: &[Style], name: &str) -> Option<usize> {
    let plain = |name: &str| name.trim().to_lowercase().replace(['-', '_'], " ");
    let wanted = plain(name);
    styles.iter().position(|style| plain(&style.name) == wanted)
}

impl Controls {
    /// The blend that a request gets: the chosen one; else a style that the prompt names (the longest name wins); else the
    /// model's default. `None` for a model without styles.
    ///
    /// # Errors
    /// A chosen style that the model does not have.
    pub fn resolve_style(&self, style: Option<&Blend>, prompt: &str) -> Result<Option<Blend>, InvalidBlend> {
        if self.styles.is_empty() {
            return Ok(None);
        }
        if let Some(blend) = style {
            blend.weights(&self.styles)?;
            return Ok(Some(blend.clone()));
        }
        let prompt = prompt.to_lowercase().replace(['-', '_'], " ");
        let named =
            self.styles.iter().filter(|style| prompt.contains(&style.name)).max_by_key(|style| style.name.len());
        let name = named.map(|style| style.name.clone()).or_else(|| self.default_style.clone());
        name.map(|name| name.parse()).transpose()
    }

    /// Puts every number of `parameters` inside the bounds and says which ones it changed.
    ///
    /// A number that the model has no use for stays in the request, inside general bounds, so that the record of what was
    /// asked is complete.
    pub fn clamp(&self, parameters: &mut Parameters) -> Vec<Clamped> {
        let mut clamped = Vec::new();
        clamp(&mut clamped, "steps", &mut parameters.steps, self.steps.unwrap_or(ANY_STEPS));
        clamp(&mut clamped, "scale", &mut parameters.guidance_scale, self.guidance_scale.unwrap_or(ANY_GUIDANCE));
        clamp(&mut clamped, "strength", &mut parameters.strength, self.strength.unwrap_or(ANY_STRENGTH));
        clamped
    }
}

fn clamp<T: PartialOrd + Copy + ToString>(
    log: &mut Vec<Clamped>,
    field: &str,
    value: &mut Option<T>,
    bounds: Bounds<T>,
) {
    if let Some(asked) = value {
        let allowed = bounds.clamp(*asked);
        if allowed != *asked {
            log.push(Clamped { field: field.to_owned(), from: asked.to_string(), to: allowed.to_string() });
            *value = Some(allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls() -> Controls {
        Controls {
            prompt: true,
            strength: Some(Bounds { min: 0.0, max: 1.0, default: 1.0 }),
            styles: ["portrait in oil", "oil", "embers"].map(|name| Style { name: name.to_owned() }).to_vec(),
            default_style: Some("embers".to_owned()),
            ..Controls::default()
        }
    }

    #[test]
    fn the_chosen_style_wins_then_the_prompt_then_the_default() {
        let controls = controls();
        let resolve = |style: Option<&str>, prompt: &str| {
            let blend = style.map(|style| style.parse().expect("a blend"));
            controls.resolve_style(blend.as_ref(), prompt).map(|blend| blend.expect("a style").to_string())
        };
        assert_eq!(resolve(Some("oil"), "embers").as_deref(), Ok("oil"));
        assert_eq!(resolve(None, "A Portrait-in-Oil of me").as_deref(), Ok("portrait in oil"));
        assert_eq!(resolve(None, "whatever").as_deref(), Ok("embers"));
        assert!(resolve(Some("vermeer"), "").is_err());
        assert_eq!(Controls::default().resolve_style(None, ""), Ok(None));
    }

    #[test]
    fn numbers_out_of_bounds_are_clamped_and_reported() {
        let mut parameters =
            Parameters { steps: Some(9999), strength: Some(-3.0), guidance_scale: Some(7.5), ..Parameters::default() };
        let clamped = controls().clamp(&mut parameters);
        assert_eq!(
            (parameters.steps, parameters.strength, parameters.guidance_scale),
            (Some(150), Some(0.0), Some(7.5))
        );
        let report: Vec<String> = clamped.iter().map(ToString::to_string).collect();
        assert_eq!(report, ["steps=9999->150", "strength=-3->0"]);
    }
}
