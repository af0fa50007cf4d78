//! The activation functions.

use rayon::prelude::*;

use crate::simd::{Simd, Task};
use crate::{Cpu, math};

/// The factor in OpenAI's approximation of gelu.
const QUICK_GELU: f32 = 1.702;

/// How many values one task takes: 64 KiB of them.
const TASK: usize = 1 << 14;

/// A function of single values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `σ(x)`
    Sigmoid,
    /// `x · σ(x)`, also called swish.
    Silu,
    /// `max(x, 0)`
    Relu,
    /// `x · Φ(x)`, with the normal distribution's exact Φ.
    Gelu,
    /// `x · σ(1.702 x)`, OpenAI's approximation in the first CLIP models.
    QuickGelu,
}

impl Cpu {
    /// Applies `activation` to every value.
    pub fn activate(self, activation: Activation, x: &mut [f32]) {
        if activation != Activation::None {
            x.par_chunks_mut(TASK).for_each(|values| self.run(Apply { activation, values }));
        }
    }

    /// `value · gelu(gate)`: `x` is `[rows, 2 · width]`, values before gates; `y` is `[rows, width]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub(crate) fn geglu(self, x: &[f32], width: usize, y: &mut [f32]) {
        assert_eq!((x.len(), y.len() % width), (2 * y.len(), 0));
        let rows = (TASK / width).max(1);
        let tasks = y.par_chunks_mut(rows * width).zip(x.par_chunks(2 * rows * width));
        tasks.for_each(|(y, x)| self.run(Geglu { x, width, y }));
    }
}

impl Activation {
    /// Replaces values by those of the function.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, values: &mut [f32]) {
        // A loop for each, because a choice within a loop is made for every value.
        match self {
            Self::None => {}
            Self::Sigmoid => {
                for x in values {
                    *x = math::sigmoid(simd, *x);
                }
            }
            Self::Silu => {
                for x in values {
                    *x *= math::sigmoid(simd, *x);
                }
            }
            Self::Relu => {
                for x in values {
                    // Without the addition, the compiler stores only what changes, one value at a time on some processors.
                    *x = math::at_least(*x, 0.0) + 0.0;
                }
            }
            Self::Gelu => {
                for x in values {
                    *x = math::gelu(simd, *x);
                }
            }
            Self::QuickGelu => {
                for x in values {
                    *x *= math::sigmoid(simd, QUICK_GELU * *x);
                }
            }
        }
    }
}

/// Replaces values by those of a function.
pub(crate) struct Apply<'a> {
    pub(crate) activation: Activation,
    pub(crate) values: &'a mut [f32],
}

impl Task for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.activation.apply(simd, self.values);
    }
}

struct Geglu<'a> {
    x: &'a [f32],
    width: usize,
    y: &'a mut [f32],
}

impl Task for Geglu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (y, x) in self.y.chunks_exact_mut(self.width).zip(self.x.chunks_exact(2 * self.width)) {
            let (values, gates) = x.split_at(self.width);
            for ((y, value), gate) in y.iter_mut().zip(values).zip(gates) {
                *y = value * math::gelu(simd, *gate);
            }
        }
    }
}
