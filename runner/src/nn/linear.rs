//! The fully connected layer.

use candle_core::{D, Result, Tensor};

use super::weights::{Weights, WeightsError};

/// `y = x · Wᵀ + b` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.small("bias", outputs)?);
        Ok(Self { weight: weights.large("weight", (outputs, inputs))?, bias })
    }

    /// Reads `weight`; there is no bias.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load_without_bias(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, WeightsError> {
        Ok(Self { weight: weights.large("weight", (outputs, inputs))?, bias: None })
    }

    /// `[…, in]` to `[…, out]`.
    ///
    /// # Errors
    /// A last dimension that is not `in`, or a failure of the device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inputs = x.dim(D::Minus1)?;
        let mut shape = x.dims().to_vec();
        let rows = x.elem_count() / inputs;
        let y = x.reshape((rows, inputs))?.matmul(&self.weight.to_dtype(x.dtype())?.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        *shape.last_mut().expect("a tensor with a last dimension") = self.weight.dim(0)?;
        y.reshape(shape)
    }
}
