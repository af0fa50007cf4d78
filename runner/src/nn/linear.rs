//! The fully connected layer.

use candle_core::{D, Result, Tensor};
use livewebcam_kernels::{Epilogue, Packed};

use super::activation::{self, Activation};
use super::values::{Values, cpu, filled};
use super::weights::{Matrix, Weights, WeightsError};

/// `y = x · Wᵀ + b` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.small("bias", outputs)?);
        Ok(Self { bias, ..Self::load_without_bias(weights, inputs, outputs)? })
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
        Ok(Self { weight: weights.matrix("weight", &[outputs, inputs])?, bias: None })
    }

    /// Reads `weight` and `bias` of a 1×1 convolution, which does to each pixel what this layer does to each row.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load_point(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.small("bias", outputs)?);
        Ok(Self { weight: weights.matrix("weight", &[outputs, inputs, 1, 1])?, bias })
    }

    /// `[…, in]` to `[…, out]`.
    ///
    /// # Errors
    /// A last dimension that is not `in`, or a failure of the device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, None, None)
    }

    /// Like [`Linear::forward`], and `residual` of the result's shape added to it.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of the device.
    pub fn forward_plus(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.run(x, Some(residual), None)
    }

    /// Like [`Linear::forward`], and then the activation.
    ///
    /// # Errors
    /// A last dimension that is not `in`, or a failure of the device.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.run(x, None, Some(activation))
    }

    fn run(&self, x: &Tensor, residual: Option<&Tensor>, activation: Option<Activation>) -> Result<Tensor> {
        match &self.weight {
            Matrix::Packed(weight) => self.by_kernels(weight, x, residual, activation),
            Matrix::Tensor(weight) => self.by_candle(weight, x, residual, activation),
        }
    }

    fn by_kernels(
        &self,
        weight: &Packed,
        x: &Tensor,
        residual: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Tensor> {
        let (x, residual) = (x.contiguous()?, residual.map(Tensor::contiguous).transpose()?);
        let shape = with_last(&x, weight.shape().outputs);
        let (x, bias) = (Values::of(&x)?, self.bias.as_ref().map(Values::of).transpose()?);
        let residual = residual.as_ref().map(Values::of).transpose()?;
        let epilogue = Epilogue {
            bias: bias.as_deref(),
            shift: None,
            residual: residual.as_deref(),
            activation: activation::kernel(activation),
        };
        filled(shape, |y| cpu().linear(&x, 1, weight, epilogue, y))
    }

    fn by_candle(
        &self,
        weight: &Tensor,
        x: &Tensor,
        residual: Option<&Tensor>,
        activation: Option<Activation>,
    ) -> Result<Tensor> {
        let (inputs, outputs) = (x.dim(D::Minus1)?, weight.dim(0)?);
        let weight = weight.reshape((outputs, inputs))?;
        let mut y = x.reshape(((), inputs))?.matmul(&weight.t()?)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        y = y.reshape(with_last(x, outputs))?;
        if let Some(residual) = residual {
            y = (y + residual)?;
        }
        activation::by_candle(activation, y)
    }
}

/// The shape of `x` with another last dimension.
fn with_last(x: &Tensor, width: usize) -> Vec<usize> {
    let mut shape = x.dims().to_vec();
    *shape.last_mut().expect("a tensor with a last dimension") = width;
    shape
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, matrices, random};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        for shape in [&[5, 7][..], &[5, 7, 1, 1]] {
            let bias = random(2, &[5]);
            let [packed, plain] = matrices(&random(1, shape)).map(|weight| Linear { weight, bias: Some(bias.clone()) });
            let (x, residual) = (random(3, &[2, 3, 7]), random(4, &[2, 3, 5]));
            let both = |forward: &dyn Fn(&Linear) -> Result<Tensor>| {
                assert_close(&forward(&packed).expect("rows"), &forward(&plain).expect("rows"));
            };
            both(&|linear| linear.forward(&x));
            both(&|linear| linear.forward_plus(&x, &residual));
            both(&|linear| linear.forward_activated(&x, Activation::Gelu));
        }
    }
}
