//! Convolution by candle, in bands of rows: where there is no cuDNN, candle lays out the patches under the kernel for a whole
//! picture first, which takes nine times its memory for a 3×3 kernel.

use candle_core::{Result, Tensor, bail};

use super::conv2d::{Edge, Kernel};

/// How many bytes of patches may exist at one time.
const PATCH_BYTES: usize = 512 << 20;

/// `x` `[batch, in, height, width]` under `weight` `[out, in, size, size]`.
///
/// # Errors
/// Shapes that do not fit, or a failure of the device.
pub(super) fn conv2d(x: &Tensor, weight: &Tensor, kernel: Kernel) -> Result<Tensor> {
    if cfg!(feature = "cudnn") && x.device().is_cuda() {
        return in_bands(x, weight, kernel, usize::MAX);
    }
    let patch = weight.elem_count() / weight.dim(0)? * x.dtype().size_in_bytes();
    let row = x.dim(0)? * x.dim(3)?.div_ceil(kernel.stride) * patch;
    in_bands(x, weight, kernel, (PATCH_BYTES / row).max(1))
}

/// Makes at most `rows` rows of the result at a time.
fn in_bands(x: &Tensor, weight: &Tensor, kernel: Kernel, rows: usize) -> Result<Tensor> {
    let Kernel { size, stride, before, after, edge } = kernel;
    if edge != Edge::Zeros {
        bail!("edges other than zeros are for the processor only");
    }
    let height = (x.dim(2)? + before + after - size) / stride + 1;
    if before == after && rows >= height {
        return x.conv2d(weight, before, stride, 1, 1);
    }
    let x = x.pad_with_zeros(2, before, after)?.pad_with_zeros(3, before, after)?;
    if rows >= height {
        return x.conv2d(weight, 0, stride, 1, 1);
    }
    let band = |first: usize| {
        let rows = rows.min(height - first);
        x.narrow(2, first * stride, (rows - 1) * stride + size)?.conv2d(weight, 0, stride, 1, 1)
    };
    Tensor::cat(&(0..height).step_by(rows).map(band).collect::<Result<Vec<_>>>()?, 2)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn bands_make_the_whole() {
        for kernel in [Kernel::POINT, Kernel::SAME, Kernel::HALVING, Kernel::HALVING_ONE_SIDED] {
            let x = Tensor::randn(0f32, 1.0, (2, 3, 10, 6), &Device::Cpu).expect("a picture");
            let weight = Tensor::randn(0f32, 1.0, (4, 3, kernel.size, kernel.size), &Device::Cpu).expect("a weight");
            let numbers = |rows: usize| {
                let y = in_bands(&x, &weight, kernel, rows).expect("a convolution");
                (y.dims().to_vec(), y.flatten_all().and_then(|y| y.to_vec1::<f32>()).expect("numbers"))
            };
            let (shape, whole) = numbers(usize::MAX);
            assert_eq!(shape, [2, 4, 10 / kernel.stride, 6 / kernel.stride]);
            for rows in 1..10 {
                let (banded_shape, banded) = numbers(rows);
                assert_eq!(banded_shape, shape);
                // A product may add its terms up in another order.
                assert!(whole.iter().zip(&banded).all(|(a, b)| (a - b).abs() < 1e-5), "{kernel:?} by {rows}");
            }
        }
    }
}
