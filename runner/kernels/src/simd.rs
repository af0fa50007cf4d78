//! Plain code, compiled once for each instruction set.
//!
//! A [`Task`] is written with ordinary loops; [`Simd::run`] compiles it with the instructions that its token stands for,
//! so that the compiler vectorises it with them. A token exists only where the processor has the instructions.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256bh, __m256i, __m512, __m512bh, __m512i, _CMP_GT_OQ, _MM_FROUND_TO_NEAREST_INT, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_add_epi16, _mm512_castsi256_si512, _mm512_cmp_ps_mask,
    _mm512_cmpgt_epi16_mask, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_cvtps_epi32, _mm512_dpbf16_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_epi16, _mm512_maskz_add_epi16, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_mulhrs_epi16, _mm512_packs_epi32, _mm512_permutexvar_epi64, _mm512_reduce_ps,
    _mm512_scalef_ps, _mm512_set1_epi16, _mm512_set1_ps, _mm512_setr_epi64, _mm512_slli_epi16, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_stream_ps, _mm512_sub_epi16, _mm512_sub_ps, _mm512_xor_si512,
};

use half::bf16;

use crate::memory::stream;
use crate::{Cpu, Isa, math};

/// Why a token of a [`Cpu`]'s instruction set can be made.
#[cfg(target_arch = "x86_64")]
pub(crate) const PRESENT: &str = "Cpu holds an instruction set that the processor has";

impl Cpu {
    /// Computes `task` with this processor's instructions.
    pub(crate) fn run<T: Task>(self, task: T) -> T::Output {
        match self.isa() {
            Isa::Portable => Portable.run(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::new().expect(PRESENT).run(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::new().expect(PRESENT).run(task),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 | Isa::Amx => Avx512Bf16::new().expect(PRESENT).run(task),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("another architecture's instruction set"),
        }
    }
}

/// A computation that is compiled for each instruction set.
pub(crate) trait Task {
    /// What it returns.
    type Output;

    /// Computes it. It and all that it calls must be `#[inline(always)]` to be compiled with `simd`'s instructions.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The largest power of two that [`Simd::shares`] takes.
pub(crate) const MOST_POWER: f32 = 8.0;

/// A proof that the processor has an instruction set.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen numbers in registers.
    type Vector: Copy;

    /// How many of them may be sums, beside what these are made of.
    const SUMS: usize;

    /// The same number sixteen times.
    fn splat(self, value: f32) -> Self::Vector;

    /// From memory.
    fn load(self, values: &[f32; 16]) -> Self::Vector;

    /// To memory.
    fn store(self, vector: Self::Vector, to: &mut [f32; 16]);

    /// As [`stream`].
    #[inline(always)]
    fn stream(self, values: &[f32; 16], to: &mut [f32; 16]) {
        stream(values, to);
    }

    /// `a · b + c` of each, as [`Simd::mul_add`].
    fn mul_add_each(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// [`math::at_least`] of each.
    #[inline(always)]
    fn at_least_each(self, x: Self::Vector, least: Self::Vector) -> Self::Vector {
        let (mut lanes, mut bounds) = ([0.0; 16], [0.0; 16]);
        self.store(x, &mut lanes);
        self.store(least, &mut bounds);
        for (x, least) in lanes.iter_mut().zip(bounds) {
            *x = math::at_least(*x, least);
        }
        self.load(&lanes)
    }

    /// Whether one is more than `bound`.
    #[inline(always)]
    fn any_above(self, x: Self::Vector, bound: f32) -> bool {
        let mut lanes = [0.0; 16];
        self.store(x, &mut lanes);
        lanes.iter().fold(false, |any, x| any | (*x > bound))
    }

    /// [`math::exp2`] of each.
    #[inline(always)]
    fn exp2_each<const N: usize>(self, x: Self::Vector, coefficients: &[f32; N]) -> Self::Vector {
        let mut lanes = [0.0; 16];
        self.store(x, &mut lanes);
        for x in &mut lanes {
            *x = math::exp2(self, coefficients, *x);
        }
        self.load(&lanes)
    }

    /// What [`shares`](Simd::shares) takes of a power of two `x` is `(x + SHARES_OFFSET) · SHARES_UNIT`.
    const SHARES_OFFSET: f32 = 0.0;

    /// See [`Simd::SHARES_OFFSET`].
    const SHARES_UNIT: f32 = 1.0;

    /// Writes `2^x` of each, rounded, for `x` that are not above [`MOST_POWER`]; nothing below `2^-24` need be told from 0. Returns `totals`
    /// with what was written added to it.
    #[inline(always)]
    fn shares(self, powers: [Self::Vector; 2], totals: Self::Vector, to: &mut [bf16; 32]) -> Self::Vector {
        let [low, high] = powers;
        self.round_pair([self.exp2_each(low, &math::EXP2_ROUGHLY), self.exp2_each(high, &math::EXP2_ROUGHLY)], to);
        let widened = |half: usize| {
            let mut values = [0.0; 16];
            values.iter_mut().zip(&to[16 * half..]).for_each(|(value, share)| *value = share.to_f32());
            self.load(&values)
        };
        let one = self.splat(1.0);
        self.mul_add_each(widened(0), one, self.mul_add_each(widened(1), one, totals))
    }

    /// Rounds to nearest, ties to even. Both have the same length.
    #[inline(always)]
    fn round(self, from: &[f32], to: &mut [bf16]) {
        assert_eq!(from.len(), to.len());
        to.iter_mut().zip(from).for_each(|(to, from)| *to = math::round(*from));
    }

    /// The same of two registers.
    #[inline(always)]
    fn round_pair(self, vectors: [Self::Vector; 2], to: &mut [bf16; 32]) {
        let mut values = [[0.0; 16]; 2];
        for (vector, values) in vectors.into_iter().zip(&mut values) {
            self.store(vector, values);
        }
        self.round(values.as_flattened(), to);
    }

    /// Computes `task` with these instructions.
    fn run<T: Task>(self, task: T) -> T::Output;

    /// `a · b + c`, rounded once where there is an instruction for it.
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32;
}

/// The target's baseline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Simd for Portable {
    type Vector = [f32; 16];

    const SUMS: usize = 2;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> [f32; 16] {
        *values
    }

    #[inline(always)]
    fn store(self, vector: [f32; 16], to: &mut [f32; 16]) {
        *to = vector;
    }

    #[inline(always)]
    fn mul_add_each(self, a: [f32; 16], b: [f32; 16], mut c: [f32; 16]) -> [f32; 16] {
        for lane in 0..16 {
            c[lane] = self.mul_add(a[lane], b[lane], c[lane]);
        }
        c
    }

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        // Without the instruction, `f32::mul_add` is a slow call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
    }
}

/// AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Where the processor and the operating system have it.
    pub(crate) fn new() -> Option<Self> {
        let all =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type Vector = [__m256; 2];

    const SUMS: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> [__m256; 2] {
        // SAFETY: an `Avx2` is made only where the processor has these features; so below.
        [unsafe { _mm256_set1_ps(value) }; 2]
    }

    #[inline(always)]
    fn load(self, values: &[f32; 16]) -> [__m256; 2] {
        // SAFETY: there are sixteen.
        [0, 8].map(|at| unsafe { _mm256_loadu_ps(values.as_ptr().add(at)) })
    }

    #[inline(always)]
    fn store(self, vector: [__m256; 2], to: &mut [f32; 16]) {
        // SAFETY: there are sixteen.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), vector[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), vector[1]);
        }
    }

    #[inline(always)]
    fn mul_add_each(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: as above.
        [0, 1].map(|half| unsafe { _mm256_fmadd_ps(a[half], b[half], c[half]) })
    }

    #[inline(always)]
    fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<T: Task>(simd: Avx2, task: T) -> T::Output {
            task.run(simd)
        }
        // SAFETY: an `Avx2` is made only where the processor has these features.
        unsafe { compiled(self, task) }
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// What is the same on all processors with AVX-512: sixteen numbers are a register.
#[cfg(target_arch = "x86_64")]
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
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

#[cfg(target_arch = "x86_64")]
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

#[cfg(target_arch = "x86_64")]
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

/// AVX-512 with BF16 and VNNI: conversions to `bf16`, and products of pairs of `bf16` and of 16 bits.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(());

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    /// Where the processor and the operating system have it.
    pub(crate) fn new() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        Avx512::new()?;
        all.then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx512Bf16 {
    on_avx512!();

    const SHARES_OFFSET: f32 = 16.0 - MOST_POWER;
    const SHARES_UNIT: f32 = FRACTION;

    #[inline(always)]
    fn shares(self, powers: [__m512; 2], totals: __m512, to: &mut [bf16; 32]) -> __m512 {
        // SAFETY: an `Avx512Bf16` is made only where the processor has these features.
        unsafe { shares(powers, totals, to) }
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

/// The powers of [`shares`] are whole numbers of this part: sixteen bits of them reach from -16 to 16.
#[cfg(target_arch = "x86_64")]
const FRACTION: f32 = 2048.0;

/// `2^(x - 16 + MOST_POWER)` of 32 numbers, which are counted in parts of [`FRACTION`].
///
/// The bits of a `bf16` are those of its logarithm, but for a correction: between two powers of two `2^f` is
/// `1 + f - f · (1 - f) · c`, where `c` hardly changes. Whole numbers of 16 bits suffice for that: before it is rounded, the
/// error is at most 7e-4. What is too small for them becomes 0.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn shares([low, high]: [__m512; 2], totals: __m512, to: &mut [bf16; 32]) -> __m512 {
    // In parts of `FRACTION`, for `f` in parts of 65536: c is 0.307 + 0.076 · f.
    const LEAST: i16 = 628;
    const SLOPE: i16 = 156;
    // Two registers become one in pieces of four numbers, in turns.
    let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
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
    let product = upper(f, _mm512_xor_si512(f, _mm512_set1_epi16(-1)));
    let c = _mm512_add_epi16(upper(f, _mm512_set1_epi16(SLOPE)), _mm512_set1_epi16(LEAST));
    let logarithms = _mm512_sub_epi16(powers, upper(product, c));
    // Seven bits of the fraction remain.
    let rounded = _mm512_mulhrs_epi16(logarithms, _mm512_set1_epi16(1 << 11));
    let is_seen = _mm512_cmpgt_epi16_mask(powers, _mm512_set1_epi16(i16::MIN));
    let shares = _mm512_maskz_add_epi16(is_seen, rounded, _mm512_set1_epi16((127 - (16 - MOST_POWER as i16)) << 7));
    // SAFETY: there are 32; both are 512 bits.
    unsafe {
        _mm512_storeu_si512(to.as_mut_ptr().cast(), shares);
        let ones = _mm512_set1_epi16(bf16::ONE.to_bits() as i16);
        let pairs = |numbers| std::mem::transmute::<__m512i, __m512bh>(numbers);
        _mm512_dpbf16_ps(totals, pairs(shares), pairs(ones))
    }
}

#[cfg(target_arch = "x86_64")]
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

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bits(numbers: __m512bh) -> __m512i {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(numbers) }
}
