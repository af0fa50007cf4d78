//! From `bf16` panels to `f32` ones.

use half::bf16;

use super::PANEL;
use crate::simd::{Simd, Task};

/// Widens `[inputs / 2][16][2]` to `[inputs][16]`.
pub(crate) struct Widen<'a> {
    pub(crate) from: &'a [bf16],
    pub(crate) to: &'a mut [f32],
}

impl Task for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        assert_eq!(self.from.len(), self.to.len());
        for (pairs, to) in pairs(self.from).iter().zip(self.to.as_chunks_mut::<{ 2 * PANEL }>().0) {
            let mut both = [0.0; 2 * PANEL];
            for (lane, &pair) in pairs.iter().enumerate() {
                both[lane] = widened(pair, 0);
                both[PANEL + lane] = widened(pair, 1);
            }
            *to = both;
        }
    }
}

/// The pairs of inputs of a panel, each as one number, as the instructions see it.
#[inline(always)]
pub(crate) fn pairs(values: &[bf16]) -> &[[u32; PANEL]] {
    // SAFETY: every pattern of bits is a `u32`.
    let (before, pairs, after) = unsafe { values.align_to::<u32>() };
    assert!(before.is_empty() && after.is_empty(), "weights lie in whole, aligned pairs");
    pairs.as_chunks().0
}

/// The first or the second of a pair.
#[inline(always)]
pub(crate) fn widened(pair: u32, which: usize) -> f32 {
    f32::from_bits((pair << (16 - 16 * which)) & 0xffff_0000)
}
