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
        for (from, to) in self.from.chunks_exact(2 * PANEL).zip(self.to.chunks_exact_mut(2 * PANEL)) {
            let (even, odd) = to.split_at_mut(PANEL);
            for lane in 0..PANEL {
                // The pair as one number, as the instructions see it.
                let pair = u32::from(from[2 * lane].to_bits()) | u32::from(from[2 * lane + 1].to_bits()) << 16;
                even[lane] = f32::from_bits(pair << 16);
                odd[lane] = f32::from_bits(pair & 0xffff_0000);
            }
        }
    }
}
