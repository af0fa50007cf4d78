//! Two-dimensional convolution of feature maps.

use candle_core::{Result, Tensor};
use livewebcam_kernels::{self as kernels, Packed, Window};

use super::activation::{self, Activation};
use super::banded;
use super::map::Map;
use super::values::{Values, cpu};
use super::weights::{Matrix, Weights, WeightsError};

/// The size and the movement of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its height and width.
    pub size: usize,
    /// By how many pixels it moves.
    pub stride: usize,
    /// How many rows and columns of zeros are put above and to the left of the picture.
    pub before: usize,
    /// How many rows and columns of zeros are put below and to the right of the picture.
    pub after: usize,
}

impl Kernel {
    /// 1×1.
    pub const POINT: Self = Self { size: 1, stride: 1, before: 0, after: 0 };
    /// 3×3 that keeps the picture's size.
    pub const SAME: Self = Self { size: 3, stride: 1, before: 1, after: 1 };
    /// 3×3 that halves the picture's size.
    pub const HALVING: Self = Self { size: 3, stride: 2, before: 1, after: 1 };
    /// 3×3 that halves the picture's size, padded on one side only.
    pub const HALVING_ONE_SIDED: Self = Self { size: 3, stride: 2, before: 0, after: 1 };

    fn window(self, repeat: usize) -> Window {
        let Self { size, stride, before, after } = self;
        Window { size, stride, before, after, repeat }
    }
}

/// A convolution with a square kernel.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[out, in, size, size]`.
    weight: Matrix,
    /// `[out]`.
    bias: Option<Tensor>,
    kernel: Kernel,
}

/// What is done to a convolution's result: `activation(result + shift + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Then<'a> {
    /// A number for each picture and channel: `[batch, out]`.
    pub shift: Option<&'a Tensor>,
    /// Of the result's size.
    pub residual: Option<&'a Map>,
    /// Applied last.
    pub activation: Option<Activation>,
}

impl Conv2d {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> std::result::Result<Self, WeightsError> {
        let bias = Some(weights.small("bias", outputs)?);
        Ok(Self { bias, ..Self::load_without_bias(weights, inputs, outputs, kernel)? })
    }

    /// Reads `weight`; there is no bias.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load_without_bias(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> std::result::Result<Self, WeightsError> {
        let weight = weights.matrix("weight", &[outputs, inputs, kernel.size, kernel.size])?;
        Ok(Self { weight, bias: None, kernel })
    }

    /// The convolution.
    ///
    /// # Errors
    /// Another number of channels, a picture smaller than the kernel, or a failure of the device.
    pub fn forward(&self, x: &Map) -> Result<Map> {
        self.forward_then(x, Then::default())
    }

    /// The convolution, and what comes after it.
    ///
    /// # Errors
    /// Sizes that do not fit, a picture smaller than the kernel, or a failure of the device.
    pub fn forward_then(&self, x: &Map, then: Then<'_>) -> Result<Map> {
        match &self.weight {
            Matrix::Packed(weight) => self.by_kernels(weight, x, 1, then),
            Matrix::Tensor(weight) => {
                let residual = then.residual.map(Map::own);
                let y = self.by_candle(weight, x.own(), then.shift, residual)?;
                Ok(Map::from_own(activation::by_candle(then.activation, y)?))
            }
        }
    }

    /// The convolution of the map in another size, whose pixels are the nearest ones.
    ///
    /// # Errors
    /// Another number of channels, a picture smaller than the kernel, or a failure of the device.
    pub fn forward_resized(&self, x: &Map, height: usize, width: usize) -> Result<Map> {
        let size = x.size();
        let repeat = height / size.height;
        match &self.weight {
            Matrix::Packed(weight) if (height, width) == (repeat * size.height, repeat * size.width) => {
                self.by_kernels(weight, x, repeat, Then::default())
            }
            _ => self.forward(&x.resize(height, width)?),
        }
    }

    fn by_kernels(&self, weight: &Packed, x: &Map, repeat: usize, then: Then<'_>) -> Result<Map> {
        let window = self.kernel.window(repeat);
        let (size, outputs) = (x.size(), weight.shape().outputs);
        let (x, bias) = (Values::of(x.own())?, self.bias.as_ref().map(Values::of).transpose()?);
        let shift = then.shift.map(Values::of).transpose()?;
        let residual = then.residual.map(|residual| Values::of(residual.own())).transpose()?;
        let epilogue = kernels::Epilogue {
            bias: bias.as_deref(),
            shift: shift.as_deref(),
            residual: residual.as_deref(),
            activation: activation::kernel(then.activation),
        };
        Map::filled(window.of(size, outputs), |y| cpu().conv2d(&x, size, window, weight, epilogue, y))
    }

    /// Planes in, planes out.
    fn by_candle(
        &self,
        weight: &Tensor,
        x: &Tensor,
        shift: Option<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut y = banded::conv2d(x, weight, self.kernel)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?;
        }
        if let Some(shift) = shift {
            y = y.broadcast_add(&shift.unsqueeze(2)?.unsqueeze(3)?)?;
        }
        residual.map_or(Ok(y.clone()), |residual| y + residual)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, matrices, random};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let kernels = [Kernel::POINT, Kernel::SAME, Kernel::HALVING, Kernel::HALVING_ONE_SIDED];
        for (seed, kernel) in kernels.into_iter().enumerate() {
            let weight = random(seed, &[5, 7, kernel.size, kernel.size]);
            let [packed, plain] = matrices(&weight);
            let bias = Some(random(10, &[5]));
            let (packed, plain) =
                (Conv2d { weight: packed, bias: bias.clone(), kernel }, Conv2d { weight: plain, bias, kernel });
            let (x, shift) = (random(11, &[2, 7, 6, 9]), random(12, &[2, 5]));
            let map = Map::from_planes(&x).expect("a map");
            let found = packed.forward(&map).and_then(|y| y.planes()).expect("a map");
            assert_close(&found, &plain.by_candle(&weight, &x, None, None).expect("a map"));

            let residual = random(13, found.dims());
            let residual_map = Map::from_planes(&residual).expect("a map");
            let then = Then { shift: Some(&shift), residual: Some(&residual_map), activation: Some(Activation::Relu) };
            let found = packed.forward_then(&map, then).and_then(|y| y.planes()).expect("a map");
            let wanted = plain.by_candle(&weight, &x, Some(&shift), Some(&residual)).and_then(|y| y.relu());
            assert_close(&found, &wanted.expect("a map"));
        }
    }

    #[test]
    fn a_map_is_enlarged_to_any_size_on_the_way() {
        let weight = random(1, &[3, 2, 3, 3]);
        let [packed, plain] = matrices(&weight);
        let (kernel, bias) = (Kernel::SAME, None);
        let (packed, plain) = (Conv2d { weight: packed, bias: None, kernel }, Conv2d { weight: plain, bias, kernel });
        let x = random(2, &[1, 2, 4, 5]);
        let map = Map::from_planes(&x).expect("a map");
        for (height, width) in [(8, 10), (7, 9), (7, 10), (4, 5), (12, 15)] {
            let found = packed.forward_resized(&map, height, width).and_then(|y| y.planes()).expect("a map");
            let wanted = x.upsample_nearest2d(height, width).and_then(|x| plain.by_candle(&weight, &x, None, None));
            assert_close(&found, &wanted.expect("a map"));
        }
    }
}
