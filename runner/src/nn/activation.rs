//! The activation functions.

use candle_core::{D, Result, Tensor};
use livewebcam_kernels as kernels;

use super::data::cpu;
use super::profile::{Kind, layer};
use super::tokens::Tokens;

/// The factor in OpenAI's approximation of gelu.
const QUICK_GELU: f64 = 1.702;

/// An elementwise function between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `σ(x)`.
    Sigmoid,
    /// `x · σ(x)`, also called swish.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)`, with the normal distribution's exact Φ.
    Gelu,
    /// `x · σ(1.702 x)`, OpenAI's approximation in the first CLIP models.
    QuickGelu,
}

impl Activation {
    /// The activation that diffusers and transformers know by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "silu" | "swish" => Some(Self::Silu),
            "relu" => Some(Self::Relu),
            "gelu" => Some(Self::Gelu),
            "quick_gelu" => Some(Self::QuickGelu),
            _ => None,
        }
    }

    /// The function of every value.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn forward(self, x: &Tokens) -> Result<Tokens> {
        let _noted = layer(Kind::Activation, || 0);
        let host = |x: &[f32], y: &mut [f32]| {
            y.copy_from_slice(x);
            cpu().activate(self.kernel(), y);
        };
        Ok(Tokens::of(x.shape(), x.data().each(host, |x| self.by_candle(x))?))
    }

    fn by_candle(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
            // x · σ(a x) is silu(a x) / a.
            Self::QuickGelu => (x * QUICK_GELU)?.silu()? / QUICK_GELU,
        }
    }

    fn kernel(self) -> kernels::Activation {
        match self {
            Self::Sigmoid => kernels::Activation::Sigmoid,
            Self::Silu => kernels::Activation::Silu,
            Self::Relu => kernels::Activation::Relu,
            Self::Gelu => kernels::Activation::Gelu,
            Self::QuickGelu => kernels::Activation::QuickGelu,
        }
    }
}

/// The kernels' name for an activation, or for none.
pub(super) fn kernel(activation: Option<Activation>) -> kernels::Activation {
    activation.map_or(kernels::Activation::None, Activation::kernel)
}

/// The function of every value, if there is one.
pub(super) fn by_candle(activation: Option<Activation>, x: Tensor) -> Result<Tensor> {
    match activation {
        Some(activation) => activation.by_candle(&x),
        None => Ok(x),
    }
}

/// `value · gelu(gate)` of vectors of `2 · width` numbers, values before gates.
pub(super) fn geglu(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    x.narrow(D::Minus1, 0, width)? * x.narrow(D::Minus1, width, width)?.contiguous()?.gelu_erf()?
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, places, random};
    use super::super::tokens::Shape;
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let shape = Shape { batch: 1, rows: 3, width: 20 };
        let values: Vec<f32> = random(1, shape.values()).iter().map(|value| 5.0 * value).collect();
        let [kernels, candle] = places().map(|placement| {
            let x = Tokens::new(values.clone(), shape, &placement).expect("rows");
            let activations =
                [Activation::Sigmoid, Activation::Silu, Activation::Relu, Activation::Gelu, Activation::QuickGelu];
            let activated = activations.map(|activation| activation.forward(&x).and_then(|y| y.values()));
            activated.map(|values| values.expect("values"))
        });
        kernels.iter().zip(&candle).for_each(|(kernels, candle)| assert_close(kernels, candle));
    }
}
