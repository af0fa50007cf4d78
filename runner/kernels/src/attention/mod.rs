//! Scaled dot-product attention over several heads, whose scores are never in memory all at once.
//!
//! Keys and values are brought into panels, in blocks. Each task takes some queries of one head over all of these blocks:
//! scores, their exponentials relative to the largest score so far, and the values' sum with those as weights, which is
//! scaled down when a larger score comes (Milakov, Gimelshein: Online normalizer calculation for softmax, 2018; Dao et
//! al.: FlashAttention, 2022). All of it is generic over the product's [`Kernel`], and with it over the number format. With
//! AMX, where there is enough to do, `amx` does all of these at once.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod fixed;
mod queries;
mod shares;
mod sources;

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::amx::Amx;
use crate::element::{Values, ValuesMut};
use crate::gemm::{Element, Kernel, Output, Scratch, bytes_of};
use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, PRESENT};
use crate::{Cpu, Isa};
use queries::{Queries, most_queries};
use sources::Sources;

/// The most keys of a block.
const KEYS: usize = 256;

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
    /// `[batch, keys, heads · width]`; `q`, `k` and `v` are of one format.
    ///
    /// # Panics
    /// Lengths or formats that do not fit, or no keys.
    pub fn attention<'a>(
        self,
        q: impl Into<Values<'a>>,
        k: impl Into<Values<'a>>,
        v: impl Into<Values<'a>>,
        shape: Heads,
        mask: Mask,
        y: impl Into<ValuesMut<'a>>,
    ) {
        let (q, k, v, y) = (q.into(), k.into(), v.into(), y.into());
        let Heads { batch, queries, keys, heads, width } = shape;
        let channels = heads * width;
        assert_eq!((q.len(), y.len()), (batch * queries * channels, batch * queries * channels));
        assert_eq!((k.len(), v.len()), (batch * keys * channels, batch * keys * channels));
        assert!(mask == Mask::None || queries == keys, "a causal mask needs as many keys as queries");
        assert!(keys > 0, "a query needs a key");
        match (q, k, v) {
            (Values::F32(q), Values::F32(k), Values::F32(v)) => self.attend(Attention { q, k, v, shape, mask }, y),
            (Values::Bf16(q), Values::Bf16(k), Values::Bf16(v)) => self.attend(Attention { q, k, v, shape, mask }, y),
            _ => panic!("queries, keys and values of different formats"),
        }
    }

    fn attend<X: Element>(self, attention: Attention<'_, X>, y: ValuesMut<'_>) {
        match y {
            ValuesMut::F32(y) => self.attend_into(attention, y),
            ValuesMut::Bf16(y) => self.attend_into(attention, y),
        }
    }

    fn attend_into<X: Element, Y: Element>(self, attention: Attention<'_, X>, y: &mut [Y]) {
        match self.isa() {
            Isa::Portable => attention.run(Portable, y),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => attention.run(Avx2::new().expect(PRESENT), y),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni if fixed::suits(attention.shape) => {
                attention.run_fixed(Avx512Vnni::new().expect(PRESENT), y);
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Vnni => attention.run(Avx512::new().expect(PRESENT), y),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => attention.run(Avx512Bf16::new().expect(PRESENT), y),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx if amx::suits(attention.shape) => attention.run_tiles(Amx::new().expect(PRESENT), y),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => attention.run(Amx::new().expect(PRESENT), y),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("another architecture's instruction set"),
        }
    }
}

impl Heads {
    /// Of a query, a key or a value.
    fn channels(self) -> usize {
        self.heads * self.width
    }
}

/// The arguments.
#[derive(Clone, Copy)]
struct Attention<'a, X> {
    q: &'a [X],
    k: &'a [X],
    v: &'a [X],
    shape: Heads,
    mask: Mask,
}

impl<X: Element> Attention<'_, X> {
    /// What scores are multiplied by to be powers of two.
    fn scale(self) -> f32 {
        (f64::from(LOG2_E) / (self.shape.width as f64).sqrt()) as f32
    }

    fn run<K: Kernel, Y: Element>(self, kernel: K, y: &mut [Y]) {
        let Heads { batch, queries, heads, .. } = self.shape;
        if y.is_empty() {
            return;
        }
        let output = &Output::new(y);
        let blocks = queries.div_ceil(most_queries::<K>());
        let most = queries.div_ceil(blocks).next_multiple_of(K::ROWS);
        let count = Sources::count::<K>(self.shape, KEYS);
        Scratch::shared(bytes_of::<K::Element>(count), |mut scratch| {
            let sources = &Sources::new(kernel, self, KEYS, scratch.take(count));
            (0..batch * heads * blocks).into_par_iter().for_each(|task| {
                let (head, from) = (task / blocks, task % blocks * most);
                let queries = Queries { attention: self, head, rows: from..queries.min(from + most) };
                // SAFETY: each task has other queries, or another head.
                kernel.session(|| unsafe { queries.attend(kernel, sources, output) });
            });
        });
    }
}
