//! Which instruction sets there are.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use crate::amx::Amx;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16, Avx512Vnni};

/// A set of instructions that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler makes of plain Rust for the target's baseline.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with VNNI. Products of [`Format::Bf16`](crate::Format::Bf16) weights may be of whole numbers of 16 bits that share
    /// a scale, which is more exact than rounding to bf16 is: see [`Cpu::exact`](crate::Cpu::exact).
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16. What is only multiplied may be rounded to bf16, as all operands of attention are.
    Avx512Bf16,
    /// AMX tiles of bf16 besides, which round as well.
    Amx,
}

impl Isa {
    /// Those that this processor and its operating system have, slowest first.
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let mut found = vec![Self::Portable];
            #[cfg(target_arch = "x86_64")]
            {
                found.extend(Avx2::new().map(|_| Self::Avx2));
                found.extend(Avx512::new().map(|_| Self::Avx512));
                let vnni = Avx512Vnni::new().map(|_| Self::Avx512Vnni);
                let bf16 = Avx512Bf16::new().map(|_| Self::Avx512Bf16);
                // Intel's processors multiply `bf16` a quarter as fast as whole numbers, but for AMX.
                let both = if is_intel() { [bf16, vnni] } else { [vnni, bf16] };
                found.extend(both.into_iter().flatten());
                found.extend(Amx::new().map(|_| Self::Amx));
            }
            found
        })
    }

    /// The fastest of them.
    #[must_use]
    pub fn best() -> Self {
        *Self::available().last().expect("portable code runs everywhere")
    }

    /// Whether products with weights of `bf16` have fewer bits than those of `f32`.
    #[must_use]
    pub fn approximates(self) -> bool {
        self >= Self::Avx512Vnni
    }

    /// Whether it may round operands to `bf16`.
    #[must_use]
    pub fn rounds(self) -> bool {
        self >= Self::Avx512Bf16
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512_vnni",
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    #[allow(unused_unsafe, reason = "it is safe since Rust 1.94")]
    // SAFETY: every x86-64 processor has the instruction.
    let leaf = unsafe { std::arch::x86_64::__cpuid(0) };
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}
