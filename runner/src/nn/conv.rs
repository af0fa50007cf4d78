//! Convolution with reflected edges.

use candle_core::{Result, Tensor};

use super::bands::{PATCH_VALUES, map_of_bands};
use super::pad::select_reflected;

/// A square convolution without bias, its input grown by half the kernel on every side by reflection.
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
        let Self { weight, size, stride } = self;
        let (height, width, _) = x.dims3()?;
        let (taps, filters) = weight.dims2()?;
        let shape = (height.div_ceil(*stride), width.div_ceil(*stride), filters);
        let half = size / 2;
        map_of_bands(shape, shape.1 * taps, PATCH_VALUES, x.device(), |rows| {
            let source = rows.start * stride..(rows.end - 1) * stride + size;
            let source = select_reflected(x, 0, source, half)?;
            let source = select_reflected(&source, 1, 0..width + 2 * half, half)?;
            // [rows, columns, channels, size, size]: a view in which a value appears once for each tap that it meets.
            let patches = source.unfold(0, *size, *stride)?.unfold(1, *size, *stride)?;
            let patches = patches.permute((0, 1, 3, 4, 2))?.reshape((rows.len() * shape.1, taps))?;
            patches.matmul(weight)?.reshape((rows.len(), shape.1, filters))
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, IndexOp};

    use super::*;

    /// The definition, one value at a time.
    fn naive(x: &[Vec<Vec<f32>>], weight: &[Vec<Vec<Vec<f32>>>], stride: usize) -> Vec<f32> {
        let (height, width) = (x.len() as isize, x[0].len() as isize);
        let size = weight[0][0].len();
        let reflect = |position: isize, length: isize| {
            let position = position.abs();
            usize::try_from(if position < length { position } else { 2 * (length - 1) - position }).expect("inside")
        };
        let mut values = Vec::new();
        for row in (0..height).step_by(stride) {
            for column in (0..width).step_by(stride) {
                for filter in weight {
                    let mut sum = 0.0;
                    for (channel, taps) in filter.iter().enumerate() {
                        for (i, taps) in taps.iter().enumerate() {
                            for (j, tap) in taps.iter().enumerate() {
                                let row = reflect(row + i as isize - (size / 2) as isize, height);
                                let column = reflect(column + j as isize - (size / 2) as isize, width);
                                sum += tap * x[row][column][channel];
                            }
                        }
                    }
                    values.push(sum);
                }
            }
        }
        values
    }

    #[test]
    fn a_convolution_is_the_sum_that_defines_it() {
        // Wide enough for several bands, with sides that the stride does not divide.
        for (height, width, channels, filters, size, stride) in
            [(7, 6, 2, 3, 3, 1), (7, 5, 3, 4, 3, 2), (9, 8, 1, 2, 9, 1), (13, 1201, 8, 2, 3, 2)]
        {
            let x = Tensor::randn(0f32, 1., (height, width, channels), &Device::Cpu).expect("a map");
            let weight = Tensor::randn(0f32, 1., (filters, channels, size, size), &Device::Cpu).expect("a weight");
            let filter = |n| weight.i(n).and_then(|filter| filter.to_vec3()).expect("a filter");
            let weights: Vec<_> = (0..filters).map(filter).collect();
            let wanted = naive(&x.to_vec3().expect("a map"), &weights, stride);
            let found = Conv2d::new(&weight, stride).and_then(|conv| conv.forward(&x)).expect("a map");
            assert_eq!(found.dims(), [height.div_ceil(stride), width.div_ceil(stride), filters]);
            let found: Vec<f32> = found.flatten_all().and_then(|found| found.to_vec1()).expect("values");
            // Sums of some hundred products near 1, added up in another order.
            assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-3), "{size}×{size} by {stride}");
        }
    }
}
