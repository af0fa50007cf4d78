//! Numbers, and what they become.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_storeu_si256, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cvtepi32_epi16,
    _mm512_cvtps_epi32, _mm512_div_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_blend_epi16, _mm512_max_epu16,
    _mm512_max_epu32, _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
    _mm512_slli_epi32, _mm512_storeu_ps, _mm512_storeu_si512,
};

use super::{GROUP, PANEL};

/// The largest numbers. A whole group of them still fits.
const MOST_INPUT: i32 = 4095;
const MOST_WEIGHT: i32 = 8191;

const _: () = assert!((GROUP as i32).checked_mul(MOST_INPUT * MOST_WEIGHT).is_some());

/// The bits of a number of 32 bits without its sign.
const MAGNITUDE: i32 = i32::MAX;

/// Makes whole numbers of some inputs of a row, and returns their scale.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn of_row(values: &[f32], numbers: &mut [i16]) -> f32 {
    let values = values.as_chunks().0;
    let largest = f32::from_bits(_mm512_reduce_max_epu32(magnitudes(values)));
    let factor = _mm512_set1_ps(MOST_INPUT as f32 / largest);
    for (values, numbers) in values.iter().zip(numbers.as_chunks_mut::<PANEL>().0) {
        let narrow = _mm512_cvtepi32_epi16(whole(load(values), factor));
        // SAFETY: they are sixteen.
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), narrow) };
    }
    largest / MOST_INPUT as f32
}

/// Makes pairs of whole numbers of some inputs of a panel, `[inputs][16]`, with a scale for each output.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn of_panel(values: &[f32], numbers: &mut [i16], scales: &mut [f32; PANEL]) {
    let values = values.as_chunks().0;
    let factors = factors(magnitudes(values), scales);
    for ([first, second], numbers) in values.as_chunks().0.iter().zip(numbers.as_chunks_mut().0) {
        put([load(first), load(second)], factors, numbers);
    }
}

/// The same of a panel of `bf16`, whose inputs are in pairs already.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn of_pairs(values: &[[u32; PANEL]], numbers: &mut [i16], scales: &mut [f32; PANEL]) {
    let load = |pair: &[u32; PANEL]| {
        // SAFETY: they are 512 bits.
        unsafe { _mm512_loadu_si512(pair.as_ptr().cast()) }
    };
    let second = |pair: __m512i| _mm512_and_si512(pair, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
    let both = _mm512_set1_epi32(0x7fff_7fff);
    let largest = values
        .iter()
        .fold(_mm512_setzero_si512(), |largest, pair| _mm512_max_epu16(largest, _mm512_and_si512(load(pair), both)));
    let factors = factors(_mm512_max_epu32(_mm512_slli_epi32::<16>(largest), second(largest)), scales);
    for (pair, numbers) in values.iter().zip(numbers.as_chunks_mut().0) {
        let pair = load(pair);
        put([_mm512_slli_epi32::<16>(pair), second(pair)].map(|bits| _mm512_castsi512_ps(bits)), factors, numbers);
    }
}

/// The largest magnitudes in each lane, as bits: by these, what is not a number is the largest, and makes the scale none.
#[inline]
#[target_feature(enable = "avx512f")]
fn magnitudes(values: &[[f32; PANEL]]) -> __m512i {
    values.iter().fold(_mm512_setzero_si512(), |largest, values| {
        // SAFETY: they are 512 bits.
        let bits = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
        _mm512_max_epu32(largest, _mm512_and_si512(bits, _mm512_set1_epi32(MAGNITUDE)))
    })
}

/// What weights are to be multiplied by, of the bits of their largest magnitudes. Writes what undoes it.
#[inline]
#[target_feature(enable = "avx512f")]
fn factors(largest: __m512i, scales: &mut [f32; PANEL]) -> __m512 {
    let (largest, most) = (_mm512_castsi512_ps(largest), _mm512_set1_ps(MOST_WEIGHT as f32));
    // SAFETY: they are sixteen.
    unsafe { _mm512_storeu_ps(scales.as_mut_ptr(), _mm512_div_ps(largest, most)) };
    _mm512_div_ps(most, largest)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32; PANEL]) -> __m512 {
    // SAFETY: they are sixteen.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// `values · factor` in whole numbers. Where all of a group are 0 the factor is infinite, and the lower halves of these are 0.
#[inline]
#[target_feature(enable = "avx512f")]
fn whole(values: __m512, factor: __m512) -> __m512i {
    _mm512_cvtps_epi32(_mm512_mul_ps(values, factor))
}

/// Writes whole numbers of two inputs of a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn put([first, second]: [__m512; 2], factors: __m512, numbers: &mut [i16; 2 * PANEL]) {
    let second = _mm512_slli_epi32::<16>(whole(second, factors));
    let pairs = _mm512_mask_blend_epi16(0xaaaa_aaaa, whole(first, factors), second);
    // SAFETY: they are 32.
    unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), pairs) };
}
