//! Plain code, compiled once for each instruction set.
//!
//! A [`Task`] is written with ordinary loops; [`Simd::run`] compiles it with the instructions that its token stands for,
//! so that the compiler vectorises it with them. A token exists only where the processor has the instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod shares;

use half::bf16;

use crate::memory::stream;
use crate::{Cpu, Isa, math};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, Avx512Bf16, Avx512Vnni};

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
            Isa::Avx512 | Isa::Avx512Vnni => Avx512::new().expect(PRESENT).run(task),
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

    /// Writes `2^x` of each, rounded, for `x` that are not above [`MOST_POWER`]; nothing below `2^-24` need be told from 0.
    /// Returns `totals` with what was written added to it.
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
