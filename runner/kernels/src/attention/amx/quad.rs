//! Shares of rows of scores, made while tiles are multiplied.
//!
//! A product of tiles keeps its unit busy for 16 cycles, in which the registers' units can make shares of scores, if the
//! processor sees both at once. It looks a few hundred instructions ahead, and half as far where another thread shares the
//! core. So an instruction for tiles is followed by two dozen for registers, and four rows go hand in hand, whose
//! instructions do not wait for each other.

use std::arch::asm;
use std::arch::x86_64::{__m512, _mm512_set1_ps};

use half::bf16;

use crate::simd::MOST_POWER;
use crate::simd::shares::{Constants, FRACTION, OFFSET};

/// The rows that go hand in hand.
pub(super) const QUAD: usize = 4;

/// What is multiplied: the sums are tiles 0 to 3, of two tiles of rows by two panels.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// `[32][32]`
    pub(super) rows: *const bf16,
    /// Of each of two panels 32 inputs, `[16][16][2]`. They are loaded past the first cache: they are many, and would drive
    /// the rest of the work out of it.
    pub(super) panels: [*const bf16; 2],
}

/// Rows of scores, and what becomes of them.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Of two panels, `[32][16]` each, from the first of these rows on.
    pub(super) scores: *const f32,
    /// `[_][32]`, of the scores' two panels one after the other.
    pub(super) shares: *mut bf16,
    /// [`Scale::less`] of each row.
    pub(super) less: *const f32,
    /// `[_][16]`, to which the shares are added.
    pub(super) totals: *mut f32,
}

/// How scores are counted.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    scale: __m512,
    most: __m512,
    constants: Constants,
}

impl Scale {
    /// Scores are multiplied by `scale` to be powers of two.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn new(scale: f32) -> Self {
        Self {
            scale: _mm512_set1_ps(scale * FRACTION),
            most: _mm512_set1_ps((MOST_POWER + OFFSET) * FRACTION),
            constants: Constants::new(),
        }
    }

    /// What makes powers relative to `reference`, which they may exceed by [`MOST_POWER`].
    pub(super) fn less(reference: f32) -> f32 {
        (OFFSET - reference) * FRACTION
    }
}

/// An instruction for each of four rows, `\r`.
macro_rules! four {
    ($instruction:expr) => {
        concat!(".irp r,1,2,3,4\n", $instruction, "\n.endr\n")
    };
}

/// Makes shares of four rows, from the `$from`th on, with instructions for tiles in four places. Where a score is too large,
/// it writes nothing and sets `$bit` of `r11`.
///
/// Registers: `zmm1` to `zmm4` are four rows of the first panel's scores, then their powers, then their shares; `zmm11` to
/// `zmm14` those of the second panel's, then the fractions, then the totals; `zmm21` to `zmm24` corrections; `zmm0` the largest
/// powers. `rsi`, `rdi`, `rdx` and `rcx` are [`Rows`], and `zmm5` on [`Scale`].
macro_rules! quad {
    ($from:literal, $bit:literal, $first:expr, $second:expr, $third:expr, $fourth:expr) => {
        concat!(
            $first,
            "\n",
            four!(concat!("vmovups zmm\\r, [rsi + 64*(\\r - 1 + ", $from, ")]")),
            four!(concat!("vmovups zmm1\\r, [rsi + 64*(\\r - 1 + ", $from, ") + 2048]")),
            four!(concat!("vfmadd213ps zmm\\r, zmm5, dword ptr [rdx + 4*(\\r - 1 + ", $from, ")]{{1to16}}")),
            four!(concat!("vfmadd213ps zmm1\\r, zmm5, dword ptr [rdx + 4*(\\r - 1 + ", $from, ")]{{1to16}}")),
            // Of two operands of which one is not a number, the second is taken.
            "vmaxps zmm0, zmm1, zmm6\n",
            ".irp r,2,3,4,11,12,13,14\nvmaxps zmm0, zmm\\r, zmm0\n.endr\n",
            $second,
            "\n",
            four!("vcvtps2dq zmm\\r, zmm\\r"),
            four!("vcvtps2dq zmm1\\r, zmm1\\r"),
            four!("vpackssdw zmm\\r, zmm\\r, zmm1\\r"),
            four!("vpermq zmm\\r, zmm7, zmm\\r"),
            "vcmpneqps k5, zmm0, zmm6\n",
            "kortestw k5, k5\n",
            $third,
            "\n",
            four!("vpsllw zmm1\\r, zmm\\r, 5"),
            four!("vpxorq zmm2\\r, zmm1\\r, zmm18"),
            four!("vpmulhuw zmm2\\r, zmm1\\r, zmm2\\r"),
            four!("vpmulhuw zmm1\\r, zmm1\\r, zmm8"),
            four!("vpaddw zmm1\\r, zmm1\\r, zmm9"),
            four!("vpmulhuw zmm2\\r, zmm1\\r, zmm2\\r"),
            $fourth,
            "\n",
            four!(concat!("vmovups zmm1\\r, [rcx + 64*(\\r - 1 + ", $from, ")]")),
            four!("vpsubw zmm2\\r, zmm\\r, zmm2\\r"),
            four!("vpmulhrsw zmm2\\r, zmm2\\r, zmm10"),
            four!("vpcmpneqw k\\r, zmm\\r, zmm16"),
            four!("vpaddw zmm\\r {{k\\r}} {{z}}, zmm2\\r, zmm15"),
            four!("vdpbf16ps zmm1\\r, zmm\\r, zmm17"),
            "jz 2f\n",
            "or r11d, ",
            $bit,
            "\n",
            "jmp 3f\n",
            "2:\n",
            four!(concat!("vmovdqu64 [rdi + 64*(\\r - 1 + ", $from, ")], zmm\\r")),
            four!(concat!("vmovups [rcx + 64*(\\r - 1 + ", $from, ")], zmm1\\r")),
            "3:\n",
        )
    };
}

/// The instructions for tiles of a [`Step`], in eight parts.
macro_rules! tile {
    (0) => {
        "tileloadd tmm4, [r8 + rax*1]"
    };
    (1) => {
        "tileloaddt1 tmm6, [r9 + rax*1]"
    };
    (2) => {
        "tdpbf16ps tmm0, tmm4, tmm6"
    };
    (3) => {
        "tileloaddt1 tmm7, [r10 + rax*1]"
    };
    (4) => {
        "tdpbf16ps tmm1, tmm4, tmm7"
    };
    (5) => {
        "tileloadd tmm5, [r8 + rax*1 + 1024]"
    };
    (6) => {
        "tdpbf16ps tmm2, tmm5, tmm6"
    };
    (7) => {
        "tdpbf16ps tmm3, tmm5, tmm7"
    };
    ($part:tt, $next:tt) => {
        concat!(tile!($part), "\n", tile!($next))
    };
}

/// Defines a function that multiplies tiles, makes shares of rows, or does both. It returns bits of the fours of rows that
/// have too large a score. Registers: `r8`, `r9` and `r10` are a [`Step`], `rax` the bytes of a tile's row; for the others see
/// [`quad`].
macro_rules! work {
    ($(#[$about:meta])* $name:ident($($step:ident: Step)?; $($rows:ident: Rows, $scale:ident: Scale)?), $($template:expr),*) => {
        $(#[$about])*
        ///
        /// # Safety
        /// All that the arguments describe is in memory, and tiles are configured. The compiler knows no tiles, so that these stay
        /// as they are from one call to the next.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        pub(super) unsafe fn $name($($step: Step,)? $($rows: Rows, $scale: Scale)?) -> u32 {
            let large: u32;
            // SAFETY: it reads and writes what the caller promises to be there.
            unsafe {
                asm!(
                    $($template,)*
                    inout("r11d") 0u32 => large,
                    in("rax") 64usize,
                    $(
                        in("r8") $step.rows,
                        in("r9") $step.panels[0],
                        in("r10") $step.panels[1],
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    )?
                    $(
                        in("rsi") $rows.scores,
                        in("rdi") $rows.shares,
                        in("rdx") $rows.less,
                        in("rcx") $rows.totals,
                        in("zmm5") $scale.scale,
                        in("zmm6") $scale.most,
                        in("zmm7") $scale.constants.order,
                        in("zmm8") $scale.constants.slope,
                        in("zmm9") $scale.constants.least,
                        in("zmm10") $scale.constants.round,
                        in("zmm15") $scale.constants.bias,
                        in("zmm16") $scale.constants.nothing,
                        in("zmm17") $scale.constants.ones,
                        in("zmm18") $scale.constants.all_bits,
                        out("zmm0") _,
                        out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _,
                        out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _,
                        out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
                        out("k1") _, out("k2") _, out("k3") _, out("k4") _, out("k5") _,
                    )?
                    options(nostack),
                );
            }
            large
        }
    };
}

work! {
    /// Makes shares of four rows.
    make(; rows: Rows, scale: Scale),
    quad!(0, 1, "", "", "", "")
}

work! {
    /// Multiplies tiles.
    multiply(step: Step;),
    tile!(0, 1), tile!(2, 3), tile!(4, 5), tile!(6, 7)
}

work! {
    /// Multiplies tiles and makes shares of four rows.
    multiply_and_make(step: Step; rows: Rows, scale: Scale),
    quad!(0, 1, tile!(0, 1), tile!(2, 3), tile!(4, 5), tile!(6, 7))
}

work! {
    /// Multiplies tiles and makes shares of twice four rows.
    multiply_and_make_twice(step: Step; rows: Rows, scale: Scale),
    quad!(0, 1, tile!(0), tile!(1), tile!(2), tile!(3)),
    quad!(4, 2, tile!(4), tile!(5), tile!(6), tile!(7))
}

/// Two panels of sums, of two tiles each: `[2][32][16]`.
#[derive(Clone, Copy)]
pub(super) struct Sums(pub(super) [*mut f32; 2]);

impl Sums {
    /// Sets tiles 0 to 3 to nothing.
    ///
    /// # Safety
    /// Tiles are configured.
    #[inline]
    pub(super) unsafe fn clear() {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem, preserves_flags)
            );
        }
    }

    /// Loads tiles 0 to 3.
    ///
    /// # Safety
    /// They are in memory, and tiles are configured.
    #[inline]
    pub(super) unsafe fn load(self) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tileloadd tmm0, [{first} + {row}*1]",
                "tileloadd tmm1, [{second} + {row}*1]",
                "tileloadd tmm2, [{first} + {row}*1 + 1024]",
                "tileloadd tmm3, [{second} + {row}*1 + 1024]",
                first = in(reg) self.0[0], second = in(reg) self.0[1], row = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, readonly, preserves_flags)
            );
        }
    }

    /// Stores tiles 0 to 3.
    ///
    /// # Safety
    /// There is memory for them, and tiles are configured.
    #[inline]
    pub(super) unsafe fn store(self) {
        // SAFETY: the caller's promise.
        unsafe {
            asm!(
                "tilestored [{first} + {row}*1], tmm0",
                "tilestored [{second} + {row}*1], tmm1",
                "tilestored [{first} + {row}*1 + 1024], tmm2",
                "tilestored [{second} + {row}*1 + 1024], tmm3",
                first = in(reg) self.0[0], second = in(reg) self.0[1], row = in(reg) 64usize,
                options(nostack, preserves_flags)
            );
        }
    }
}
