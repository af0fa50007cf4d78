//! Two-dimensional convolution of feature maps.

use candle_core::{Result, Tensor, bail};
pub use livewebcam_kernels::Edge;
use livewebcam_kernels::{Epilogue, Format, Packed, Window};

use super::activation::{self, Activation};
use super::banded;
use super::data::{Data, cpu};
use super::group_norm::GroupNorm;
use super::map::{Map, MapSize};
use super::profile::{Kind, Noted, layer};
use super::tokens::Tokens;
use super::weights::{Matrix, Needed, Vector, Weights, WeightsError};

/// The size and the movement of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its height and width.
    pub size: usize,
    /// By how many pixels it moves.
    pub stride: usize,
    /// How many rows and columns are put above and to the left of the picture.
    pub before: usize,
    /// How many rows and columns are put below and to the right of the picture.
    pub after: usize,
    /// What is put there.
    pub edge: Edge,
}

impl Kernel {
    /// 1×1.
    pub const POINT: Self = Self { size: 1, stride: 1, before: 0, after: 0, edge: Edge::Zeros };
    /// 3×3 that keeps the picture's size.
    pub const SAME: Self = Self { size: 3, before: 1, after: 1, ..Self::POINT };
    /// 3×3 that halves the picture's size.
    pub const HALVING: Self = Self { stride: 2, ..Self::SAME };
    /// 3×3 that halves the picture's size, padded on one side only.
    pub const HALVING_ONE_SIDED: Self = Self { before: 0, ..Self::HALVING };

    fn window(self, repeat: usize) -> Window {
        let Self { size, stride, before, after, edge } = self;
        Window { size, stride, before, after, repeat, edge }
    }
}

/// A convolution with a square kernel.
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Matrix,
    bias: Option<Vector>,
    kernel: Kernel,
    outputs: usize,
}

/// What is done to a convolution's result: `activation(result + shift + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Then<'a> {
    /// A number for each picture and channel: one vector for each of the batch.
    pub shift: Option<&'a Tokens>,
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
        let bias = Some(weights.vector("bias", outputs)?);
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
        Ok(Self { weight, bias: None, kernel, outputs })
    }

    /// Of torch's weight `[out, in, size, size]`, in `f32` for the processor; there is no bias.
    ///
    /// # Errors
    /// Another number of weights.
    pub fn new(weight: &[f32], inputs: usize, outputs: usize, kernel: Kernel) -> Result<Self> {
        let shape = [outputs, inputs, kernel.size, kernel.size];
        let packed = Needed::weight_shape(&shape).filter(|_| weight.len() == shape.iter().product::<usize>());
        let Some(packed) = packed else { bail!("{} weights for {shape:?}", weight.len()) };
        let weight = Matrix::Packed(Packed::pack(weight, packed, Format::F32));
        Ok(Self { weight, bias: None, kernel, outputs })
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
            Matrix::Tensor(weight) => self.by_candle(weight, x, then),
        }
    }

    /// The convolution of the map normalised and activated, and what comes after it.
    ///
    /// # Errors
    /// Sizes that do not fit, a picture smaller than the kernel, or a failure of the device.
    pub fn forward_normalised(&self, x: &Map, norm: &GroupNorm, activation: Activation, then: Then<'_>) -> Result<Map> {
        if let (Matrix::Packed(weight), Data::Host(values)) = (&self.weight, x.data()) {
            let (window, size) = (self.kernel.window(1), x.size());
            if cpu().normalises(values, size, window, weight) {
                let out = window.of(size, self.outputs);
                let _noted = self.note(size, out);
                let (norm, epilogue) = (norm.of_kernels(Some(activation))?, self.epilogue(then)?);
                let fill = |y: &mut [f32]| cpu().conv2d_normalised(values, size, norm, window, weight, epilogue, y);
                return Ok(Map::of(out, Data::filled(out.values(), fill)));
            }
        }
        self.forward_then(&norm.forward_activated(x, activation)?, then)
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
        let (size, out) = (x.size(), window.of(x.size(), self.outputs));
        let _noted = self.note(size, out);
        let (x, epilogue) = (x.data().host()?, self.epilogue(then)?);
        Ok(Map::of(out, Data::filled(out.values(), |y| cpu().conv2d(x, size, window, weight, epilogue, y))))
    }

    fn epilogue<'a>(&'a self, then: Then<'a>) -> Result<Epilogue<'a>> {
        Ok(Epilogue {
            bias: self.bias.as_ref().map(Vector::host).transpose()?,
            shift: then.shift.map(|shift| shift.data().host()).transpose()?,
            residual: then.residual.map(|residual| residual.data().host()).transpose()?,
            activation: activation::kernel(then.activation),
        })
    }

    fn note(&self, x: MapSize, y: MapSize) -> Option<Noted> {
        let size = self.kernel.size;
        let kind = if size == 1 { Kind::Linear } else { Kind::Convolution };
        layer(kind, || 2 * y.values() * x.channels * size * size)
    }

    fn by_candle(&self, weight: &Tensor, x: &Map, then: Then<'_>) -> Result<Map> {
        let out = self.kernel.window(1).of(x.size(), self.outputs);
        let _noted = self.note(x.size(), out);
        let mut y = banded::conv2d(x.data().candle()?, weight, self.kernel)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.candle()?.reshape((1, (), 1, 1))?)?;
        }
        if let Some(shift) = then.shift {
            y = y.broadcast_add(&shift.data().candle()?.reshape((out.batch, self.outputs, 1, 1))?)?;
        }
        if let Some(residual) = then.residual {
            y = (y + residual.data().candle()?)?;
        }
        Ok(Map::of(out, Data::Candle(activation::by_candle(then.activation, y)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::MapSize;
    use super::super::testing::{assert_close, matrices, places, random, vectors};
    use super::super::tokens::Shape;
    use super::super::weights::Placement;
    use super::*;

    /// What `run` makes of the same layer with the kernels and with candle.
    fn both(shape: [usize; 4], kernel: Kernel, run: impl Fn(&Conv2d, &Placement) -> Result<Map>) -> [Vec<f32>; 2] {
        let (matrices, vectors) = (matrices(1, &shape), vectors(2, shape[0]));
        let layers: Vec<_> = matrices.into_iter().zip(vectors).collect();
        let layers = layers.try_into().unwrap_or_else(|_| unreachable!("two of each"));
        let mut places = places().into_iter();
        <[_; 2]>::map(layers, |(weight, bias)| {
            let conv = Conv2d { weight, bias: Some(bias), kernel, outputs: shape[0] };
            let placement = places.next().expect("two places");
            run(&conv, &placement).and_then(|y| y.planes()).expect("a map")
        })
    }

    fn map(seed: u64, size: MapSize, placement: &Placement) -> Map {
        Map::from_planes(random(seed, size.values()), size, placement).expect("a map")
    }

    #[test]
    fn kernels_and_candle_agree() {
        let size = MapSize { batch: 2, height: 6, width: 9, channels: 7 };
        for kernel in [Kernel::POINT, Kernel::SAME, Kernel::HALVING, Kernel::HALVING_ONE_SIDED] {
            let shape = [5, 7, kernel.size, kernel.size];
            let [kernels, candle] = both(shape, kernel, |conv, placement| conv.forward(&map(3, size, placement)));
            assert_close(&kernels, &candle);
            let [kernels, candle] = both(shape, kernel, |conv, placement| {
                let residual = map(4, kernel.window(1).of(size, 5), placement);
                let shift = Tokens::new(random(5, 10), Shape { batch: 2, rows: 1, width: 5 }, placement)?;
                let then = Then { shift: Some(&shift), residual: Some(&residual), activation: Some(Activation::Relu) };
                conv.forward_then(&map(3, size, placement), then)
            });
            assert_close(&kernels, &candle);
        }
    }

    #[test]
    fn a_map_is_enlarged_to_any_size_on_the_way() {
        let size = MapSize { batch: 1, height: 4, width: 5, channels: 2 };
        for (height, width) in [(8, 10), (7, 9), (7, 10), (4, 5), (12, 15)] {
            let [kernels, candle] = both([3, 2, 3, 3], Kernel::SAME, |conv, placement| {
                conv.forward_resized(&map(3, size, placement), height, width)
            });
            assert_close(&kernels, &candle);
        }
    }
}
