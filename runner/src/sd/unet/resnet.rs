//! The residual block of convolutions that UNet and VAE are made of (diffusers' `ResnetBlock2D`).

use candle_core::{D, Result, Tensor};

use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Kernel};
use crate::nn::group_norm::GroupNorm;
use crate::nn::linear::Linear;
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

    /// `[batch, in, height, width]` to `[batch, out, height, width]`; `time` is `[batch, width]`.
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let y = self.conv1.forward(&self.activation.forward(&self.norm1.forward(x)?)?)?;
        let y = match (&self.time, time) {
            (Some(layer), Some(time)) => {
                let time = layer.forward(&self.activation.forward(time)?)?;
                y.broadcast_add(&time.unsqueeze(D::Minus1)?.unsqueeze(D::Minus1)?)?
            }
            _ => y,
        };
        let y = self.conv2.forward(&self.activation.forward(&self.norm2.forward(&y)?)?)?;
        let sum = match &self.shortcut {
            Some(shortcut) => (shortcut.forward(x)? + y)?,
            None => (x + y)?,
        };
        if self.scale == 1.0 { Ok(sum) } else { sum / self.scale }
    }
}
