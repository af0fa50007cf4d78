//! Scaled dot-product attention over several heads.

use candle_core::{D, DType, Result, Tensor};

use super::softmax::softmax;

/// How many bytes of scores may exist at one time.
const SCORE_BYTES: usize = 64 << 20;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All.
    None,
    /// Those that do not come after it; there are as many keys as queries.
    Causal,
}

/// `softmax(q · kᵀ / √width) · v` for each head. `q` is `[batch, queries, heads · width]`, `k` and `v` are
/// `[batch, keys, heads · width]`, the result has the shape of `q`.
///
/// Queries are taken in pieces, so the scores never take more than a fixed amount of memory.
///
/// # Errors
/// Shapes that do not fit, or a failure of the device.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    #[cfg(feature = "flash-attn")]
    if super::flash::takes(q, heads)? {
        return super::flash::attention(q, k, v, heads, mask);
    }
    let (batch, queries, channels) = q.dims3()?;
    let keys = k.dim(1)?;
    let split = |x: &Tensor| {
        let (batch, length, channels) = x.dims3()?;
        x.reshape((batch, length, heads, channels / heads))?.transpose(1, 2)?.contiguous()
    };
    let scale = 1.0 / ((channels / heads) as f64).sqrt();
    let q = split(&(q * scale)?)?;
    let k = split(k)?.transpose(D::Minus2, D::Minus1)?;
    let v = split(v)?;
    let piece = (SCORE_BYTES / (4 * batch * heads * keys)).clamp(1, queries);
    let mut pieces = Vec::with_capacity(queries.div_ceil(piece));
    for start in (0..queries).step_by(piece) {
        let length = piece.min(queries - start);
        let scores = q.narrow(2, start, length)?.contiguous()?.matmul(&k)?;
        let scores = match mask {
            Mask::None => scores,
            Mask::Causal => scores.broadcast_add(&causal(start, length, keys, &scores)?)?,
        };
        // f16 loses the tail of a long softmax.
        let shares = softmax(&scores.to_dtype(DType::F32)?)?.to_dtype(v.dtype())?;
        pieces.push(shares.matmul(&v)?);
    }
    let joined = if pieces.len() == 1 { pieces.swap_remove(0) } else { Tensor::cat(&pieces, 2)? };
    joined.transpose(1, 2)?.reshape((batch, queries, channels))
}

fn causal(start: usize, length: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let hidden = |(query, key): (usize, usize)| if key > start + query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..length).flat_map(|query| (0..keys).map(move |key| (query, key))).map(hidden).collect();
    Tensor::from_vec(values, (length, keys), like.device())?.to_dtype(like.dtype())
}
