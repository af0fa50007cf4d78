//! What group norm and layer norm share on GPUs.

use candle_core::{D, DType, Result, Tensor};

/// Brings each run of values along the last dimension to mean 0 and variance 1 (biased, `eps` added to it), computed in
/// `f32`: `f16` has not the range for sums of squares.
pub(super) fn standardise(x: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)?.to_dtype(x.dtype())
}
