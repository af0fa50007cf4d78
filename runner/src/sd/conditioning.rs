//! A prompt as the UNet takes it.

use candle_core::{Result, Tensor};

use super::clip::{ClipConfig, ClipTextModel, Encoded};
use super::error::{LoadError, PaintError};
use super::folder::Folder;
use super::index::{Family, Index};
use super::tokenizer::Tokenizer;
use crate::nn::weights::{Placement, Weights};

/// The aesthetic scores that diffusers gives SDXL's refiner for the prompt and for the negative prompt.
const AESTHETIC_SCORES: [f32; 2] = [6.0, 2.5];

/// The configurations of a model's text encoders.
pub(super) struct TextConfigs {
    encoders: Vec<(&'static str, &'static str, ClipConfig)>,
    /// Width of an embedded prompt.
    pub(super) width: usize,
    /// Width of a pooled prompt.
    pub(super) pooled_width: usize,
}

impl TextConfigs {
    pub(super) fn read(folder: &Folder, index: &Index) -> std::result::Result<Self, LoadError> {
        let mut configs = Self { encoders: Vec::new(), width: 0, pooled_width: 0 };
        for (component, tokenizer) in index.encoders() {
            let config = ClipConfig::read(&folder.config(&format!("{component}/config.json"))?)?;
            configs.width += config.width;
            configs.pooled_width = config.projection;
            configs.encoders.push((component, tokenizer, config));
        }
        Ok(configs)
    }
}

/// The text encoders of a model with their tokenizers.
pub(super) struct TextEncoders {
    encoders: Vec<(Tokenizer, ClipTextModel)>,
    family: Family,
    clip_skip: Option<usize>,
    zeros_for_empty: bool,
    aesthetics: bool,
}

/// A prompt, embedded.
#[derive(Clone)]
pub(super) struct Prompt {
    /// `[1, tokens, width]`.
    pub(super) text: Tensor,
    /// `[1, width]`.
    pub(super) pooled: Tensor,
}

impl TextEncoders {
    pub(super) fn load(
        folder: &Folder,
        index: &Index,
        configs: &TextConfigs,
        placement: &Placement,
    ) -> std::result::Result<Self, LoadError> {
        let mut encoders = Vec::new();
        for (component, tokenizer, config) in &configs.encoders {
            let tokenizer = Tokenizer::load(folder, tokenizer, config.positions)?;
            let weights = Weights::open(&folder.weights(component)?, placement.clone())?;
            encoders.push((tokenizer, ClipTextModel::load(&weights, config, *component == "text_encoder_2")?));
        }
        Ok(Self {
            encoders,
            family: index.family,
            clip_skip: index.clip_skip,
            zeros_for_empty: index.zeros_for_empty,
            aesthetics: index.aesthetics,
        })
    }

    /// Embeds a prompt. What the visitor should know of it is added to `warnings`.
    pub(super) fn prompt(&self, text: &str, warnings: &mut Vec<String>) -> std::result::Result<Prompt, PaintError> {
        self.embed(text, "prompt", self.clip_skip.unwrap_or(0), warnings)
    }

    /// Embeds a negative prompt. None at all is not the same as an empty one: SDXL takes zeros for it.
    pub(super) fn negative(
        &self,
        text: Option<&str>,
        like: &Prompt,
        warnings: &mut Vec<String>,
    ) -> std::result::Result<Prompt, PaintError> {
        if text.is_none() && self.family == Family::Xl && self.zeros_for_empty {
            let zeros = |like: &Tensor| like.zeros_like().map_err(encoding);
            return Ok(Prompt { text: zeros(&like.text)?, pooled: zeros(&like.pooled)? });
        }
        self.embed(text.unwrap_or_default(), "negative prompt", 0, warnings)
    }

    fn embed(
        &self,
        text: &str,
        name: &str,
        skip: usize,
        warnings: &mut Vec<String>,
    ) -> std::result::Result<Prompt, PaintError> {
        let mut texts = Vec::new();
        let mut pooled = None;
        let mut lost = 0;
        for (tokenizer, encoder) in &self.encoders {
            let tokens = tokenizer.encode(text).map_err(|error| PaintError::Tokenize(error.to_string()))?;
            lost = lost.max(tokens.lost);
            let encoded = encoder.forward(&tokens.ids).map_err(encoding)?;
            texts.push(self.state(encoder, &encoded, skip)?);
            pooled = Some(encoded.pooled);
        }
        if lost > 0 {
            warnings.push(format!("the {name} is too long: its last {lost} tokens were left out"));
        }
        let pooled = pooled.expect("a model has a text encoder");
        Ok(Prompt { text: Tensor::cat(&texts, 2).map_err(encoding)?, pooled })
    }

    /// The layer's output that the family's UNets were trained on.
    fn state(
        &self,
        encoder: &ClipTextModel,
        encoded: &Encoded,
        skip: usize,
    ) -> std::result::Result<Tensor, PaintError> {
        let from_end = |distance: usize| {
            encoded.states.len().checked_sub(1 + distance).map(|index| &encoded.states[index]).ok_or_else(|| {
                let problem = format!("is {skip}, but the text encoder has {} layers", encoded.states.len() - 1);
                PaintError::Parameter { field: "clip_skip", problem }
            })
        };
        match self.family {
            Family::Xl => from_end(skip + 1).cloned(),
            _ if skip == 0 => Ok(encoded.last.clone()),
            _ => encoder.normalise(from_end(skip)?).map_err(encoding),
        }
    }

    /// SDXL's size numbers for the prompt and for the negative prompt.
    pub(super) fn sizes(&self, width: usize, height: usize) -> [Vec<f32>; 2] {
        let size = [height as f32, width as f32];
        AESTHETIC_SCORES.map(|score| {
            let corner = [0.0, 0.0];
            let third: &[f32] = if self.aesthetics { &[score] } else { &size };
            [&size, &corner, third].concat()
        })
    }
}

fn encoding(source: candle_core::Error) -> PaintError {
    PaintError::Compute { stage: "encoding the prompt", source }
}

/// Two prompts one behind the other, for guidance.
pub(super) fn stack(first: &Prompt, second: &Prompt) -> Result<Prompt> {
    Ok(Prompt {
        text: Tensor::cat(&[&first.text, &second.text], 0)?,
        pooled: Tensor::cat(&[&first.pooled, &second.pooled], 0)?,
    })
}
