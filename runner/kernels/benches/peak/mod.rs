//! What a processor does at most: products of numbers that are in its registers already, or in its first cache.

use std::hint::black_box;

use livewebcam_kernels::{Format, Isa};

/// The operations that this thread's processor does in a second with the instructions that serve weights of `format`.
pub fn peak(isa: Isa, format: Format) -> f64 {
    match (isa, format) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Amx, Format::Bf16) => fastest(x86::TILES, || x86::tiles(x86::Operands::Registers)),
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Vnni | Isa::Avx512Bf16, Format::Bf16) => fastest(2.0 * x86::FUSED_512, x86::fused_whole),
        #[cfg(target_arch = "x86_64")]
        (Isa::Amx | Isa::Avx512Bf16 | Isa::Avx512Vnni, Format::F32) | (Isa::Avx512, _) => {
            fastest(x86::FUSED_512, x86::fused_512)
        }
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, _) => fastest(x86::FUSED_256, x86::fused_256),
        _ => fastest(FUSED, fused),
    }
}

/// That of AMX, where each product waits for one tile from the first cache, as it must in blocks of two by two. The second is with
/// `nop`s after each instruction, as the kernels have them, which help where another thread multiplies tiles on the same core.
/// As that comes and goes, both are measured in turns, and are the means of some.
pub fn peaks_from_cache(isa: Isa) -> Option<[f64; 2]> {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Amx {
        const TURNS: u32 = 20;
        let mut seconds = [0.0; 2];
        for _ in 0..TURNS {
            for (seconds, operands) in seconds.iter_mut().zip([x86::Operands::FirstCache, x86::Operands::Spaced]) {
                *seconds += seconds_of(|| x86::tiles(operands));
            }
        }
        return Some(seconds.map(|seconds| x86::TILES * f64::from(TURNS) / seconds));
    }
    let _ = isa;
    None
}

/// The speed of `work`, which does as many `operations`, in the best of some runs.
fn fastest(operations: f64, work: impl Fn()) -> f64 {
    operations / (0..5).map(|_| seconds_of(&work)).fold(f64::INFINITY, f64::min)
}

/// How long this thread is on a processor for it.
fn seconds_of(work: impl Fn()) -> f64 {
    let begin = time_of(libc::CLOCK_THREAD_CPUTIME_ID);
    work();
    time_of(libc::CLOCK_THREAD_CPUTIME_ID) - begin
}

/// What a clock of the system says, in seconds.
pub fn time_of(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes the time.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(status, 0, "the clock is there");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

const ROUNDS: u32 = 10_000_000;
const FUSED: f64 = ROUNDS as f64 * 12.0 * 8.0 * 2.0;

/// With whatever the compiler makes of it.
fn fused() {
    let mut sums = [[black_box(0.5f32); 8]; 12];
    let factor = black_box(0.5f32);
    for _ in 0..ROUNDS {
        for sum in sums.as_flattened_mut() {
            *sum = if cfg!(target_arch = "x86_64") { *sum * factor + factor } else { sum.mul_add(factor, factor) };
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_set1_ps, _mm512_dpwssd_epi32, _mm512_fmadd_ps, _mm512_set1_epi32, _mm512_set1_ps,
    };
    use std::hint::black_box;

    use livewebcam_kernels::Isa;

    use super::ROUNDS;

    pub(super) const FUSED_256: f64 = ROUNDS as f64 * 12.0 * 8.0 * 2.0;
    pub(super) const FUSED_512: f64 = ROUNDS as f64 * 12.0 * 16.0 * 2.0;

    pub(super) fn fused_256() {
        #[target_feature(enable = "avx2,fma")]
        fn multiply() {
            let factor = _mm256_set1_ps(black_box(0.5));
            let mut sums = [factor; 12];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(factor, *sum, factor);
                }
            }
            black_box(sums);
        }
        assert!(Isa::available().contains(&Isa::Avx2));
        // SAFETY: the processor has AVX2 and FMA.
        unsafe { multiply() }
    }

    pub(super) fn fused_512() {
        #[target_feature(enable = "avx512f")]
        fn multiply() {
            let factor = _mm512_set1_ps(black_box(0.5));
            let mut sums = [factor; 12];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(factor, *sum, factor);
                }
            }
            black_box(sums);
        }
        assert!(Isa::available().contains(&Isa::Avx512));
        // SAFETY: the processor has AVX-512 F.
        unsafe { multiply() }
    }

    pub(super) fn fused_whole() {
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn multiply() {
            let factor = _mm512_set1_epi32(black_box(5));
            let mut sums = [factor; 12];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = _mm512_dpwssd_epi32(*sum, factor, factor);
                }
            }
            black_box(sums);
        }
        assert!(Isa::available().contains(&Isa::Avx512Vnni));
        // SAFETY: the processor has AVX-512 with VNNI.
        unsafe { multiply() }
    }

    const STEPS: u32 = 1_000_000;
    /// Four products of 16 × 16 × 32 in a step.
    pub(super) const TILES: f64 = STEPS as f64 * 4.0 * 16.0 * 16.0 * 32.0 * 2.0;

    /// `ldtilecfg`'s operand: palette 1, eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Lines([u8; 64]);

    /// Where the operands of tiles are.
    #[derive(Clone, Copy)]
    pub(super) enum Operands {
        Registers = 0,
        FirstCache = 1,
        /// In the first cache, with twelve `nop`s after each instruction.
        Spaced = 2,
    }

    /// A loop of the steps that load their tiles, with something after each instruction.
    macro_rules! loading {
        ($label:literal, $after:literal) => {
            concat!(
                $label,
                ":\n",
                "tileloadd tmm4, [{at} + {row}*1]\n",
                $after,
                "tileloadd tmm6, [{at} + {row}*1 + 1024]\n",
                $after,
                "tdpbf16ps tmm0, tmm4, tmm6\n",
                $after,
                "tileloadd tmm7, [{at} + {row}*1 + 2048]\n",
                $after,
                "tdpbf16ps tmm1, tmm4, tmm7\n",
                $after,
                "tileloadd tmm5, [{at} + {row}*1 + 3072]\n",
                $after,
                "tdpbf16ps tmm2, tmm5, tmm6\n",
                $after,
                "tdpbf16ps tmm3, tmm5, tmm7\n",
                $after,
                "add {at}, 4096\n",
                "cmp {at}, {end}\n",
                "cmove {at}, {begin}\n",
                "dec {steps:e}\n",
                "jnz ",
                $label,
                "b",
            )
        };
    }

    pub(super) fn tiles(operands_in: Operands) {
        assert!(Isa::available().contains(&Isa::Amx));
        let mut configuration = Lines([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..8 {
            configuration.0[16 + 2 * tile] = 64;
            configuration.0[48 + tile] = 16;
        }
        // Eight steps' tiles of both operands: 32 KiB.
        let operands: Vec<Lines> = (0..512).map(|_| Lines([0; 64])).collect();
        // SAFETY: the processor has AMX, the kernel grants it, and all loads are from `operands`.
        unsafe {
            asm!(
                "ldtilecfg [{configuration}]",
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "cmp {operands_in:e}, 1",
                "je 3f",
                "ja 5f",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {steps:e}",
                "jnz 2b",
                "jmp 4f",
                loading!("3", ""),
                "jmp 4f",
                loading!("5", ".rept 12\nnop\n.endr\n"),
                "4:",
                "tilerelease",
                configuration = in(reg) &configuration,
                operands_in = in(reg) operands_in as u32,
                steps = inout(reg) STEPS => _,
                at = inout(reg) operands.as_ptr() => _,
                begin = in(reg) operands.as_ptr(),
                end = in(reg) operands.as_ptr_range().end,
                row = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
    }
}
