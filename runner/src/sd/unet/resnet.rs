//! The residual block of convolutions that UNet and VAE are made of (diffusers' `ResnetBlock2D`).

use candle_core::Result;

use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Kernel, Then};
use crate::nn::group_norm::GroupNorm;
use crate::nn::linear::Linear;
use crate::nn::map::Map;
use crate::nn::tokens::Tokens;
use crate::nn::weights::{Weights, WeightsError};

/// Two convolutions beside a shortcut.
pub(crate) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    activation: Activation,
    scale: f64,
}

/// What all residual blocks of a network have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetShape {
    /// Groups of the norms.
    pub(crate) groups: usize,
    /// Added to the variance.
    pub(crate) eps: f64,
    /// Between the layers.
    pub(crate) activation: Activation,
    /// Width of the timestep's embedding, where there is one.
    pub(crate) time_width: Option<usize>,
    /// What the output is divided by.
    pub(crate) scale: f64,
}

impl Resnet {
    pub(crate) fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        shape: ResnetShape,
    ) -> std::result::Result<Self, WeightsError> {
        let time = shape.time_width.map(|width| Linear::load(&weights.at("time_emb_proj"), width, outputs));
        let shortcut =
            (inputs != outputs).then(|| Conv2d::load(&weights.at("conv_shortcut"), inputs, outputs, Kernel::POINT));
        Ok(Self {
            norm1: GroupNorm::load(&weights.at("norm1"), inputs, shape.groups, shape.eps)?,
            conv1: Conv2d::load(&weights.at("conv1"), inputs, outputs, Kernel::SAME)?,
            time: time.transpose()?,
            norm2: GroupNorm::load(&weights.at("norm2"), outputs, shape.groups, shape.eps)?,
            conv2: Conv2d::load(&weights.at("conv2"), outputs, outputs, Kernel::SAME)?,
            shortcut: shortcut.transpose()?,
            activation: shape.activation,
            scale: shape.scale,
        })
    }

    /// `time` is the timestep's embedding, activated: one vector for each picture.
    pub(crate) fn forward(&self, x: &Map, time: Option<&Tokens>) -> Result<Map> {
        let time = match (&self.time, time) {
            (Some(layer), Some(time)) => Some(layer.forward(time)?),
            _ => None,
        };
        let then = Then { shift: time.as_ref(), ..Then::default() };
        let y = self.conv1.forward_normalised(x, &self.norm1, self.activation, then)?;
        let shortcut = self.shortcut.as_ref().map(|shortcut| shortcut.forward(x)).transpose()?;
        let residual = Some(shortcut.as_ref().unwrap_or(x));
        let then = Then { residual, ..Then::default() };
        let sum = self.conv2.forward_normalised(&y, &self.norm2, self.activation, then)?;
        if self.scale == 1.0 { Ok(sum) } else { sum.affine(1.0 / self.scale, 0.0) }
    }
}
