//! The inner loop with AVX2 and FMA: tiles of six rows and one panel, whose sums are in twelve of the sixteen registers.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

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
                tile::<ROWS, 1>(block, at(row));
                row += ROWS;
            }
            match block.rows - row {
                1 => tile::<1, 4>(block, at(row)),
                2 => tile::<2, 2>(block, at(row)),
                3 => tile::<3, 2>(block, at(row)),
                4 => tile::<4, 1>(block, at(row)),
                5 => tile::<5, 1>(block, at(row)),
                _ => {}
            }
        }
    }
}

/// `R` rows. With `S` above 1 there are `S` sums of each, of every `S`th product: a few rows have too few sums to hide how
/// long an addition takes.
///
/// # Safety
/// `a` has `R` rows, `b` one panel, `c` `R` rows of it.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize, const S: usize>(block: Block, (a, b, c): (*const f32, *const f32, *mut f32)) {
    let mut sums = [[[_mm256_setzero_ps(); 2]; R]; S];
    // SAFETY: all of it is within the caller's rows and panel.
    unsafe {
        if block.add {
            for (row, sums) in sums[0].iter_mut().enumerate() {
                *sums = [_mm256_loadu_ps(c.add(row * PANEL)), _mm256_loadu_ps(c.add(row * PANEL + 8))];
            }
        }
        let whole = block.inputs / S * S;
        for first in (0..whole).step_by(S) {
            for (k, sums) in sums.iter_mut().enumerate() {
                add(sums, a.add(first + k), block.a_stride, b.add((first + k) * PANEL));
            }
        }
        for k in whole..block.inputs {
            add(&mut sums[0], a.add(k), block.a_stride, b.add(k * PANEL));
        }
        for row in 0..R {
            let [mut low, mut high] = sums[0][row];
            for sums in &sums[1..] {
                (low, high) = (_mm256_add_ps(low, sums[row][0]), _mm256_add_ps(high, sums[row][1]));
            }
            _mm256_storeu_ps(c.add(row * PANEL), low);
            _mm256_storeu_ps(c.add(row * PANEL + 8), high);
        }
    }
}

/// Adds the products of one input.
///
/// # Safety
/// `a` has `R` rows, `b` a row of a panel.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const R: usize>(sums: &mut [[__m256; 2]; R], a: *const f32, a_stride: usize, b: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let b = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = _mm256_broadcast_ss(&*a.add(row * a_stride));
            *sums = [_mm256_fmadd_ps(a, b[0], sums[0]), _mm256_fmadd_ps(a, b[1], sums[1])];
        }
    }
}
