//! The inner loop with AVX2 and FMA: tiles of six rows and one panel, whose sums are in twelve of the sixteen registers.

use std::arch::x86_64::{_mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps};

use super::{Block, Kernel, PANEL};
use crate::simd::Avx2;

const ROWS: usize = 6;

impl Kernel for Avx2 {
    type Simd = Self;
    type Element = f32;

    const ROWS: usize = ROWS;

    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn copy(self, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }

    unsafe fn multiply(self, block: Block, a: *const f32, b: *const f32, c: *mut f32) {
        // SAFETY: an `Avx2` is made only where the processor has it; the rest is the caller's promise.
        unsafe { multiply(block, a, b, c) }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(block: Block, a: *const f32, b: *const f32, c: *mut f32) {
    for panel in 0..block.panels {
        let mut row = 0;
        // SAFETY: `row` and `panel` stay below the block's; the caller's memory has all of those.
        unsafe {
            let (b, c) = (b.add(panel * block.b_stride), c.add(panel * block.c_stride));
            let at = |row: usize| (a.add(row * block.a_stride), b, c.add(row * PANEL));
            while row + ROWS <= block.rows {
                tile::<ROWS>(block, at(row));
                row += ROWS;
            }
            match block.rows - row {
                1 => tile::<1>(block, at(row)),
                2 => tile::<2>(block, at(row)),
                3 => tile::<3>(block, at(row)),
                4 => tile::<4>(block, at(row)),
                5 => tile::<5>(block, at(row)),
                _ => {}
            }
        }
    }
}

/// # Safety
/// `a` has `R` rows, `b` one panel, `c` `R` rows of it.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize>(block: Block, (a, b, c): (*const f32, *const f32, *mut f32)) {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    // SAFETY: all of it is within the caller's rows and panel.
    unsafe {
        if block.add {
            for (row, sums) in sums.iter_mut().enumerate() {
                *sums = [_mm256_loadu_ps(c.add(row * PANEL)), _mm256_loadu_ps(c.add(row * PANEL + 8))];
            }
        }
        for k in 0..block.inputs {
            let b = [_mm256_loadu_ps(b.add(k * PANEL)), _mm256_loadu_ps(b.add(k * PANEL + 8))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(row * block.a_stride + k));
                *sums = [_mm256_fmadd_ps(a, b[0], sums[0]), _mm256_fmadd_ps(a, b[1], sums[1])];
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            _mm256_storeu_ps(c.add(row * PANEL), sums[0]);
            _mm256_storeu_ps(c.add(row * PANEL + 8), sums[1]);
        }
    }
}
