//! The exponentials of a softmax in `bf16`, with whole numbers of 16 bits.

use std::arch::asm;
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_add_epi16, _mm512_cmpneq_epi16_mask, _mm512_cvtps_epi32, _mm512_dpbf16_ps,
    _mm512_maskz_add_epi16, _mm512_mulhrs_epi16, _mm512_packs_epi32, _mm512_permutexvar_epi64, _mm512_set1_epi16,
    _mm512_setr_epi64, _mm512_slli_epi16, _mm512_storeu_si512, _mm512_sub_epi16, _mm512_xor_si512,
};

use half::bf16;

use super::MOST_POWER;

/// The powers of [`shares`] are whole numbers of this part: sixteen bits of them reach from -16 to 16.
pub(crate) const FRACTION: f32 = 2048.0;

/// What is added to powers that are at most [`MOST_POWER`], so that all of these bits are used.
pub(crate) const OFFSET: f32 = 16.0 - MOST_POWER;

/// What [`shares`] calculates with.
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    /// Two registers become one in pieces of four numbers, in turns.
    pub(crate) order: __m512i,
    /// `c`, in parts of `FRACTION`, is `least + slope · f`, for `f` in parts of 65536: 0.307 + 0.076 · f.
    pub(crate) least: __m512i,
    pub(crate) slope: __m512i,
    /// Seven bits of the fraction remain.
    pub(crate) round: __m512i,
    pub(crate) bias: __m512i,
    /// What is too small.
    pub(crate) nothing: __m512i,
    pub(crate) ones: __m512i,
    pub(crate) all_bits: __m512i,
}

impl Constants {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(crate) fn new() -> Self {
        Self {
            order: _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7),
            least: _mm512_set1_epi16(628),
            slope: _mm512_set1_epi16(156),
            round: _mm512_set1_epi16(1 << 11),
            bias: _mm512_set1_epi16((127 - OFFSET as i16) << 7),
            nothing: _mm512_set1_epi16(i16::MIN),
            ones: _mm512_set1_epi16(bf16::ONE.to_bits() as i16),
            all_bits: _mm512_set1_epi16(-1),
        }
    }
}

/// `2^(x - OFFSET)` of 32 numbers, which are counted in parts of [`FRACTION`].
///
/// The bits of a `bf16` are those of its logarithm, but for a correction: between two powers of two `2^f` is
/// `1 + f - f · (1 - f) · c`, where `c` hardly changes. Whole numbers of 16 bits suffice for that: before it is rounded, the
/// error is at most 7e-4. What is too small for them becomes 0.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn shares([low, high]: [__m512; 2], totals: __m512, to: &mut [bf16; 32]) -> __m512 {
    let Constants { order, least, slope, round, bias, nothing, ones, all_bits } = Constants::new();
    let pieces = _mm512_packs_epi32(_mm512_cvtps_epi32(low), _mm512_cvtps_epi32(high));
    let powers = _mm512_permutexvar_epi64(order, pieces);
    let f = _mm512_slli_epi16::<5>(powers);
    // The intrinsic is more than one instruction once the compiler has thought about it.
    let upper = |a: __m512i, b: __m512i| -> __m512i {
        let product;
        // SAFETY: the upper halves of products of 16 bits, which every processor with AVX-512 BW has.
        unsafe {
            asm!(
                "vpmulhuw {}, {}, {}",
                out(zmm_reg) product, in(zmm_reg) a, in(zmm_reg) b,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        product
    };
    let product = upper(f, _mm512_xor_si512(f, all_bits));
    let c = _mm512_add_epi16(upper(f, slope), least);
    let logarithms = _mm512_sub_epi16(powers, upper(product, c));
    let rounded = _mm512_mulhrs_epi16(logarithms, round);
    let is_seen = _mm512_cmpneq_epi16_mask(powers, nothing);
    let shares = _mm512_maskz_add_epi16(is_seen, rounded, bias);
    // SAFETY: there are 32; both are 512 bits.
    unsafe {
        _mm512_storeu_si512(to.as_mut_ptr().cast(), shares);
        let pairs = |numbers| std::mem::transmute::<__m512i, __m512bh>(numbers);
        _mm512_dpbf16_ps(totals, pairs(shares), pairs(ones))
    }
}
