//! What group norm and layer norm share: runs of values brought to mean 0 and variance 1, then scaled and shifted.
//!
//! The sums are in f64: a run of a large picture has millions of values.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Brings each run of `run` successive values of `x` to mean 0 and variance 1 (biased, `eps` added to it), and gives
/// element `i` of the result the scale and shift of channel `i / spread % channels`.
pub(super) fn standardise(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    run: usize,
    spread: usize,
    eps: f64,
) -> Result<Tensor> {
    let channels = weight.elem_count();
    let x = x.contiguous()?;
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.apply_op3_no_bwd(weight, bias, &Standardise { run, spread, eps });
    }
    let runs = x.elem_count() / run;
    let flat = x.reshape((runs, run))?.to_dtype(DType::F32)?;
    let centred = flat.broadcast_sub(&flat.mean_keepdim(1)?)?;
    let variance = centred.sqr()?.mean_keepdim(1)?;
    let normal = centred.broadcast_div(&(variance + eps)?.sqrt()?)?.to_dtype(x.dtype())?;
    let shape = (x.elem_count() / (channels * spread), channels, spread);
    let affine = |tensor: &Tensor| tensor.to_dtype(x.dtype())?.reshape((1, channels, 1));
    normal.reshape(shape)?.broadcast_mul(&affine(weight)?)?.broadcast_add(&affine(bias)?)?.reshape(x.shape())
}

struct Standardise {
    run: usize,
    spread: usize,
    eps: f64,
}

impl CustomOp3 for Standardise {
    fn name(&self) -> &'static str {
        "standardise"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let channels = weight.len();
        let mut y = vec![0.0_f32; x.len()];
        y.par_chunks_mut(self.run).zip(x.par_chunks(self.run)).enumerate().for_each(|(index, (y, x))| {
            let mean = sum(x, f64::from) / x.len() as f64;
            let variance = sum(x, |value| (f64::from(value) - mean).powi(2)) / x.len() as f64;
            let scale = 1.0 / (variance + self.eps).sqrt();
            // All values of a piece have one channel.
            let piece = self.spread.min(self.run);
            let offset = index * self.run;
            for (number, (y, x)) in y.chunks_mut(piece).zip(x.chunks(piece)).enumerate() {
                let channel = (offset + number * piece) / self.spread % channels;
                let factor = (scale * f64::from(weight[channel])) as f32;
                let shift = (f64::from(bias[channel]) - mean * scale * f64::from(weight[channel])) as f32;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x * factor + shift);
            }
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }
}

/// Eight independent sums, so that the compiler may use vector instructions.
fn sum(values: &[f32], term: impl Fn(f32) -> f64) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += term(*value));
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|value| term(*value)).sum::<f64>()
}

pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a tensor that is not contiguous"),
    }
}
