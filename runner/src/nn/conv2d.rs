//! Two-dimensional convolution over `[batch, channels, height, width]`.
//!
//! On the CPU it is a matrix product over the patches of a few rows at a time: the whole picture's patches would take nine
//! times the picture's memory for a 3×3 kernel.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::banded;
use super::standardise::slice;
use super::weights::{Weights, WeightsError};

/// How many bytes of patches may exist at one time.
const PATCH_BYTES: usize = 32 << 20;

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
}

/// A convolution with a square kernel.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[out, in, size, size]`.
    weight: Tensor,
    /// `[out]`.
    bias: Option<Tensor>,
    kernel: Kernel,
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
        let weight = weights.large("weight", (outputs, inputs, kernel.size, kernel.size))?;
        Ok(Self { weight, bias: None, kernel })
    }

    /// `[batch, in, height, width]` to `[batch, out, height', width']`.
    ///
    /// # Errors
    /// Another number of channels, a picture smaller than the kernel, or a failure of the device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Kernel { size, stride, before, after } = self.kernel;
        let weight = self.weight.to_dtype(x.dtype())?;
        if !x.device().is_cpu() {
            let y = banded::conv2d(x, &weight, self.kernel)?;
            return match &self.bias {
                Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
                None => Ok(y),
            };
        }
        let (batch, inputs, height, width) = x.dims4()?;
        let out_height = (height + before + after - size) / stride + 1;
        let out_width = (width + before + after - size) / stride + 1;
        let outputs = weight.dim(0)?;
        let matrix = weight.reshape((outputs, inputs * size * size))?;
        let bias = self.bias.as_ref().map(|bias| bias.reshape((outputs, 1))).transpose()?;
        let product = |patches: &Tensor| -> Result<Tensor> {
            let y = matrix.matmul(patches)?;
            match &bias {
                Some(bias) => y.broadcast_add(bias),
                None => Ok(y),
            }
        };
        let x = x.contiguous()?;
        let mut pictures = Vec::with_capacity(batch);
        for picture in 0..batch {
            let picture = x.get(picture)?;
            if self.kernel == Kernel::POINT {
                pictures.push(product(&picture.reshape((inputs, height * width))?)?);
                continue;
            }
            let rows = (PATCH_BYTES / (4 * inputs * size * size * out_width)).clamp(1, out_height);
            let patches = |first: usize, rows: usize| {
                picture.apply_op1_no_bwd(&Patches { kernel: self.kernel, first, rows, out_width })
            };
            if rows == out_height {
                pictures.push(product(&patches(0, rows)?)?);
                continue;
            }
            let y = Tensor::zeros((outputs, out_height * out_width), x.dtype(), x.device())?;
            for first in (0..out_height).step_by(rows) {
                let rows = rows.min(out_height - first);
                y.slice_set(&product(&patches(first, rows)?)?, 1, first * out_width)?;
            }
            pictures.push(y);
        }
        let y = if batch == 1 { pictures.swap_remove(0) } else { Tensor::cat(&pictures, 0)? };
        y.reshape((batch, outputs, out_height, out_width))
    }
}

/// The patches under the kernel for some rows of the result: `[in · size · size, rows · width']`.
struct Patches {
    kernel: Kernel,
    first: usize,
    rows: usize,
    out_width: usize,
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, picture: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (channels, height, width) = layout.shape().dims3()?;
        let picture = slice(picture, layout)?;
        let Kernel { size, .. } = self.kernel;
        let columns = self.rows * self.out_width;
        let mut patches = vec![0.0_f32; channels * size * size * columns];
        patches.par_chunks_mut(columns).enumerate().for_each(|(index, line)| {
            let (channel, ky, kx) = (index / (size * size), index / size % size, index % size);
            let plane = &picture[channel * height * width..][..height * width];
            for (row, line) in line.chunks_mut(self.out_width).enumerate() {
                let y = (self.first + row) * self.kernel.stride + ky;
                if y >= self.kernel.before && y - self.kernel.before < height {
                    self.copy_row(&plane[(y - self.kernel.before) * width..][..width], line, kx);
                }
            }
        });
        Ok((CpuStorage::F32(patches), (channels * size * size, columns).into()))
    }
}

impl Patches {
    /// One row of pixels as column `kx` of the kernel meets it; what lies outside stays zero.
    fn copy_row(&self, source: &[f32], line: &mut [f32], kx: usize) {
        let Kernel { stride, before, .. } = self.kernel;
        if stride == 1 {
            let skipped = before.saturating_sub(kx).min(line.len());
            let start = kx.saturating_sub(before).min(source.len());
            let length = (line.len() - skipped).min(source.len() - start);
            line[skipped..skipped + length].copy_from_slice(&source[start..start + length]);
        } else {
            for (column, value) in line.iter_mut().enumerate() {
                let x = column * stride + kx;
                if x >= before && x - before < source.len() {
                    *value = source[x - before];
                }
            }
        }
    }
}
