//! The attention of the UNet: of pixels to each other and to the prompt (diffusers' `Transformer2DModel`).

use candle_core::Result;
use livewebcam_kernels::Format;

use crate::nn::attention::{Mask, attention};
use crate::nn::group_norm::GroupNorm;
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::Linear;
use crate::nn::map::Map;
use crate::nn::tokens::Tokens;
use crate::nn::weights::{Weights, WeightsError};

type Loaded<T> = std::result::Result<T, WeightsError>;

const NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;
/// How much wider the feed-forward layers are inside.
const WIDENING: usize = 4;

pub(super) struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

/// The numbers that make one.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerShape {
    pub(super) channels: usize,
    pub(super) text_width: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    pub(super) groups: usize,
    pub(super) linear_projection: bool,
}

impl Transformer {
    pub(super) fn load(weights: &Weights, shape: TransformerShape) -> Loaded<Self> {
        let TransformerShape { channels, groups, linear_projection, .. } = shape;
        let blocks = weights.at("transformer_blocks");
        // Two generations of models have the same layer as a convolution of the picture and as a matrix over its pixels.
        let load = if linear_projection { Linear::load } else { Linear::load_point };
        let projection = |name: &str| load(&weights.at(name), channels, channels);
        Ok(Self {
            norm: GroupNorm::load(&weights.at("norm"), channels, groups, NORM_EPS)?,
            proj_in: projection("proj_in")?,
            blocks: (0..shape.layers).map(|index| Block::load(&blocks.at(index), shape)).collect::<Loaded<_>>()?,
            proj_out: projection("proj_out")?,
        })
    }

    pub(super) fn forward(&self, x: &Map, text: &Tokens) -> Result<Map> {
        let size = x.size();
        let mut y = self.proj_in.forward(&self.norm.forward_for(x, self.proj_in.format())?.tokens()?)?;
        for block in &self.blocks {
            y = block.forward(&y, text)?;
        }
        Map::from_tokens(&self.proj_out.forward_plus(&y, &x.tokens()?)?, size.height, size.width)
    }
}

struct Block {
    norm1: LayerNorm,
    pixels: Attention,
    norm2: LayerNorm,
    text: Attention,
    norm3: LayerNorm,
    widen: Linear,
    narrow: Linear,
}

impl Block {
    fn load(weights: &Weights, shape: TransformerShape) -> Loaded<Self> {
        let TransformerShape { channels, text_width, heads, .. } = shape;
        let norm = |name: &str| LayerNorm::load(&weights.at(name), channels, LAYER_NORM_EPS);
        let inner = channels * WIDENING;
        let feed_forward = weights.at("ff").at("net");
        Ok(Self {
            norm1: norm("norm1")?,
            pixels: Attention::load(&weights.at("attn1"), channels, channels, heads)?,
            norm2: norm("norm2")?,
            text: Attention::load(&weights.at("attn2"), channels, text_width, heads)?,
            norm3: norm("norm3")?,
            widen: Linear::load(&feed_forward.at("0.proj"), channels, 2 * inner)?,
            narrow: Linear::load(&feed_forward.at(2), inner, channels)?,
        })
    }

    fn forward(&self, x: &Tokens, text: &Tokens) -> Result<Tokens> {
        let y = self.norm1.forward_for(x, self.pixels.format())?;
        let x = self.pixels.forward(&y, &y, x)?;
        let x = self.text.forward(&self.norm2.forward_for(&x, self.text.format())?, text, &x)?;
        let y = self.norm3.forward_for(&x, self.widen.format())?;
        self.narrow.forward_plus(&self.widen.forward_geglu(&y, self.narrow.format())?, &x)
    }
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn load(weights: &Weights, channels: usize, context: usize, heads: usize) -> Loaded<Self> {
        Ok(Self {
            q: Linear::load_without_bias(&weights.at("to_q"), channels, channels)?,
            k: Linear::load_without_bias(&weights.at("to_k"), context, channels)?,
            v: Linear::load_without_bias(&weights.at("to_v"), context, channels)?,
            out: Linear::load(&weights.at("to_out.0"), channels, channels)?,
            heads,
        })
    }

    /// The format of its weights.
    fn format(&self) -> Format {
        self.q.format()
    }

    /// The attention of `x` to `context`, added to `residual`.
    fn forward(&self, x: &Tokens, context: &Tokens, residual: &Tokens) -> Result<Tokens> {
        let format = self.format();
        let q = self.q.forward_for(x, format)?;
        let (k, v) = (self.k.forward_for(context, format)?, self.v.forward_for(context, format)?);
        self.out.forward_plus(&attention(&q, &k, &v, self.heads, Mask::None, format)?, residual)
    }
}
