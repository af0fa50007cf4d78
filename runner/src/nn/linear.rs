//! The fully connected layer.

use candle_core::{Result, Tensor};
use livewebcam_kernels::{Epilogue, Format};

use super::activation::{self, Activation};
use super::data::{Data, cpu};
use super::profile::{Kind, layer};
use super::tokens::{Shape, Tokens};
use super::weights::{Matrix, Vector, Weights, WeightsError};

/// `y = x · Wᵀ + b` for each vector.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Matrix,
    bias: Option<Vector>,
    outputs: usize,
}

impl Linear {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.vector("bias", outputs)?);
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
        Ok(Self { weight: weights.matrix("weight", &[outputs, inputs])?, bias: None, outputs })
    }

    /// Reads `weight` and `bias` of a 1×1 convolution, which does to each pixel what this layer does to each vector.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load_point(weights: &Weights, inputs: usize, outputs: usize) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.vector("bias", outputs)?);
        Ok(Self { weight: weights.matrix("weight", &[outputs, inputs, 1, 1])?, bias, outputs })
    }

    /// The format of weights that are for the kernels; `F32` of others.
    pub fn format(&self) -> Format {
        match &self.weight {
            Matrix::Packed(weight) => weight.format(),
            Matrix::Tensor(_) => Format::F32,
        }
    }

    /// The product.
    ///
    /// # Errors
    /// Vectors of another width, or a failure of the device.
    pub fn forward(&self, x: &Tokens) -> Result<Tokens> {
        self.run(x, None, None, Format::F32)
    }

    /// The product, to be multiplied with weights of `format` only, or in an attention.
    ///
    /// # Errors
    /// Vectors of another width, or a failure of the device.
    pub fn forward_for(&self, x: &Tokens, format: Format) -> Result<Tokens> {
        self.run(x, None, None, format)
    }

    /// The product, and `residual` of the result's shape added to it.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of the device.
    pub fn forward_plus(&self, x: &Tokens, residual: &Tokens) -> Result<Tokens> {
        self.run(x, Some(residual), None, Format::F32)
    }

    /// The product, and then the activation, to be multiplied with weights of `format` only.
    ///
    /// # Errors
    /// Vectors of another width, or a failure of the device.
    pub fn forward_activated(&self, x: &Tokens, activation: Activation, format: Format) -> Result<Tokens> {
        self.run(x, None, Some(activation), format)
    }

    /// `value · gelu(gate)` of the product, whose first half are values and the second half their gates (Shazeer, "GLU
    /// variants improve transformer", 2020). It is to be multiplied with weights of `format` only.
    ///
    /// # Errors
    /// Vectors of another width, or a failure of the device.
    pub fn forward_geglu(&self, x: &Tokens, format: Format) -> Result<Tokens> {
        let shape = Shape { width: self.outputs / 2, ..x.shape() };
        let _noted = layer(Kind::Linear, || 4 * shape.values() * x.shape().width);
        let data = match &self.weight {
            Matrix::Packed(weight) => {
                let x = x.data().operand()?;
                let bias = self.bias.as_ref().map(Vector::host).transpose()?;
                Data::filled_for(format, shape.values(), |y| cpu().linear_geglu(x, weight, bias, y))
            }
            Matrix::Tensor(weight) => Data::Candle(activation::geglu(&self.by_candle(weight, x.data().candle()?)?)?),
        };
        Ok(Tokens::of(shape, data))
    }

    fn run(
        &self,
        x: &Tokens,
        residual: Option<&Tokens>,
        activation: Option<Activation>,
        format: Format,
    ) -> Result<Tokens> {
        let shape = Shape { width: self.outputs, ..x.shape() };
        let _noted = layer(Kind::Linear, || 2 * shape.values() * x.shape().width);
        let residual = residual.map(Tokens::data);
        let data = match &self.weight {
            Matrix::Packed(weight) => {
                let x = x.data().operand()?;
                let epilogue = Epilogue {
                    bias: self.bias.as_ref().map(Vector::host).transpose()?,
                    shift: None,
                    residual: residual.map(Data::host).transpose()?,
                    activation: activation::kernel(activation),
                };
                Data::filled_for(format, shape.values(), |y| cpu().linear(x, 1, weight, epilogue, y))
            }
            Matrix::Tensor(weight) => {
                let y = self.by_candle(weight, x.data().candle()?)?;
                let y = match residual {
                    Some(residual) => (y + residual.candle()?)?,
                    None => y,
                };
                Data::Candle(activation::by_candle(activation, y)?)
            }
        };
        Ok(Tokens::of(shape, data))
    }

    fn by_candle(&self, weight: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (batch, rows, inputs) = x.dims3()?;
        let weight = weight.reshape((self.outputs, inputs))?;
        let y = x.reshape((batch * rows, inputs))?.matmul(&weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias.candle()?)?,
            None => y,
        };
        y.reshape((batch, rows, self.outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, matrices, places, random, vectors};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        for shape in [&[6, 7][..], &[6, 7, 1, 1], &[64, 7]] {
            let outputs = shape[0];
            let layers = matrices(1, shape).into_iter().zip(vectors(2, outputs)).zip(places());
            let found: Vec<Vec<Vec<f32>>> = layers
                .map(|((weight, bias), placement)| {
                    let linear = Linear { weight, bias: Some(bias), outputs };
                    let tokens = |seed, width| {
                        let shape = Shape { batch: 2, rows: 3, width };
                        Tokens::new(random(seed, shape.values()), shape, &placement).expect("rows")
                    };
                    let (x, residual) = (tokens(3, 7), tokens(4, outputs));
                    let plus = linear.forward_plus(&x, &residual);
                    let activated = linear.forward_activated(&x, Activation::Gelu, Format::F32);
                    let made = [linear.forward(&x), plus, activated, linear.forward_geglu(&x, Format::F32)];
                    made.into_iter().map(|y| y.and_then(|y| y.values()).expect("rows")).collect()
                })
                .collect();
            found[0].iter().zip(&found[1]).for_each(|(kernels, candle)| assert_close(kernels, candle));
        }
    }
}
