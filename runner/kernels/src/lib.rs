//! The layers of Stable Diffusion on CPUs.
//!
//! Everything between the layers is channels last: a feature map is `[batch, height, width, channels]`, tokens are
//! `[batch, tokens, channels]`, so that a 1×1 convolution and a linear layer are the same product, and nothing is ever
//! transposed. It is `f32`, but for what is only multiplied, which may be kept as [`Cpu::operand`] says. Weights are [`Packed`] once, in `f32` or `bf16`, in one order that all instruction sets read.
//!
//! Slices of the wrong length are a caller's mistake and panic; everything else is total.

mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod conv;
mod element;
mod epilogue;
mod gemm;
mod isa;
mod linear;
mod map;
mod math;
mod memory;
mod moments;
mod norm;
#[cfg(test)]
#[path = "../tests/common/pace.rs"]
mod pace;
mod packed;
mod simd;
mod winograd;

pub use activation::Activation;
pub use attention::{Heads, Mask};
pub use conv::{Edge, MapSize, Window};
pub use element::{Values, ValuesMut};
pub use epilogue::Epilogue;
pub use isa::Isa;
pub use memory::prefer_large_pages;
pub use norm::{GroupNorm, LayerNorm};
pub use packed::{ALIGNMENT, Bytes, Format, PACKING, PackError, Packed, WeightShape, pack_into};

/// This machine's processor, as the kernels use it. All work goes to the current rayon pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    isa: Isa,
}

impl Cpu {
    /// With the fastest instruction set that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self { isa: Isa::best() }
    }

    /// With this instruction set, if the processor has it.
    #[must_use]
    pub fn with(isa: Isa) -> Option<Self> {
        Isa::available().contains(&isa).then_some(Self { isa })
    }

    /// The same, without instructions that round operands to `bf16`: for models that are to be computed in `f32`.
    #[must_use]
    pub fn exact(self) -> Self {
        Self { isa: self.isa.min(Isa::Avx512) }
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.isa
    }
}
