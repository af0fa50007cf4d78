//! Flash attention (Dao, "FlashAttention-2", 2023) by candle's kernels for NVIDIA GPUs: the scores are never in memory.

use candle_core::{DType, Result, Tensor};

use super::attention::Mask;

/// The kernels take heads whose width is a multiple of this.
const GRAIN: usize = 8;
/// Wider heads, which only autoencoders have, need more shared memory than many GPUs give.
const WIDEST: usize = 256;

/// Whether there is a kernel for queries `[batch, queries, heads · width]`.
pub(super) fn takes(q: &Tensor, heads: usize) -> Result<bool> {
    let width = q.dim(2)? / heads;
    let fits = width.is_multiple_of(GRAIN) && width <= WIDEST;
    Ok(fits && q.device().is_cuda() && matches!(q.dtype(), DType::F16 | DType::BF16))
}

/// What [`super::attention::attention`] computes.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    let split = |x: &Tensor| {
        let (batch, length, channels) = x.dims3()?;
        x.contiguous()?.reshape((batch, length, heads, channels / heads))
    };
    let scale = 1.0 / ((q.dim(2)? / heads) as f32).sqrt();
    candle_flash_attn::flash_attn(&split(q)?, &split(k)?, &split(v)?, scale, mask == Mask::Causal)?.reshape(q.shape())
}
