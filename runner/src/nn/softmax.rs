//! The softmax.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::standardise::slice;

/// `exp(x) / Σ exp(x)` over the last dimension, in f32.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    if x.device().is_cpu() {
        return x.apply_op1_no_bwd(&Softmax);
    }
    let exponential = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let width = layout.shape().dims().last().copied().unwrap_or(1);
        let mut y = vec![0.0_f32; x.len()];
        y.par_chunks_mut(width).zip(x.par_chunks(width)).for_each(|(y, x)| {
            let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - largest).exp());
            let scale = (1.0 / y.iter().map(|y| f64::from(*y)).sum::<f64>()) as f32;
            y.iter_mut().for_each(|y| *y *= scale);
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}
