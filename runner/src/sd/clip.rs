//! CLIP's text encoder (transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`).

use candle_core::Result;
use serde_json::json;

use super::config::Config;
use super::error::LoadError;
use crate::nn::activation::Activation;
use crate::nn::attention::{Mask, attention};
use crate::nn::embedding::Embedding;
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::Linear;
use crate::nn::tokens::Tokens;
use crate::nn::weights::{Weights, WeightsError};

/// A text encoder's `config.json`. Absent keys take transformers' defaults.
#[derive(Clone, Debug)]
pub(super) struct ClipConfig {
    vocabulary: usize,
    /// Width of the hidden states.
    pub width: usize,
    inner: usize,
    layers: usize,
    heads: usize,
    /// The number of ids that it takes.
    pub positions: usize,
    eps: f64,
    activation: Activation,
    end: u32,
    /// Width of the projected, pooled embedding.
    pub projection: usize,
}

impl ClipConfig {
    /// Reads it.
    ///
    /// # Errors
    /// A value that is not supported.
    pub(super) fn read(config: &Config) -> std::result::Result<Self, LoadError> {
        config.only("model_type", &[json!("clip_text_model")])?;
        config.only("use_attention_mask", &[json!(false)])?;
        let name = config.text_or("hidden_act", "quick_gelu")?;
        let activation = Activation::named(&name).ok_or_else(|| {
            config.error("hidden_act", format!("is {name:?}; supported: \"quick_gelu\", \"gelu\", \"silu\", \"relu\""))
        })?;
        let (width, heads) = (config.or("hidden_size", 512)?, config.or("num_attention_heads", 8)?);
        if heads == 0 || width % heads != 0 {
            return Err(config.error("num_attention_heads", format!("is {heads}, which does not divide {width}")));
        }
        Ok(Self {
            vocabulary: config.or("vocab_size", 49_408)?,
            width,
            inner: config.or("intermediate_size", 2048)?,
            layers: config.or("num_hidden_layers", 12)?,
            heads,
            positions: config.or("max_position_embeddings", 77)?,
            eps: config.or("layer_norm_eps", 1e-5)?,
            activation,
            end: config.or("eos_token_id", 49_407)?,
            projection: config.or("projection_dim", 512)?,
        })
    }
}

/// A text encoder with its weights.
pub(super) struct ClipTextModel {
    token: Embedding,
    position: Embedding,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    projection: Option<Linear>,
    config: ClipConfig,
}

/// What a text encoder makes of one text.
pub(super) struct Encoded {
    /// The embeddings, and then what each layer made of them: a vector for each position.
    pub states: Vec<Tokens>,
    /// The last state, normalised.
    pub last: Tokens,
    /// The normalised state of the text's end, projected if the model has a projection: one vector.
    pub pooled: Tokens,
}

impl ClipTextModel {
    /// Reads the weights. `projected` is whether the model is a `CLIPTextModelWithProjection`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub(super) fn load(
        weights: &Weights,
        config: &ClipConfig,
        projected: bool,
    ) -> std::result::Result<Self, WeightsError> {
        // transformers 5 saves a CLIPTextModel without this prefix; nearly every published one has it.
        let text = if weights.has_any("embeddings") { weights.clone() } else { weights.at("text_model") };
        let embeddings = text.at("embeddings");
        let encoder = text.at("encoder").at("layers");
        let projection = projected
            .then(|| Linear::load_without_bias(&weights.at("text_projection"), config.width, config.projection));
        Ok(Self {
            token: Embedding::load(&embeddings.at("token_embedding"), config.vocabulary, config.width)?,
            position: Embedding::load(&embeddings.at("position_embedding"), config.positions, config.width)?,
            layers: (0..config.layers)
                .map(|index| Layer::load(&encoder.at(index), config))
                .collect::<std::result::Result<_, _>>()?,
            final_norm: LayerNorm::load(&text.at("final_layer_norm"), config.width, config.eps)?,
            projection: projection.transpose()?,
            config: config.clone(),
        })
    }

    /// Encodes the ids of one text.
    ///
    /// # Errors
    /// More ids than positions, an id outside the vocabulary, or a failure of the device.
    pub(super) fn forward(&self, ids: &[u32]) -> Result<Encoded> {
        let x = self.token.forward(ids)?.add(&self.position.first(ids.len())?)?;
        let mut states = vec![x.clone()];
        let mut x = x;
        for layer in &self.layers {
            x = layer.forward(&x)?;
            states.push(x.clone());
        }
        let last = self.normalise(&x)?;
        let pooled = last.row(self.end_of(ids))?;
        let pooled = match &self.projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        };
        Ok(Encoded { states, last, pooled })
    }

    /// The final layer norm.
    ///
    /// # Errors
    /// A failure of the device.
    pub(super) fn normalise(&self, state: &Tokens) -> Result<Tokens> {
        self.final_norm.forward(state)
    }

    /// Where the text ends. The first published models name a wrong end token (2); with them the largest id counts.
    fn end_of(&self, ids: &[u32]) -> usize {
        let end = if self.config.end == 2 { ids.iter().max().copied().unwrap_or(0) } else { self.config.end };
        ids.iter().position(|&id| id == end).unwrap_or(0)
    }
}

struct Layer {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl Layer {
    fn load(weights: &Weights, config: &ClipConfig) -> std::result::Result<Self, WeightsError> {
        let (width, inner) = (config.width, config.inner);
        let (attention, mlp) = (weights.at("self_attn"), weights.at("mlp"));
        Ok(Self {
            norm1: LayerNorm::load(&weights.at("layer_norm1"), width, config.eps)?,
            q: Linear::load(&attention.at("q_proj"), width, width)?,
            k: Linear::load(&attention.at("k_proj"), width, width)?,
            v: Linear::load(&attention.at("v_proj"), width, width)?,
            out: Linear::load(&attention.at("out_proj"), width, width)?,
            norm2: LayerNorm::load(&weights.at("layer_norm2"), width, config.eps)?,
            fc1: Linear::load(&mlp.at("fc1"), width, inner)?,
            fc2: Linear::load(&mlp.at("fc2"), inner, width)?,
            heads: config.heads,
            activation: config.activation,
        })
    }

    fn forward(&self, x: &Tokens) -> Result<Tokens> {
        let format = self.q.format();
        let y = self.norm1.forward_for(x, format)?;
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|linear| linear.forward_for(&y, format));
        let x = self.out.forward_plus(&attention(&q?, &k?, &v?, self.heads, Mask::Causal, format)?, x)?;
        let y = self.fc1.forward_activated(&self.norm2.forward_for(&x, format)?, self.activation, format)?;
        self.fc2.forward_plus(&y, &x)
    }
}
