//! Sixteen numbers in a register, and conversions to `bf16`.

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _CMP_GT_OQ, _MM_FROUND_TO_NEAREST_INT, _mm512_castsi256_si512,
    _mm512_cmp_ps_mask, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_storeu_epi16, _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_reduce_ps, _mm512_scalef_ps, _mm512_set1_ps,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_stream_ps, _mm512_sub_ps,
};

use half::bf16;

use super::avx2::Avx2;
use super::shares;
use super::{Simd, Task};

/// What is the same on all processors with AVX-512: sixteen numbers are a register.
macro_rules! on_avx512 {
    () => {
        type Vector = __m512;

        const SUMS: usize = 24;

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            // SAFETY: it is made only where the processor has these features; so below.
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn load(self, values: &[f32; 16]) -> __m512 {
            // SAFETY: there are sixteen.
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        fn store(self, vector: __m512, to: &mut [f32; 16]) {
            // SAFETY: there are sixteen.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) };
        }

        #[inline(always)]
        fn stream(self, values: &[f32; 16], to: &mut [f32; 16]) {
            if to.as_ptr().addr().is_multiple_of(64) {
                // SAFETY: there are sixteen, and they begin with a line.
                unsafe { _mm512_stream_ps(to.as_mut_ptr(), _mm512_loadu_ps(values.as_ptr())) };
            } else {
                *to = *values;
            }
        }

        #[inline(always)]
        fn mul_add_each(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn at_least_each(self, x: __m512, least: __m512) -> __m512 {
            // SAFETY: as above. Of two operands of which one is not a number, the second is taken.
            unsafe { _mm512_max_ps(least, x) }
        }

        #[inline(always)]
        fn any_above(self, x: __m512, bound: f32) -> bool {
            // SAFETY: as above.
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_set1_ps(bound)) != 0 }
        }

        #[inline(always)]
        fn exp2_each<const N: usize>(self, x: __m512, coefficients: &[f32; N]) -> __m512 {
            // Subnormal results would take a hundred times as long.
            let x = self.at_least_each(x, self.splat(-126.0));
            // SAFETY: as above.
            unsafe {
                let rest = _mm512_reduce_ps::<_MM_FROUND_TO_NEAREST_INT>(x);
                let terms = coefficients.iter().rev().map(|term| _mm512_set1_ps(*term));
                let sum = terms.reduce(|sum, term| _mm512_fmadd_ps(sum, rest, term)).expect("a term");
                _mm512_scalef_ps(_mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0)), _mm512_sub_ps(x, rest))
            }
        }
    };
}

/// AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// Where the processor and the operating system have it.
    pub(crate) fn new() -> Option<Self> {
        Avx2::new()?;
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        all.then_some(Self(()))
    }
}

impl Simd for Avx512 {
    on_avx512!();

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn compiled<T: Task>(simd: Avx512, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: an `Avx512` is made only where the processor has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// AVX-512 with VNNI: products of pairs of 16 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    /// Where the processor and the operating system have it.
    pub(crate) fn new() -> Option<Self> {
        let avx512 = Avx512::new()?;
        is_x86_feature_detected!("avx512vnni").then_some(Self(avx512))
    }

    /// That there is AVX-512.
    pub(crate) fn avx512(self) -> Avx512 {
        self.0
    }
}

/// AVX-512 with VNNI and BF16: conversions to `bf16`, and products of pairs of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(());

impl Avx512Bf16 {
    /// Where the processor and the operating system have it.
    pub(crate) fn new() -> Option<Self> {
        Avx512Vnni::new()?;
        is_x86_feature_detected!("avx512bf16").then_some(Self(()))
    }
}

impl Simd for Avx512Bf16 {
    on_avx512!();

    const SHARES_OFFSET: f32 = shares::OFFSET;
    const SHARES_UNIT: f32 = shares::FRACTION;

    #[inline(always)]
    fn shares(self, powers: [__m512; 2], totals: __m512, to: &mut [bf16; 32]) -> __m512 {
        // SAFETY: an `Avx512Bf16` is made only where the processor has these features.
        unsafe { shares::shares(powers, totals, to) }
    }

    #[inline(always)]
    fn round(self, from: &[f32], to: &mut [bf16]) {
        // SAFETY: as above.
        unsafe { round(from, to) }
    }

    #[inline(always)]
    fn round_pair(self, [low, high]: [__m512; 2], to: &mut [bf16; 32]) {
        // SAFETY: as above, and there are 32.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bits(_mm512_cvtne2ps_pbh(high, low))) };
    }

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx512bf16,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn compiled<T: Task>(simd: Avx512Bf16, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: an `Avx512Bf16` is made only where the processor has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// Rounds to nearest, ties to even.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn round(from: &[f32], to: &mut [bf16]) {
    assert_eq!(from.len(), to.len());
    let (from, from_rest) = from.as_chunks::<32>();
    let (to, to_rest) = to.as_chunks_mut::<32>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both are 32 numbers.
        unsafe {
            let [low, high] = [_mm512_loadu_ps(from.as_ptr()), _mm512_loadu_ps(from.as_ptr().add(16))];
            _mm512_storeu_si512(to.as_mut_ptr().cast(), bits(_mm512_cvtne2ps_pbh(high, low)));
        }
    }
    let (from, from_rest) = from_rest.as_chunks::<16>();
    let (to, to_rest) = to_rest.as_chunks_mut::<16>();
    for (from, to) in from.iter().zip(to) {
        // SAFETY: both are 16 numbers.
        unsafe {
            *to = std::mem::transmute::<__m256bh, [bf16; 16]>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from.as_ptr())))
        };
    }
    if !from_rest.is_empty() {
        let mask = (1u16 << from_rest.len()) - 1;
        // SAFETY: the masks are of the fewer than 16 numbers that there are.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from_rest.as_ptr()));
            let rounded = std::mem::transmute::<__m256bh, __m256i>(rounded);
            _mm512_mask_storeu_epi16(to_rest.as_mut_ptr().cast(), mask.into(), _mm512_castsi256_si512(rounded));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bits(numbers: __m512bh) -> __m512i {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(numbers) }
}
