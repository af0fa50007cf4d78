//! Whether there are AMX tiles: the processor must have them, and the kernel must let this process use them.

use crate::simd::Avx512Bf16;

/// A proof that there are AMX tiles of bf16, and AVX-512 with BF16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(Avx512Bf16);

impl Amx {
    /// Where the processor has it and the operating system grants it.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> Option<Self> {
        use std::sync::OnceLock;
        static GRANTED: OnceLock<bool> = OnceLock::new();
        let avx512_bf16 = Avx512Bf16::new()?;
        GRANTED.get_or_init(|| has_tiles() && permitted()).then_some(Self(avx512_bf16))
    }

    /// Other systems have other ways of asking for the tiles' state.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> Option<Self> {
        None
    }

    /// That there is AVX-512 with BF16.
    pub(crate) fn avx512_bf16(self) -> Avx512Bf16 {
        self.0
    }
}

/// Whether the processor has tiles, their products of bf16, and an operating system that saves them.
#[cfg(target_os = "linux")]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Bits of leaf 7's EDX.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    /// The tiles' configuration and data in the register of enabled states.
    const XTILE: u64 = 1 << 17 | 1 << 18;

    #[target_feature(enable = "xsave")]
    fn enabled_states() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }

    #[allow(unused_unsafe, reason = "they are safe since Rust 1.94")]
    // SAFETY: every x86-64 processor has the instruction.
    let features = unsafe { if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx } };
    // SAFETY: the caller found AVX-512, which implies XSAVE and that the system uses it.
    let states = unsafe { enabled_states() };
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && states & XTILE == XTILE
}

/// Asks the kernel to let this process's threads use tiles.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: this call changes nothing but what the process may do.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}
