//! The attention of the UNet: of pixels to each other and to the prompt (diffusers' `Transformer2DModel`).

use candle_core::{D, Result, Tensor};

use crate::nn::activation::Activation;
use crate::nn::attention::{Mask, attention};
use crate::nn::conv2d::{Conv2d, Kernel};
use crate::nn::group_norm::GroupNorm;
use crate::nn::layer_norm::LayerNorm;
use crate::nn::linear::Linear;
use crate::nn::weights::{Weights, WeightsError};

type Loaded<T> = std::result::Result<T, WeightsError>;

const NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;
/// How much wider the feed-forward layers are inside.
const WIDENING: usize = 4;

/// A layer over channels, which two generations of models apply to the picture and to the list of its pixels.
enum Projection {
    Picture(Conv2d),
    Pixels(Linear),
}

impl Projection {
    fn load(weights: &Weights, channels: usize, linear: bool) -> Loaded<Self> {
        Ok(if linear {
            Self::Pixels(Linear::load(weights, channels, channels)?)
        } else {
            Self::Picture(Conv2d::load(weights, channels, channels, Kernel::POINT)?)
        })
    }
}

pub(super) struct Transformer {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<Block>,
    proj_out: Projection,
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
        Ok(Self {
            norm: GroupNorm::load(&weights.at("norm"), channels, groups, NORM_EPS)?,
            proj_in: Projection::load(&weights.at("proj_in"), channels, linear_projection)?,
            blocks: (0..shape.layers).map(|index| Block::load(&blocks.at(index), shape)).collect::<Loaded<_>>()?,
            proj_out: Projection::load(&weights.at("proj_out"), channels, linear_projection)?,
        })
    }

    /// `[batch, channels, height, width]` to the same shape; `text` is `[batch, tokens, width]`.
    pub(super) fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let pixels = |x: &Tensor| x.flatten_from(2)?.transpose(1, 2)?.contiguous();
        let picture = |x: &Tensor| x.transpose(1, 2)?.contiguous()?.reshape((batch, channels, height, width));
        let y = self.norm.forward(x)?;
        let mut y = match &self.proj_in {
            Projection::Picture(conv) => pixels(&conv.forward(&y)?)?,
            Projection::Pixels(linear) => linear.forward(&pixels(&y)?)?,
        };
        for block in &self.blocks {
            y = block.forward(&y, text)?;
        }
        let y = match &self.proj_out {
            Projection::Picture(conv) => conv.forward(&picture(&y)?)?,
            Projection::Pixels(linear) => picture(&linear.forward(&y)?)?,
        };
        y + x
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

    fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let y = self.norm1.forward(x)?;
        let x = (self.pixels.forward(&y, &y)? + x)?;
        let x = (self.text.forward(&self.norm2.forward(&x)?, text)? + x)?;
        // Half of the wide layer opens and closes the other half (Shazeer, "GLU variants improve transformer", 2020).
        let wide = self.widen.forward(&self.norm3.forward(&x)?)?;
        let half = wide.dim(D::Minus1)? / 2;
        let gate = Activation::Gelu.forward(&wide.narrow(D::Minus1, half, half)?.contiguous()?)?;
        self.narrow.forward(&(wide.narrow(D::Minus1, 0, half)? * gate)?)? + x
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

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.q.forward(x)?, self.k.forward(context)?, self.v.forward(context)?);
        self.out.forward(&attention(&q, &k, &v, self.heads, Mask::None)?)
    }
}
