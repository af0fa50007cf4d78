//! The activation functions.

use candle_core::{D, Result, Tensor};
use livewebcam_kernels as kernels;

use super::values::{Values, cpu, filled};

/// The factor in OpenAI's approximation of gelu.
const QUICK_GELU: f64 = 1.702;

/// An elementwise function between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
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

    /// The function of every element.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            let x = x.contiguous()?;
            let values = Values::of(&x)?;
            return filled(x.shape(), |y| {
                y.copy_from_slice(&values);
                cpu().activate(self.kernel(), y);
            });
        }
        self.by_candle(x)
    }

    fn by_candle(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
            // x · σ(a x) is silu(a x) / a.
            Self::QuickGelu => (x * QUICK_GELU)?.silu()? / QUICK_GELU,
        }
    }

    fn kernel(self) -> kernels::Activation {
        match self {
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

/// The function of every element, if there is one.
pub(super) fn by_candle(activation: Option<Activation>, x: Tensor) -> Result<Tensor> {
    activation.map_or(Ok(x.clone()), |activation| activation.by_candle(&x))
}

/// `value · gelu(gate)` of `[…, 2 · width]`, values before gates (Shazeer, "GLU variants improve transformer", 2020).
///
/// # Errors
/// A failure of the device.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { geglu_by_kernels(x) } else { geglu_by_candle(x) }
}

fn geglu_by_kernels(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let width = x.dim(D::Minus1)? / 2;
    let mut shape = x.dims().to_vec();
    *shape.last_mut().expect("a tensor with a last dimension") = width;
    let values = Values::of(&x)?;
    filled(shape, |y| cpu().geglu(&values, width, y))
}

fn geglu_by_candle(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    let gate = x.narrow(D::Minus1, width, width)?.contiguous()?.gelu_erf()?;
    x.narrow(D::Minus1, 0, width)? * gate
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, random};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let x = (random(1, &[3, 20]) * 5.0).expect("rows");
        for activation in [Activation::Silu, Activation::Relu, Activation::Gelu, Activation::QuickGelu] {
            assert_close(&activation.forward(&x).expect("rows"), &activation.by_candle(&x).expect("rows"));
        }
        assert_close(&geglu_by_kernels(&x).expect("rows"), &geglu_by_candle(&x).expect("rows"));
    }
}
