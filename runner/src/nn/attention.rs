//! Scaled dot-product attention over several heads.

use candle_core::{D, DType, Result, Tensor};
pub use livewebcam_kernels::Mask;
use livewebcam_kernels::{Format, Heads};

use super::data::{Data, cpu};
use super::profile::{Kind, layer};
use super::tokens::Tokens;

/// How many bytes of scores candle may have at one time.
const SCORE_BYTES: usize = 64 << 20;

/// `softmax(q · kᵀ / √width) · v` for each head. `q` is `[batch, queries, heads · width]`, `k` and `v` are
/// `[batch, keys, heads · width]`, the result has the shape of `q`. The scores are never in memory as a whole. With
/// `bf16` as their `format`, kernels may round all of them to it, and the result if it would be for the next product.
///
/// # Errors
/// Shapes that do not fit, or a failure of the device.
pub fn attention(q: &Tokens, k: &Tokens, v: &Tokens, heads: usize, mask: Mask, format: Format) -> Result<Tokens> {
    let shape = q.shape();
    let _noted = layer(Kind::Attention, || 4 * shape.values() * k.shape().rows);
    let data = match q.data() {
        Data::Candle(q) => Data::Candle(by_candle(q, k.data().candle()?, v.data().candle()?, heads, mask)?),
        q => {
            let (q, k_values, v_values) = (q.operand()?, k.data().operand()?, v.data().operand()?);
            let (queries, keys, width) = (shape.rows, k.shape().rows, shape.width / heads);
            let heads = Heads { batch: shape.batch, queries, keys, heads, width };
            let cpu = if format == Format::F32 { cpu().exact() } else { cpu() };
            Data::filled_for(format, shape.values(), |y| cpu.attention(q, k_values, v_values, heads, mask, y))
        }
    };
    Ok(Tokens::of(shape, data))
}

/// Takes the queries in pieces, so that the scores never take more than a fixed amount of memory.
pub(super) fn by_candle(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
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

/// `exp(x) / Σ exp(x)` over the last dimension.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exponential = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)
}

fn causal(start: usize, length: usize, keys: usize, like: &Tensor) -> Result<Tensor> {
    let hidden = |(query, key): (usize, usize)| if key > start + query { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..length).flat_map(|query| (0..keys).map(move |key| (query, key))).map(hidden).collect();
    Tensor::from_vec(values, (length, keys), like.device())?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, places, random};
    use super::super::tokens::Shape;
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        for (queries, keys, mask) in [(5, 7, Mask::None), (6, 6, Mask::Causal), (1, 1, Mask::Causal)] {
            let [kernels, candle] = places().map(|placement| {
                let [q, k, v] = [(1, queries), (2, keys), (3, keys)].map(|(seed, rows)| {
                    let shape = Shape { batch: 2, rows, width: 12 };
                    Tokens::new(random(seed, shape.values()), shape, &placement).expect("rows")
                });
                attention(&q, &k, &v, 3, mask, Format::F32).and_then(|y| y.values()).expect("rows")
            });
            assert_close(&kernels, &candle);
        }
    }
}
