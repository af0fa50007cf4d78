//! Numbers of sixteen bits that share their scale, as [`gemm::fixed`](crate::gemm::fixed) has them.
//!
//! The channels of a block have one scale at each point, for a tile or for an output of the weight. That errs less than
//! products of `bf16` do: those have eight significant bits, and the transforms would make their error five times as large.

use super::POINTS;
use super::input::Tile;
use super::points::Points;
use super::store::{GAP, Operand, Side};
use super::weight::Weights;
use crate::gemm::fixed::{GROUP, Scales, of_panel, of_row};
use crate::gemm::{Block, PANEL};
use crate::simd::{Avx512, Avx512Vnni, Simd};

/// With products of sixteen bits.
#[derive(Clone, Copy)]
pub(super) struct Fixed(pub(super) Avx512Vnni);

impl Points for Fixed {
    type Simd = Avx512;
    type Number = i16;

    const CHANNELS: usize = GROUP;
    const SCALES: usize = 1;
    const INPUT_VALUES: usize = POINTS * GROUP;
    const WEIGHT_VALUES: usize = POINTS * (GROUP * PANEL + GAP);
    const SHARED_WEIGHTS: bool = true;
    const ROWS: usize = Avx512Vnni::ROWS;
    const PANELS: usize = Avx512Vnni::PANELS;

    fn simd(self) -> Avx512 {
        self.0.avx512()
    }

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, tile: &Tile<'_>, index: usize, values: &mut [f32], to: &mut Operand<'_, i16>) {
        let width = tile.width();
        tile.transform(simd, values, width);
        for (point, values) in values.chunks_exact(width).take(POINTS).enumerate() {
            let numbers = &mut to.numbers[point * to.stride + index * width..][..width];
            // SAFETY: a `Fixed` has the proof that there are these instructions.
            to.scales[point * to.scales_stride + index] = unsafe { of_row(values, numbers) };
        }
    }

    #[inline(always)]
    fn weights<S: Simd>(
        self,
        simd: S,
        weights: &Weights<'_>,
        index: usize,
        values: &mut [f32],
        to: &mut Operand<'_, i16>,
    ) {
        let length = weights.length();
        weights.transform(simd, values, length + GAP);
        for (point, values) in values.chunks_exact(length + GAP).take(POINTS).enumerate() {
            let values = &values[..length];
            let numbers = &mut to.numbers[point * to.stride + index * length..][..length];
            let scales = to.scales[point * to.scales_stride + index * PANEL..].first_chunk_mut().expect("sixteen");
            // SAFETY: as above.
            unsafe { of_panel(values, numbers, scales) };
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, block: Block, a: Side<'_, i16>, b: Side<'_, i16>, c: &mut [f32]) {
        let scales = Scales { a: a.scales.as_ptr(), a_stride: 1, b: b.scales.as_ptr(), b_stride: b.next_scales };
        // SAFETY: the caller's promise.
        unsafe { self.0.multiply(block, a.numbers.as_ptr(), b.numbers.as_ptr(), scales, c.as_mut_ptr()) };
    }
}
