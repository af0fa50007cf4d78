//! Convolution with reflected edges.

use candle_core::{Result, Tensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::reflect_pad;

/// How many patch values (pixels × taps × channels) one matrix product takes. The patches of a whole large frame would
/// need gigabytes; a band of them stays in a core's cache.
const BAND_VALUES: usize = 1 << 18;

/// A square convolution without bias: its output has the input's size divided by the stride, rounded up.
///
/// The edges are padded by half the kernel, by reflection.
#[derive(Debug)]
pub struct Conv2d {
    /// `[size × size × channels, filters]`
    weight: Tensor,
    size: usize,
    stride: usize,
}

impl Conv2d {
    /// A convolution with torch's weight `[filters, channels, size, size]`.
    ///
    /// # Errors
    /// `weight` has another shape.
    pub fn new(weight: &Tensor, stride: usize) -> Result<Self> {
        let (filters, channels, size, _) = weight.dims4()?;
        let weight = weight.permute((2, 3, 1, 0))?.reshape((size * size * channels, filters))?;
        Ok(Self { weight, size, stride })
    }

    /// `[height, width, channels]` → `[⌈height ÷ stride⌉, ⌈width ÷ stride⌉, filters]`.
    ///
    /// # Errors
    /// The input's channels are not the weight's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (height, width, _) = x.dims3()?;
        let (taps, filters) = self.weight.dims2()?;
        let (height, width) = (height.div_ceil(self.stride), width.div_ceil(self.stride));
        let half = self.size / 2;
        let padded = reflect_pad(x, half, half, half, half)?;
        let rows = (BAND_VALUES / (width * taps)).clamp(1, height);
        let bands = (0..height.div_ceil(rows)).into_par_iter().map(|band| {
            let first = band * rows;
            let rows = rows.min(height - first);
            let source = padded.narrow(0, first * self.stride, (rows - 1) * self.stride + self.size)?;
            // [rows, width, channels, size, size]: a view in which every value appears once per tap.
            let patches = source.unfold(0, self.size, self.stride)?.unfold(1, self.size, self.stride)?;
            let patches = patches.permute((0, 1, 3, 4, 2))?.reshape((rows * width, taps))?;
            patches.matmul(&self.weight)?.reshape((rows, width, filters))
        });
        Tensor::cat(&bands.collect::<Result<Vec<_>>>()?, 0)
    }
}
