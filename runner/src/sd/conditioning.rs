//! A prompt as the UNet takes it.

use std::sync::OnceLock;

use candle_core::Result;

use super::clip::{ClipConfig, ClipTextModel, Encoded};
use super::error::{LoadError, PaintError};
use super::folder::Folder;
use super::index::{Family, Index};
use super::prompts::{self, Embedded};
use super::tokenizer::Tokenizer;
use crate::hash::sha256;
use crate::nn::tokens::Tokens;
use crate::nn::weights::{self, Placement};

/// The aesthetic scores that diffusers gives SDXL's refiner for the prompt and for the negative prompt.
const AESTHETIC_SCORES: [f32; 2] = [6.0, 2.5];

/// The configurations of a model's text encoders.
#[derive(Debug)]
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

/// The text encoders of a model with their tokenizers. They are loaded for the first prompt whose embedding is not kept.
pub(super) struct TextEncoders {
    folder: Folder,
    configs: TextConfigs,
    placement: Placement,
    loaded: OnceLock<Vec<(Tokenizer, ClipTextModel)>>,
    /// A name for all that an embedding depends on but the prompt.
    identity: String,
    family: Family,
    clip_skip: Option<usize>,
    zeros_for_empty: bool,
    aesthetics: bool,
}

/// A prompt, embedded.
#[derive(Clone)]
pub(super) struct Prompt {
    /// A vector for each token.
    pub(super) text: Tokens,
    /// One vector.
    pub(super) pooled: Tokens,
}

impl TextEncoders {
    /// Looks only whether all files are there.
    pub(super) fn find(
        folder: &Folder,
        index: &Index,
        configs: TextConfigs,
        placement: &Placement,
    ) -> std::result::Result<Self, LoadError> {
        let version = env!("CARGO_PKG_VERSION");
        let mut identity = format!("{version} {:?} {placement:?} {configs:?}", index.family);
        for (component, tokenizer, _) in &configs.encoders {
            let weights = weights::identity(&folder.weights(component)?)?;
            let tokenizer = Tokenizer::identity(folder, tokenizer)?;
            identity.push_str(&format!(" {component} {weights} {tokenizer}"));
        }
        Ok(Self {
            folder: folder.clone(),
            configs,
            placement: placement.clone(),
            loaded: OnceLock::new(),
            identity,
            family: index.family,
            clip_skip: index.clip_skip,
            zeros_for_empty: index.zeros_for_empty,
            aesthetics: index.aesthetics,
        })
    }

    fn loaded(&self) -> std::result::Result<&[(Tokenizer, ClipTextModel)], LoadError> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let load = |(component, tokenizer, config): &(&'static str, &'static str, ClipConfig)| {
            let tokenizer = Tokenizer::load(&self.folder, tokenizer, config.positions)?;
            let projected = *component == "text_encoder_2";
            let (files, shelf) = (self.folder.weights(component)?, self.folder.shelf(component));
            let encoder = weights::load(&files, &self.placement, shelf.as_ref(), |weights| {
                ClipTextModel::load(weights, config, projected)
            })?;
            Ok((tokenizer, encoder))
        };
        let loaded = self.configs.encoders.iter().map(load).collect::<std::result::Result<Vec<_>, LoadError>>()?;
        Ok(self.loaded.get_or_init(|| loaded))
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
            let zeros = |like: &Tokens| like.zeros_like().map_err(encoding);
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
        let key = sha256(format!("{} {skip} {text}", self.identity));
        let shelf = self.folder.prompts();
        let kept = shelf.as_ref().and_then(|shelf| prompts::find(shelf, &key, &self.placement));
        let Embedded { prompt, lost } = match kept {
            Some(kept) => kept,
            None => {
                let embedded = self.embed_anew(text, skip)?;
                if let Some(shelf) = &shelf {
                    prompts::keep(shelf, &key, &embedded).map_err(encoding)?;
                }
                embedded
            }
        };
        if lost > 0 {
            warnings.push(format!("the {name} is too long: its last {lost} tokens were left out"));
        }
        Ok(prompt)
    }

    fn embed_anew(&self, text: &str, skip: usize) -> std::result::Result<Embedded, PaintError> {
        let mut prompt: Option<Prompt> = None;
        let mut lost = 0;
        for (tokenizer, encoder) in self.loaded()? {
            let tokens = tokenizer.encode(text).map_err(|error| PaintError::Tokenize(error.to_string()))?;
            lost = lost.max(tokens.lost);
            let encoded = encoder.forward(&tokens.ids).map_err(encoding)?;
            let text = self.state(encoder, &encoded, skip)?;
            let text = prompt.map_or(Ok(text.clone()), |first| first.text.concat(&text)).map_err(encoding)?;
            prompt = Some(Prompt { text, pooled: encoded.pooled });
        }
        Ok(Embedded { prompt: prompt.expect("a model has a text encoder"), lost })
    }

    /// The layer's output that the family's UNets were trained on.
    fn state(
        &self,
        encoder: &ClipTextModel,
        encoded: &Encoded,
        skip: usize,
    ) -> std::result::Result<Tokens, PaintError> {
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
    Ok(Prompt { text: first.text.stack(&second.text)?, pooled: first.pooled.stack(&second.pooled)? })
}
