//! Functions of single values, without branches, so that loops over them become vectors.
//!
//! The polynomials are minimax in the result's relative error; `runner/kernels/minimax.py` finds them.

use std::f32::consts::LOG2_E;

use half::bf16;

use crate::gemm::PANEL;
use crate::simd::Simd;

/// Added to a small number and taken away again, it rounds to a whole one, which then stands in the sum's lowest bits, with
/// 127 added to it, as in an exponent.
const ROUND: f32 = 12_582_912.0 + 127.0;

/// The natural logarithm of 2, in a part of 9 bits, which whole numbers multiply exactly, and the rest.
const LN_2: (f32, f32) = (355.0 / 512.0, -2.121_944_4e-4);

/// `(exp(r) - 1 - r) ÷ r²` for `|r| ≤ ln 2 ÷ 2`; the error is 3e-9.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_71, 0.001_381_461_4];

/// `(2^r - 1) ÷ r` for `|r| ≤ ½`; the error is 3e-9.
pub(crate) const EXP2: [f32; 6] =
    [0.693_147_24, 0.240_226_52, 0.055_503_104, 0.009_617_693, 0.001_340_664_3, 0.000_155_946_76];

/// The same, with an error of 1e-4.
pub(crate) const EXP2_ROUGHLY: [f32; 3] = [0.693_282_9, 0.242_210_96, 0.055_008_93];

/// Where the normal distribution's tail ends: `Φ(-14.5)` is nothing in 32 bits.
const TAIL_END: f32 = 14.5;

/// `Φ(-a) · exp(a² ÷ 2) ÷ (1 - v)` for `0 ≤ a ≤ 14.5`, with `v = a ÷ (a + 3.5)`; the error is 8e-9.
const TAIL: [f32; 10] = [
    0.5,
    -0.896_298_65,
    0.769_924_3,
    -0.203_183_07,
    -0.136_136_3,
    0.050_026_894,
    0.051_283_747,
    0.004_193_309_7,
    -0.042_005_733,
    0.016_192_095,
];

/// `log2(Φ(x) ÷ Φ(-x)) ÷ x` in powers of `x²`; the error of `Φ(x)` is 3e-4 of it for `-4 ≤ x`.
const LOG_ODDS: [f32; 5] = [2.300_899_3, 0.106_691_46, -0.000_841_007_85, -3.248_31e-5, 1.176_503_8e-6];

/// The nearest `bf16`, of two the even one.
#[inline(always)]
pub(crate) fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    // What makes a number none must not be lost, nor carry into the sign.
    bf16::from_bits(if x.is_nan() { bits >> 16 | 0x40 } else { rounded } as u16)
}

/// `e^x`, where that is a normal number; beyond, 0 or infinite.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: f32) -> f32 {
    let x = in_range(x);
    let rounded = simd.mul_add(x, LOG2_E, ROUND);
    let n = rounded - ROUND;
    exp_of_parts(simd, rounded, simd.mul_add(n, -LN_2.1, simd.mul_add(n, -LN_2.0, x)))
}

/// `e^(x + rest)` for a small rest, without a rounding of the sum; otherwise as [`exp`].
#[inline(always)]
fn exp_of_sum<S: Simd>(simd: S, x: f32, rest: f32) -> f32 {
    let x = in_range(x);
    let rounded = simd.mul_add(x + rest, LOG2_E, ROUND);
    let n = rounded - ROUND;
    exp_of_parts(simd, rounded, simd.mul_add(n, -LN_2.1, simd.mul_add(n, -LN_2.0, x)) + rest)
}

/// Beyond these bounds, the power of two in the result is 0 or infinite.
#[inline(always)]
fn in_range(x: f32) -> f32 {
    at_most(at_least(x, -88.1), 89.0)
}

/// `2^n · e^r`, of `n` with [`ROUND`] added.
#[inline(always)]
fn exp_of_parts<S: Simd>(simd: S, rounded: f32, r: f32) -> f32 {
    let square = r * r;
    (simd.mul_add(polynomial(simd, &EXP, r), square, r) + 1.0) * power_of_two(rounded)
}

/// `2^x` for `x` that is not above 0, or not by much, with [`EXP2`] or [`EXP2_ROUGHLY`]; nothing below `2^-126.5`.
#[inline(always)]
pub(crate) fn exp2<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: f32) -> f32 {
    let x = at_least(x, -127.0);
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    simd.mul_add(polynomial(simd, coefficients, r), r, 1.0) * power_of_two(rounded)
}

/// `1 ÷ (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: f32) -> f32 {
    1.0 / (1.0 + exp(simd, -x))
}

/// `x · Φ(x)`, to some units in the last place even where it is next to nothing.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: f32) -> f32 {
    let a = at_most(x.abs(), TAIL_END);
    // The square's rounding error would be multiplied by it: only its upper half's square is exact.
    let upper = f32::from_bits(a.to_bits() & 0xffff_f000);
    let density = exp_of_sum(simd, -0.5 * upper * upper, -0.5 * (a - upper) * (a + upper));
    let inverse = 1.0 / (a + 3.5);
    let tail = density * (3.5 * inverse) * polynomial(simd, &TAIL, a * inverse);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// `x · Φ(x)`, which is only to be rounded to `bf16`: the error is 3e-4 of it, and from -4 on downwards 1e-5.
#[inline(always)]
pub(crate) fn gelu_roughly<S: Simd>(simd: S, x: f32) -> f32 {
    // From 8 on, one of the tails is nothing.
    let less = -x * polynomial(simd, &LOG_ODDS, at_most(x * x, 64.0));
    x / (1.0 + exp2(simd, &EXP2_ROUGHLY, at_most(less, 126.0)))
}

/// `x`, or `least` if that is more. What is not a number stays so.
#[inline(always)]
pub(crate) fn at_least(x: f32, least: f32) -> f32 {
    if least > x { least } else { x }
}

/// `x`, or `most` if that is less. What is not a number stays so.
#[inline(always)]
pub(crate) fn at_most(x: f32, most: f32) -> f32 {
    if most < x { most } else { x }
}

/// All of them in one, by halves.
#[inline(always)]
pub(crate) fn fold(mut values: [f32; PANEL], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = PANEL / 2;
    while half > 0 {
        for lane in 0..half {
            values[lane] = with(values[lane], values[lane + half]);
        }
        half /= 2;
    }
    values[0]
}

/// `2^n` for `-126 ≤ n ≤ 127`, of `n` with [`ROUND`] added; 0 for -127, infinite for 128.
#[inline(always)]
fn power_of_two(rounded: f32) -> f32 {
    f32::from_bits(rounded.to_bits() << 23)
}

/// The polynomial with these coefficients, the constant one first, by Estrin's scheme: what is computed next seldom waits
/// for what was computed last.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: f32) -> f32 {
    let (mut terms, mut count, mut power) = (*coefficients, N, x);
    while count > 1 {
        for index in 0..count / 2 {
            terms[index] = simd.mul_add(terms[2 * index + 1], power, terms[2 * index]);
        }
        if count % 2 == 1 {
            terms[count / 2] = terms[count - 1];
        }
        (count, power) = (count.div_ceil(2), power * power);
    }
    terms[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Task;
    use crate::{Cpu, Isa, pace};

    /// A function of [`super`], over many values.
    struct Over<'a>(Function, &'a mut [f32]);

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Exp2,
        Exp2Each,
        Exp2Roughly,
        Sigmoid,
        Gelu,
        GeluRoughly,
    }

    impl Task for Over<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            let Self(function, values) = self;
            for x in values {
                *x = match function {
                    Function::Exp => exp(simd, *x),
                    Function::Exp2 => exp2(simd, &EXP2, *x),
                    Function::Exp2Each => each(simd, &EXP2, *x),
                    Function::Exp2Roughly => each(simd, &EXP2_ROUGHLY, *x),
                    Function::Sigmoid => sigmoid(simd, *x),
                    Function::Gelu => gelu(simd, *x),
                    Function::GeluRoughly => gelu_roughly(simd, *x),
                };
            }
        }
    }

    /// One of sixteen numbers.
    #[inline(always)]
    fn each<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: f32) -> f32 {
        let mut lanes = [0.0; PANEL];
        simd.store(simd.exp2_each(simd.splat(x), coefficients), &mut lanes);
        lanes[0]
    }

    /// `erfc(z) ÷ 2` by the series, or for large arguments by the continued fraction.
    fn half_erfc(z: f64) -> f64 {
        if z < 0.0 {
            return 1.0 - half_erfc(-z);
        }
        let root = std::f64::consts::PI.sqrt();
        if z > 2.0 {
            let fraction = (1..200).rev().fold(0.0, |fraction, n| 0.5 * f64::from(n) / (z + fraction));
            return (-z * z).exp() / (2.0 * root * (z + fraction));
        }
        let (mut term, mut sum) = (z, z);
        for n in 1..80 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        0.5 - sum / root
    }

    /// What is smaller may be 0.
    const LEAST: f64 = 1.2e-38;

    /// What is larger may be infinite.
    const MOST: f64 = 2.4e38;

    /// Numbers of every size, and both signs.
    fn numbers() -> Vec<f32> {
        (0..=u32::MAX).step_by(pace::choose(10_007, 400_009)).map(f32::from_bits).filter(|x| !x.is_nan()).collect()
    }

    /// `count` numbers from `first` on.
    fn range(first: f64, step: f64, count: u32) -> Vec<f32> {
        let numbers = (0..count).step_by(pace::choose(1, 41));
        numbers.map(|n| (first + f64::from(n) * step) as f32).collect()
    }

    /// Holds a function to its definition for `x`: within so many units in the last place, or less than `least` away.
    fn check(function: Function, x: &[f32], definition: impl Fn(f64) -> f64, units: f64, least: f64) {
        for cpu in Isa::available().iter().filter_map(|isa| Cpu::with(*isa)) {
            let mut found = x.to_vec();
            cpu.run(Over(function, &mut found));
            for (x, found) in x.iter().zip(found) {
                let wanted = definition(f64::from(*x));
                if wanted as f32 == found || wanted > MOST && found == f32::INFINITY {
                    continue;
                }
                let unit = f64::from(f32::EPSILON) * wanted.abs().log2().floor().exp2();
                let error = (f64::from(found) - wanted).abs();
                assert!(error <= (units * unit).max(least), "{}: {x:e}: {found:e} for {wanted:e}", cpu.isa());
            }
        }
    }

    #[test]
    fn exp_is_right_to_the_last_place() {
        check(Function::Exp, &numbers(), f64::exp, 1.25, LEAST);
        check(Function::Exp, &range(-105.0, 5e-4, 400_000), f64::exp, 1.25, LEAST);
    }

    #[test]
    fn shares_are_right_to_the_last_places() {
        let special = [f32::NEG_INFINITY, -1e30, -127.0, -126.0, -0.0, 1e-6, 8.0];
        for (function, units) in [(Function::Exp2, 1.5), (Function::Exp2Each, 1.5), (Function::Exp2Roughly, 1750.0)] {
            check(function, &range(8.0, -4e-4, 400_000), f64::exp2, units, LEAST);
            check(function, &special, f64::exp2, units, LEAST);
        }
    }

    #[test]
    fn sigmoid_is_right_to_the_last_places() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(Function::Sigmoid, &numbers(), sigmoid, 2.5, LEAST);
        check(Function::Sigmoid, &range(-100.0, 5e-4, 400_000), sigmoid, 2.5, LEAST);
    }

    fn exact_gelu(x: f64) -> f64 {
        x * half_erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    #[test]
    fn gelu_that_is_rounded_is_as_right_as_that_needs() {
        let numbers: Vec<f32> = numbers().into_iter().filter(|x| *x > -1e30).collect();
        check(Function::GeluRoughly, &numbers, exact_gelu, 7000.0, 1e-5);
        check(Function::GeluRoughly, &range(-12.0, 5e-5, 400_000), exact_gelu, 7000.0, 1e-5);
        check(Function::GeluRoughly, &range(-4.0, 5e-5, 100_000), exact_gelu, 7000.0, LEAST);
    }

    #[test]
    fn gelu_is_right_in_its_tail_too() {
        let gelu = exact_gelu;
        let numbers: Vec<f32> = numbers().into_iter().filter(|x| *x != f32::NEG_INFINITY).collect();
        check(Function::Gelu, &numbers, gelu, 12.0, 1e-37);
        check(Function::Gelu, &range(-15.0, 5e-5, 300_000), gelu, 12.0, 1e-37);
        check(Function::Gelu, &range(-1.0, 4e-5, 300_000), gelu, 4.0, 1e-37);
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for function in [
            Function::Exp,
            Function::Exp2,
            Function::Exp2Each,
            Function::Sigmoid,
            Function::Gelu,
            Function::GeluRoughly,
        ] {
            for cpu in Isa::available().iter().filter_map(|isa| Cpu::with(*isa)) {
                let mut values = [f32::NAN; 19];
                cpu.run(Over(function, &mut values));
                assert!(values.iter().all(|value| value.is_nan()));
            }
        }
    }
}
