//! Group normalisation.

use candle_core::{Result, Tensor};

use super::standardise::standardise;
use super::weights::{Weights, WeightsError};

/// Normalises each picture's channels in groups, over all their pixels.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`. `channels` is a multiple of `groups`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(
        weights: &Weights,
        channels: usize,
        groups: usize,
        eps: f64,
    ) -> std::result::Result<Self, WeightsError> {
        let (weight, bias) = (weights.small("weight", channels)?, weights.small("bias", channels)?);
        Ok(Self { weight, bias, groups, eps })
    }

    /// `[batch, channels, …]` to the same shape.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let pixels = x.elem_count() / (batch * channels);
        standardise(x, &self.weight, &self.bias, channels / self.groups * pixels, pixels, self.eps)
    }
}
