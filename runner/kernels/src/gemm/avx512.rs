//! The inner loop with AVX-512: tiles of twelve rows and two panels, whose sums are in 24 of the 32 registers.

use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_load_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_store_ps};

use super::{Block, Kernel, PANEL};
use crate::simd::Avx512;

const ROWS: usize = 12;

impl Kernel for Avx512 {
    type Simd = Self;
    type Element = f32;

    const ROWS: usize = ROWS;
    const PANELS: usize = 2;

    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn copy(self, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    unsafe fn multiply(self, block: Block, a: *const f32, b: *const f32, c: *mut f32) {
        // SAFETY: an `Avx512` is made only where the processor has it; the rest is the caller's promise.
        unsafe {
            if block.panels == 2 {
                multiply::<2>(block, a, b, c);
            } else {
                multiply::<1>(block, a, b, c);
            }
        }
    }
}

/// # Safety
/// [`Kernel::multiply`]'s, with `P` panels.
#[target_feature(enable = "avx512f")]
unsafe fn multiply<const P: usize>(block: Block, a: *const f32, b: *const f32, c: *mut f32) {
    let mut row = 0;
    // SAFETY: `row` stays below the block's; the caller's memory has all of those.
    unsafe {
        let at = |row: usize| (a.add(row * block.a_stride), b, c.add(row * PANEL));
        while row + ROWS <= block.rows {
            tile::<ROWS, P>(block, at(row));
            row += ROWS;
        }
        let rest = block.rows - row;
        if rest & 8 != 0 {
            tile::<8, P>(block, at(row));
            row += 8;
        }
        if rest & 4 != 0 {
            tile::<4, P>(block, at(row));
            row += 4;
        }
        if rest & 2 != 0 {
            tile::<2, P>(block, at(row));
            row += 2;
        }
        if rest & 1 != 0 {
            tile::<1, P>(block, at(row));
        }
    }
}

/// # Safety
/// `a` has `R` rows, `b` `P` panels, `c` `R` rows of `P` panels.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile<const R: usize, const P: usize>(block: Block, (a, b, c): (*const f32, *const f32, *mut f32)) {
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    // SAFETY: all of it is within the caller's rows and panels, which begin at multiples of 64 bytes.
    unsafe {
        if block.add {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (panel, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_load_ps(c.add(panel * block.c_stride + row * PANEL));
                }
            }
        }
        for k in 0..block.inputs {
            let mut weights = [_mm512_setzero_ps(); P];
            for (panel, weights) in weights.iter_mut().enumerate() {
                *weights = _mm512_load_ps(b.add(panel * block.b_stride + k * PANEL));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(row * block.a_stride + k));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_fmadd_ps(a, weights, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (panel, sum) in sums.iter().enumerate() {
                _mm512_store_ps(c.add(panel * block.c_stride + row * PANEL), *sum);
            }
        }
    }
}
