//! Layer normalisation.

use candle_core::{Result, Tensor};
use livewebcam_kernels as kernels;

use super::standardise::standardise;
use super::values::{Values, cpu, filled};
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
        if x.device().is_cpu() { self.by_kernels(x) } else { self.by_candle(x) }
    }

    fn by_kernels(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        let (weight, bias) = (Values::of(&self.weight)?, Values::of(&self.bias)?);
        let norm = kernels::LayerNorm { weight: &weight, bias: &bias, eps: self.eps };
        let values = Values::of(&x)?;
        filled(x.shape(), |y| cpu().layer_norm(&values, norm, y))
    }

    fn by_candle(&self, x: &Tensor) -> Result<Tensor> {
        standardise(x, self.eps)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, random};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let norm = LayerNorm { weight: random(1, &[19]), bias: random(2, &[19]), eps: 1e-5 };
        let x = random(3, &[2, 3, 19]);
        assert_close(&norm.by_kernels(&x).expect("rows"), &norm.by_candle(&x).expect("rows"));
    }
}
