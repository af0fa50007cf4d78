//! Numbers of sixteen bits that share their scale: block floating point.
//!
//! The channels of a block have one scale at each point, for a tile or for an output of the weight, by which the largest of
//! them becomes [`MOST_INPUT`] or [`MOST_WEIGHT`]. The sums of a block are exact, in 32 bits. That errs less than products of
//! `bf16` do: those have eight significant bits, and the transforms would make their error five times as large.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_storeu_si256, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi32_epi16,
    _mm512_cvtps_epi32, _mm512_div_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi16, _mm512_max_epu32,
    _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::POINTS;
use super::input::Tile;
use super::points::Points;
use super::store::{GAP, Operand, Side};
use super::transform::Lanes;
use super::weight::Weights;
use crate::gemm::{Block, Kernel, PANEL, Scales};
use crate::simd::{Avx512Bf16, Simd};

/// The largest numbers. A whole block of them still fits.
const MOST_INPUT: i32 = 4095;
const MOST_WEIGHT: i32 = 8191;

const CHANNELS: usize = 64;
const _: () = assert!((CHANNELS as i32).checked_mul(MOST_INPUT * MOST_WEIGHT).is_some());

/// With the products of sixteen bits that every processor with AVX-512's `bf16` has.
#[derive(Clone, Copy)]
pub(super) struct Fixed(pub(super) Avx512Bf16);

impl Points for Fixed {
    type Simd = Avx512Bf16;
    type Number = i16;

    const CHANNELS: usize = CHANNELS;
    const SCALES: usize = 1;
    const INPUT_VALUES: usize = POINTS * CHANNELS;
    const WEIGHT_VALUES: usize = POINTS * (CHANNELS * PANEL + GAP);
    const SHARED_WEIGHTS: bool = true;
    const ROWS: usize = Avx512Bf16::ROWS;
    const PANELS: usize = Avx512Bf16::PANELS;

    fn simd(self) -> Avx512Bf16 {
        self.0
    }

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, tile: &Tile<'_>, index: usize, values: &mut [f32], to: &mut Operand<'_, i16>) {
        let width = tile.width();
        tile.transform(simd, values, width);
        for (point, values) in values.chunks_exact(width).take(POINTS).enumerate() {
            let numbers = &mut to.numbers[point * to.stride + index * width..][..width];
            // SAFETY: a `Fixed` has the proof that there are these instructions.
            to.scales[point * to.scales_stride + index] = unsafe { with_one_scale(values, numbers) };
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
            unsafe { with_scales(values, numbers, scales) };
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, block: Block, a: Side<'_, i16>, b: Side<'_, i16>, c: &mut [f32]) {
        let scales = Scales { a: a.scales.as_ptr(), b: b.scales.as_ptr(), b_stride: b.next_scales };
        // SAFETY: the caller's promise.
        unsafe { self.0.multiply_fixed(block, a.numbers.as_ptr(), b.numbers.as_ptr(), scales, c.as_mut_ptr()) };
    }
}

/// The largest magnitudes in each lane. By their bits, what is not a number is the largest, and makes the scale none.
#[inline]
#[target_feature(enable = "avx512f")]
fn magnitudes(values: &[Lanes]) -> __m512i {
    let all = _mm512_set1_epi32(i32::MAX);
    values.iter().fold(_mm512_setzero_si512(), |largest, values| {
        // SAFETY: they are sixteen.
        let bits = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        _mm512_max_epu32(largest, _mm512_and_si512(bits, all))
    })
}

/// `values · factor` in whole numbers. Where all of a block are 0 the factor is infinite, and these are 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn whole(values: &Lanes, factor: __m512) -> __m512i {
    // SAFETY: they are sixteen.
    let values = unsafe { _mm512_loadu_ps(values.as_ptr()) };
    _mm512_cvtps_epi32(_mm512_mul_ps(values, factor))
}

/// Makes whole numbers of a tile's channels, and returns their scale.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_one_scale(values: &[f32], numbers: &mut [i16]) -> f32 {
    let values = values.as_chunks().0;
    let largest = f32::from_bits(_mm512_reduce_max_epu32(magnitudes(values)));
    let factor = _mm512_set1_ps(MOST_INPUT as f32 / largest);
    for (values, numbers) in values.iter().zip(numbers.as_chunks_mut::<PANEL>().0) {
        let narrow = _mm512_cvtepi32_epi16(whole(values, factor));
        // SAFETY: they are sixteen.
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), narrow) };
    }
    largest / MOST_INPUT as f32
}

/// Makes pairs of whole numbers of a panel's channels, with a scale for each output.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_scales(values: &[f32], numbers: &mut [i16], scales: &mut Lanes) {
    let values = values.as_chunks().0;
    let largest = _mm512_castsi512_ps(magnitudes(values));
    let most = _mm512_set1_ps(MOST_WEIGHT as f32);
    let factors = _mm512_div_ps(most, largest);
    // SAFETY: they are sixteen.
    unsafe { _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_div_ps(largest, most)) };
    for ([first, second], numbers) in values.as_chunks().0.iter().zip(numbers.as_chunks_mut::<{ 2 * PANEL }>().0) {
        let second = _mm512_slli_epi32::<16>(whole(second, factors));
        let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, whole(first, factors), second);
        // SAFETY: they are 32.
        unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), pairs) };
    }
}
