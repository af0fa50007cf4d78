//! The activation functions.

use rayon::prelude::*;

use crate::Cpu;

/// The factor in OpenAI's approximation of gelu.
const QUICK_GELU: f32 = 1.702;

/// A function of single values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`
    #[default]
    None,
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
        x.par_chunks_mut(1 << 14).for_each(|x| x.iter_mut().for_each(|x| *x = activation.of(*x)));
    }

    /// `value · gelu(gate)`: `x` is `[rows, 2 · width]`, values before gates; `y` is `[rows, width]`.
    pub fn geglu(self, x: &[f32], width: usize, y: &mut [f32]) {
        assert_eq!(x.len(), 2 * y.len());
        y.par_chunks_mut(width).zip(x.par_chunks(2 * width)).for_each(|(y, x)| {
            let (values, gates) = x.split_at(width);
            for ((y, value), gate) in y.iter_mut().zip(values).zip(gates) {
                *y = value * Activation::Gelu.of(*gate);
            }
        });
    }
}

impl Activation {
    /// Of one value.
    pub(crate) fn of(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::None => x,
            Self::Silu => x * sigmoid(x),
            Self::Relu => x.max(0.0),
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::QuickGelu => x * sigmoid(QUICK_GELU * x),
        }
    }
}

/// The error function by its series and continued fraction.
fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    if x.abs() > 3.0 {
        let mut fraction = 0.0;
        for n in (1..60).rev() {
            fraction = 0.5 * f64::from(n) / (x.abs() + fraction);
        }
        let tail = (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + fraction);
        return (x.signum() * (1.0 - tail)) as f32;
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    (sum * std::f64::consts::FRAC_2_SQRT_PI) as f32
}
