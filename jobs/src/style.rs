//! A visitor's choice of styles: one name, or a blend of several.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Style, find_style};

/// Styles and their shares, as a visitor writes them: `starry night`, or `starry night:0.7, embers:0.3`.
///
/// Shares are positive and are normalised to sum to 1 by [`Blend::weights`]; a name without a share has share 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blend(Vec<(String, f32)>);

/// Why a text is no blend of a model's styles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlend {
    /// No name at all.
    #[error("no style is named; write a style's name, or a blend like `embers:0.3, midnight:0.7`")]
    Empty,
    /// A share that is no positive number.
    #[error("the share of style `{0}` is not a positive number; write it like `{0}:0.5`")]
    Share(String),
    /// A name that the model does not know.
    #[error("unknown style `{name}`; this model has: {known}")]
    Unknown {
        /// What the visitor wrote.
        name: String,
        /// The names of the model's styles, separated by commas.
        known: String,
    },
}

impl Blend {
    /// The share of each of a model's styles, in the model's order; the shares sum to 1.
    ///
    /// # Errors
    /// The first name that is none of `styles`. Case, and `-` or `_` for a space, do not matter.
    pub fn weights(&self, styles: &[Style]) -> Result<Vec<f32>, InvalidBlend> {
        let mut weights = vec![0.0; styles.len()];
        for (name, share) in &self.0 {
            let index = find_style(styles, name).ok_or_else(|| InvalidBlend::Unknown {
                name: name.clone(),
                known: styles.iter().map(|style| style.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            weights[index] += share;
        }
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Ok(weights)
    }
}

impl FromStr for Blend {
    type Err = InvalidBlend;

    fn from_str(text: &str) -> Result<Self, InvalidBlend> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let styles = parts
            .map(|part| {
                let (name, share) =
                    part.rsplit_once(':').map_or((part, "1"), |(name, share)| (name.trim(), share.trim()));
                match share.parse::<f32>() {
                    Ok(share) if share > 0.0 && share <= 1e6 => Ok((name.to_owned(), share)),
                    _ => Err(InvalidBlend::Share(name.to_owned())),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if styles.is_empty() { Err(InvalidBlend::Empty) } else { Ok(Self(styles)) }
    }
}

impl fmt::Display for Blend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, share)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            if self.0.len() == 1 { write!(f, "{name}")? } else { write!(f, "{separator}{name}:{share}")? }
        }
        Ok(())
    }
}

impl TryFrom<String> for Blend {
    type Error = InvalidBlend;

    fn try_from(text: String) -> Result<Self, InvalidBlend> {
        text.parse()
    }
}

impl From<Blend> for String {
    fn from(blend: Blend) -> Self {
        blend.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styles() -> Vec<Style> {
        ["pastel", "starry night", "embers"].map(|name| Style { name: name.to_owned() }).to_vec()
    }

    #[test]
    fn one_style_or_a_blend() {
        let weights = |text: &str| text.parse::<Blend>().expect("a blend").weights(&styles()).expect("known styles");
        assert_eq!(weights("embers"), [0.0, 0.0, 1.0]);
        assert_eq!(weights("Starry_Night"), [0.0, 1.0, 0.0]);
        assert_eq!(weights("pastel:1, starry-night:3"), [0.25, 0.75, 0.0]);
        assert_eq!(weights("pastel, embers"), [0.5, 0.0, 0.5]);
    }

    #[test]
    fn what_is_no_blend_says_why() {
        for text in ["", " , ", "pastel:0", "pastel:-1", "pastel:NaN", "pastel:inf", "pastel:much"] {
            text.parse::<Blend>().expect_err(text);
        }
        let unknown = "vermeer".parse::<Blend>().expect("a name").weights(&styles()).expect_err("not a style");
        assert_eq!(unknown.to_string(), "unknown style `vermeer`; this model has: pastel, starry night, embers");
    }

    #[test]
    fn a_blend_survives_its_own_spelling() {
        for text in ["embers", "pastel:0.25, starry night:0.75"] {
            let blend: Blend = text.parse().expect("a blend");
            assert_eq!(blend.to_string().parse(), Ok(blend));
        }
    }
}
