//! Layer normalisation.

use candle_core::{D, Result, Tensor};

use super::standardise::standardise;
use super::weights::{Weights, WeightsError};

/// Normalises over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, width: usize, eps: f64) -> std::result::Result<Self, WeightsError> {
        Ok(Self { weight: weights.small("weight", width)?, bias: weights.small("bias", width)?, eps })
    }

    /// `[…, width]` to the same shape.
    ///
    /// # Errors
    /// Another width, or a failure of the device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        standardise(x, &self.weight, &self.bias, x.dim(D::Minus1)?, 1, self.eps)
    }
}
