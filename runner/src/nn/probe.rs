//! A small computation whose result is known, for a device that may not be what this binary's kernels were compiled for.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::attention::{Mask, by_candle};

/// Lets `device` compute in `dtype`: matrix products, elementwise functions, reductions, and flash attention where it is
/// built in. The launches of the last fail without a word on a GPU that its kernels were not compiled for.
///
/// # Errors
/// What the device says, or that its result is wrong.
pub fn probe(device: &Device, dtype: DType) -> Result<()> {
    // Both keys have half a share, so the values come back; sixty-fourths are exact in every format.
    let values: Vec<f32> = (0..64_u8).map(|i| f32::from(i) / 64.0).collect();
    let x = Tensor::from_slice(&values, (1, 1, 64), device)?.repeat((1, 2, 1))?.to_dtype(dtype)?;
    let y: Vec<f32> =
        by_candle(&x, &x, &x, 1, Mask::None)?.narrow(1, 0, 1)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    if y != values {
        bail!("it computes wrong values, as kernels do that were compiled for another GPU");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_passes() {
        probe(&Device::Cpu, DType::F32).expect("the processor");
    }
}
