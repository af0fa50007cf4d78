//! The inner loops with AVX-512, of `f32` and of `bf16`: tiles of twelve rows and two panels, whose sums are in 24 of the 32
//! registers. `vdpbf16ps` adds the products of a pair of inputs to each sum, and `vpdpwssd` those of a pair of whole numbers.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_cvtepi32_ps, _mm512_dpbf16_ps, _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_store_ps,
};

use half::bf16;

use super::fixed::{GROUP, Scales};
use super::{Block, Kernel, PANEL, Pieces};
use crate::simd::{Avx512, Avx512Bf16, Avx512Vnni};

const ROWS: usize = 12;

/// Rows in one piece.
const ONE_PIECE: Pieces = Pieces { count: 1, stride: 0 };

impl Kernel for Avx512 {
    type Simd = Self;
    type Element = f32;

    const ROWS: usize = ROWS;
    const PANELS: usize = 2;

    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn multiply(self, block: Block, a: *const f32, b: *const f32, c: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.multiply_pieces(block, ONE_PIECE, a, b, c) };
    }

    unsafe fn multiply_pieces(self, block: Block, pieces: Pieces, a: *const f32, b: *const f32, c: *mut f32) {
        // SAFETY: an `Avx512` is made only where the processor has it; the rest is the caller's promise.
        unsafe {
            if block.panels == 2 {
                whole::multiply::<2>(block, pieces, a, b, c);
            } else {
                whole::multiply::<1>(block, pieces, a, b, c);
            }
        }
    }
}

impl Kernel for Avx512Bf16 {
    type Simd = Self;
    type Element = bf16;

    const ROWS: usize = ROWS;
    const WHOLE_INPUTS: usize = 2;
    const PANELS: usize = 2;

    fn simd(self) -> Self {
        self
    }

    unsafe fn multiply(self, block: Block, a: *const bf16, b: *const bf16, c: *mut f32) {
        // SAFETY: an `Avx512Bf16` is made only where the processor has it; the rest is the caller's promise.
        unsafe {
            if block.panels == 2 {
                pairs::multiply::<2>(block, ONE_PIECE, a, b, c);
            } else {
                pairs::multiply::<1>(block, ONE_PIECE, a, b, c);
            }
        }
    }
}

impl Avx512Vnni {
    /// The most rows and panels whose sums are in registers.
    pub(crate) const ROWS: usize = ROWS;
    pub(crate) const PANELS: usize = 2;

    /// As [`Kernel::multiply`] of whole numbers, whose panels lie in memory as those of `bf16` do. The sums of each [`GROUP`] of
    /// inputs are taken times the scales of its row and its output.
    ///
    /// # Safety
    /// [`Kernel::multiply`]'s, and the same of the scales; those of a panel begin at a multiple of 64 bytes. Inputs are in pairs,
    /// and a group's sums fit in 32 bits.
    pub(crate) unsafe fn multiply(self, block: Block, a: *const i16, b: *const i16, scales: Scales, c: *mut f32) {
        // SAFETY: an `Avx512Vnni` is made only where the processor has it; the rest is the caller's promise.
        unsafe {
            if block.panels == 2 {
                fixed::multiply::<2>(block, a, b, scales, c);
            } else {
                fixed::multiply::<1>(block, a, b, scales, c);
            }
        }
    }
}

/// Calls `$tile` for tiles of twelve rows, and for one of the rest.
macro_rules! by_rows {
    ($block:ident, |$row:ident| $tile:ident::<_, $panels:ident>($($argument:expr),*)) => {{
        let mut $row = 0;
        while $row + ROWS <= $block.rows {
            $tile::<ROWS, $panels>($($argument),*);
            $row += ROWS;
        }
        match $block.rows - $row {
            0 => {}
            1 => $tile::<1, $panels>($($argument),*),
            2 => $tile::<2, $panels>($($argument),*),
            3 => $tile::<3, $panels>($($argument),*),
            4 => $tile::<4, $panels>($($argument),*),
            5 => $tile::<5, $panels>($($argument),*),
            6 => $tile::<6, $panels>($($argument),*),
            7 => $tile::<7, $panels>($($argument),*),
            8 => $tile::<8, $panels>($($argument),*),
            9 => $tile::<9, $panels>($($argument),*),
            10 => $tile::<10, $panels>($($argument),*),
            11.. => $tile::<11, $panels>($($argument),*),
        }
    }};
}

/// Defines `multiply` for one kind of numbers, of which `$step` lie side by side in a panel. `$spread` fills a register with
/// a row's next numbers, `$load` with those of a panel, `$fuse` adds their products to sums.
macro_rules! tiles {
    ($module:ident, $number:ty, $features:literal, $step:literal, $spread:expr, $load:expr, $fuse:expr) => {
        mod $module {
            use super::*;

            /// # Safety
            /// [`Kernel::multiply_pieces`]'s, with `P` panels.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply<const P: usize>(
                block: Block,
                pieces: Pieces,
                a: *const $number,
                b: *const $number,
                c: *mut f32,
            ) {
                let at = |row: usize| (a.wrapping_add(row * block.a_stride), b, c.wrapping_add(row * PANEL));
                // SAFETY: `row` stays below the block's; the caller's memory has all of those.
                unsafe { by_rows!(block, |row| tile::<_, P>(block, pieces, at(row))) };
            }

            /// # Safety
            /// `a` has `R` rows, `b` `P` panels, `c` `R` rows of `P` panels.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tile<const R: usize, const P: usize>(
                block: Block,
                pieces: Pieces,
                (a, b, c): (*const $number, *const $number, *mut f32),
            ) {
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
                    for piece in 0..pieces.count {
                        let (a, b) = (a.add(piece * pieces.stride), b.add(piece * block.inputs * PANEL));
                        for k in (0..block.inputs).step_by($step) {
                            let mut weights = [$load(b.add(k * PANEL)); P];
                            for (panel, weights) in weights.iter_mut().enumerate().skip(1) {
                                *weights = $load(b.add(panel * block.b_stride + k * PANEL));
                            }
                            for (row, sums) in sums.iter_mut().enumerate() {
                                let a = $spread(a.add(row * block.a_stride + k));
                                for (sum, weights) in sums.iter_mut().zip(weights) {
                                    *sum = $fuse(*sum, a, weights);
                                }
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
        }
    };
}

tiles!(whole, f32, "avx512f", 1, |a: *const f32| _mm512_set1_ps(*a), |b: *const f32| _mm512_load_ps(b), |sum, a, b| {
    _mm512_fmadd_ps(a, b, sum)
});

tiles!(
    pairs,
    bf16,
    "avx512f,avx512bf16",
    2,
    |a: *const bf16| _mm512_set1_epi32(a.cast::<i32>().read_unaligned()),
    |b: *const bf16| _mm512_load_si512(b.cast()),
    |sum, a, b| _mm512_dpbf16_ps(sum, numbers(a), numbers(b))
);

mod fixed {
    use super::*;

    /// # Safety
    /// [`Avx512Vnni::multiply`]'s, with `P` panels.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn multiply<const P: usize>(
        block: Block,
        a: *const i16,
        b: *const i16,
        scales: Scales,
        c: *mut f32,
    ) {
        let at = |row: usize| (a.wrapping_add(row * block.a_stride), b, c.wrapping_add(row * PANEL));
        let of = |row: usize| Scales { a: scales.a.wrapping_add(row * scales.a_stride), ..scales };
        // SAFETY: `row` stays below the block's; the caller's memory has all of those.
        unsafe { by_rows!(block, |row| tile::<_, P>(block, at(row), of(row))) };
    }

    /// # Safety
    /// `a` has `R` rows, `b` `P` panels, `c` `R` rows of `P` panels; and there are their scales.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn tile<const R: usize, const P: usize>(
        block: Block,
        (a, b, c): (*const i16, *const i16, *mut f32),
        scales: Scales,
    ) {
        for (group, from) in (0..block.inputs).step_by(GROUP).enumerate() {
            let mut sums = [[_mm512_setzero_si512(); P]; R];
            // SAFETY: all of it is within the caller's rows and panels, which begin at multiples of 64 bytes.
            unsafe {
                for k in (from..block.inputs.min(from + GROUP)).step_by(2) {
                    let mut weights = [_mm512_setzero_si512(); P];
                    for (panel, weights) in weights.iter_mut().enumerate() {
                        *weights = _mm512_load_si512(b.add(panel * block.b_stride + k * PANEL).cast());
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let pair = _mm512_set1_epi32(a.add(row * block.a_stride + k).cast::<i32>().read_unaligned());
                        for (sum, weights) in sums.iter_mut().zip(weights) {
                            *sum = _mm512_dpwssd_epi32(*sum, pair, weights);
                        }
                    }
                }
                for panel in 0..P {
                    let of_outputs = _mm512_load_ps(scales.b.add(panel * scales.b_stride + group * PANEL));
                    for (row, sums) in sums.iter().enumerate() {
                        let of_row = _mm512_set1_ps(*scales.a.add(row * scales.a_stride + group));
                        let c = c.add(panel * block.c_stride + row * PANEL);
                        let before = if block.add || group > 0 { _mm512_load_ps(c) } else { _mm512_setzero_ps() };
                        let sum = _mm512_cvtepi32_ps(sums[panel]);
                        _mm512_store_ps(c, _mm512_fmadd_ps(sum, _mm512_mul_ps(of_outputs, of_row), before));
                    }
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn numbers(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(bits) }
}
