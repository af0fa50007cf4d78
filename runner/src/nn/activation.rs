//! The activation functions.

use candle_core::{Result, Tensor};

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
        match self {
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
            // x · σ(a x) is silu(a x) / a.
            Self::QuickGelu => (x * QUICK_GELU)?.silu()? / QUICK_GELU,
        }
    }
}
