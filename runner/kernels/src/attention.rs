//! Scaled dot-product attention over several heads.

use rayon::prelude::*;

use crate::Cpu;

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Pictures, or texts.
    pub batch: usize,
    /// Queries of each.
    pub queries: usize,
    /// Keys, and values, of each.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub width: usize,
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All.
    None,
    /// Those that do not come after it; there are as many keys as queries.
    Causal,
}

impl Cpu {
    /// `softmax(q · kᵀ / √width) · v` for each head. `q` and `y` are `[batch, queries, heads · width]`, `k` and `v` are
    /// `[batch, keys, heads · width]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn attention(self, q: &[f32], k: &[f32], v: &[f32], shape: Heads, mask: Mask, y: &mut [f32]) {
        let Heads { batch, queries, keys, heads, width } = shape;
        let channels = heads * width;
        assert_eq!((q.len(), y.len()), (batch * queries * channels, batch * queries * channels));
        assert_eq!((k.len(), v.len()), (batch * keys * channels, batch * keys * channels));
        assert!(mask == Mask::None || queries == keys, "a causal mask needs as many keys as queries");
        let scale = 1.0 / (width as f64).sqrt() as f32;
        y.par_chunks_exact_mut(channels).enumerate().for_each(|(row, y)| {
            let (picture, query) = (row / queries, row % queries);
            let seen = if mask == Mask::Causal { query + 1 } else { keys };
            for head in 0..heads {
                let q = &q[row * channels + head * width..][..width];
                let of = |x, key| &<[f32]>::as_ref(x)[(picture * keys + key) * channels + head * width..][..width];
                let dot = |key| q.iter().zip(of(k, key)).map(|(q, k)| q * k).sum::<f32>() * scale;
                let mut shares: Vec<f32> = (0..seen).map(dot).collect();
                let largest = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                shares.iter_mut().for_each(|share| *share = (*share - largest).exp());
                let sum: f32 = shares.iter().sum();
                let y = &mut y[head * width..][..width];
                y.fill(0.0);
                for (key, share) in shares.iter().enumerate() {
                    y.iter_mut().zip(of(v, key)).for_each(|(y, v)| *y += share / sum * v);
                }
            }
        });
    }
}
