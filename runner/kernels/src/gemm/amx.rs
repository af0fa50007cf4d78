//! The inner loop with AMX: tiles of 32 rows and two panels, whose sums are in four of the eight tile registers.
//!
//! `tdpbf16ps` multiplies 16 rows with 32 inputs of a panel. Each step loads two tiles of rows and two of weights for four
//! products; the sums stay in their registers for all of a block's inputs, which is why blocks are long.

use std::arch::asm;

use half::bf16;

use super::{Block, Kernel, PANEL};
use crate::amx::Amx;
use crate::simd::Avx512Bf16;

/// The rows of a tile register.
pub(super) const TILE_ROWS: usize = 16;

/// The inputs of a tile register.
pub(super) const TILE_INPUTS: usize = 32;

impl Kernel for Amx {
    type Simd = Avx512Bf16;
    type Element = bf16;

    const ROWS: usize = 2 * TILE_ROWS;
    const WHOLE_ROWS: usize = TILE_ROWS;
    const WHOLE_INPUTS: usize = TILE_INPUTS;
    const PANELS: usize = 2;
    const INPUTS: usize = 1024;
    const MOST_ROWS: usize = 128;
    const MOST_PANELS: usize = 40;

    fn simd(self) -> Avx512Bf16 {
        self.avx512_bf16()
    }

    #[inline(always)]
    fn session<R>(self, work: impl FnOnce() -> R) -> R {
        /// Gives the tiles back, so that the kernel need not save them at every switch of threads.
        struct Release;
        impl Drop for Release {
            fn drop(&mut self) {
                // SAFETY: an `Amx`, which its maker had, is a proof of the instruction; nobody needs the tiles any more.
                unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
            }
        }
        // SAFETY: an `Amx` is made only where the processor has tiles and the kernel grants them; the configuration is
        // one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(readonly, nostack, preserves_flags)) };
        let _release = Release;
        work()
    }

    unsafe fn multiply(self, block: Block, a: *const bf16, b: *const bf16, c: *mut f32) {
        let steps = block.inputs / TILE_INPUTS;
        for row in (0..block.rows).step_by(2 * TILE_ROWS) {
            let first = a.wrapping_add(row * block.a_stride);
            let tiles = Tiles {
                a: [first, first.wrapping_add(TILE_ROWS * block.a_stride)],
                a_stride: block.a_stride,
                runs: &Runs { count: 1, steps, jump: 0 },
                b,
                b_stride: block.b_stride,
                c: c.wrapping_add(row * PANEL),
                c_stride: block.c_stride,
                add: block.add,
                past: false,
                ahead: [b; 2],
            };
            // SAFETY: `row` stays below the block's, and the caller's memory has all of those.
            unsafe { tiles.multiply(block.rows - row > TILE_ROWS, block.panels == 2) };
        }
    }
}

/// What `ldtilecfg` takes: all eight tiles with 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let mut all = Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut tile = 0;
    while tile < 8 {
        (all.row_bytes[tile], all.rows[tile]) = (64, TILE_ROWS as u8);
        tile += 1;
    }
    all
};

/// The inputs of tiles: as many runs of steps, each of which takes [`TILE_INPUTS`], one after the other in memory. A run
/// begins `jump` bytes after the end of the one before.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Runs {
    pub(super) count: usize,
    pub(super) steps: usize,
    pub(super) jump: usize,
}

/// Up to four tiles of sums: of two tiles of rows and two panels.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    /// The first inputs of both tiles of rows.
    pub(super) a: [*const bf16; 2],
    /// From one row to the next.
    pub(super) a_stride: usize,
    pub(super) runs: &'a Runs,
    /// `[inputs / 2][16][2]`, and the next panel `b_stride` after it.
    pub(super) b: *const bf16,
    pub(super) b_stride: usize,
    /// `[32][16]`, and the next panel `c_stride` after it.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Whether to add to what is in `c`.
    pub(super) add: bool,
    /// Whether weights are loaded past the first cache, because rows that are multiplied again are to stay there.
    pub(super) past: bool,
    /// What is fetched into the second cache meanwhile: for each step 128 bytes from either of these on. It may end anywhere,
    /// as a prefetch never faults.
    pub(super) ahead: [*const bf16; 2],
}

/// Defines a function that computes some tiles of sums. Registers: `rdi` and `rsi` are the two panels' sums; `r8` and `r9`
/// the two tiles of rows, `r10` bytes from row to row; `r11` and `rdx` the two panels of weights; `rax` the bytes of a row
/// of weights or sums; `r12` the runs, `r13` counts them; `r14` and `r15` what is fetched ahead; `rcx` says whether to add,
/// and then counts the steps.
macro_rules! tiles {
    ($name:ident, add: [$($add:literal)*], new: [$($new:literal)*], step: [$($step:expr,)*], end: [$($end:literal)*]) => {
        /// # Safety
        /// As many tiles of rows and panels are in memory, and the tiles are configured.
        unsafe fn $name(self) {
            let Self { a, a_stride, runs, b, b_stride, c, c_stride, add, ahead, .. } = self;
            // SAFETY: it reads and writes what the caller promises to be there.
            unsafe {
                asm!(
                    "test ecx, ecx",
                    "jz 2f",
                    $($add,)*
                    "jmp 3f",
                    "2:",
                    $($new,)*
                    "3:",
                    "mov r13, [r12]",
                    "4:",
                    "mov rcx, [r12 + 8]",
                    "5:",
                    // Where another thread shares the core, a few long instructions get less of it than many short ones:
                    // these cost nothing where the core is this thread's alone.
                    $($step, ".rept 12", "nop", ".endr",)*
                    "add r8, 64",
                    "add r9, 64",
                    "add r11, 1024",
                    "add rdx, 1024",
                    "prefetcht2 [r14]",
                    "prefetcht2 [r14 + 64]",
                    "prefetcht2 [r15]",
                    "prefetcht2 [r15 + 64]",
                    "add r14, 128",
                    "add r15, 128",
                    "dec rcx",
                    "jnz 5b",
                    "add r8, [r12 + 16]",
                    "add r9, [r12 + 16]",
                    "dec r13",
                    "jnz 4b",
                    $($end,)*
                    in("rdi") c,
                    in("rsi") c.wrapping_add(c_stride),
                    inout("r8") a[0] => _,
                    inout("r9") a[1] => _,
                    in("r10") 2 * a_stride,
                    inout("r11") b => _,
                    inout("rdx") b.wrapping_add(b_stride) => _,
                    in("rax") 64usize,
                    inout("rcx") usize::from(add) => _,
                    out("r13") _,
                    inout("r14") ahead[0] => _,
                    inout("r15") ahead[1] => _,
                    in("r12") std::ptr::from_ref(runs),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

/// [`tiles`] of two tiles of rows and two panels, whose weights are loaded by `$load`.
macro_rules! two_by_two {
    ($name:ident, $load:literal) => {
        tiles!($name,
            add: [
                "tileloadd tmm0, [rdi + rax*1]"
                "tileloadd tmm1, [rsi + rax*1]"
                "tileloadd tmm2, [rdi + rax*1 + 1024]"
                "tileloadd tmm3, [rsi + rax*1 + 1024]"
            ],
            new: ["tilezero tmm0" "tilezero tmm1" "tilezero tmm2" "tilezero tmm3"],
            step: [
                "tileloadd tmm4, [r8 + r10*1]",
                concat!($load, " tmm6, [r11 + rax*1]"),
                "tdpbf16ps tmm0, tmm4, tmm6",
                concat!($load, " tmm7, [rdx + rax*1]"),
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [r9 + r10*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
            ],
            end: [
                "tilestored [rdi + rax*1], tmm0"
                "tilestored [rsi + rax*1], tmm1"
                "tilestored [rdi + rax*1 + 1024], tmm2"
                "tilestored [rsi + rax*1 + 1024], tmm3"
            ]);
    };
}

impl Tiles<'_> {
    /// Computes the tiles of one or two tiles of rows and one or two panels.
    ///
    /// # Safety
    /// They are in memory, and the tiles are configured.
    #[inline(always)]
    pub(super) unsafe fn multiply(self, two_rows: bool, two_panels: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            match (two_rows, two_panels) {
                (true, true) if self.past => self.two_by_two_past(),
                (true, true) => self.two_by_two(),
                (true, false) => self.two_by_one(),
                (false, true) => self.one_by_two(),
                (false, false) => self.one_by_one(),
            }
        }
    }

    two_by_two!(two_by_two, "tileloadd");

    two_by_two!(two_by_two_past, "tileloaddt1");

    tiles!(two_by_one,
        add: ["tileloadd tmm0, [rdi + rax*1]" "tileloadd tmm2, [rdi + rax*1 + 1024]"],
        new: ["tilezero tmm0" "tilezero tmm2"],
        step: [
            "tileloadd tmm4, [r8 + r10*1]",
            "tileloadd tmm6, [r11 + rax*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [r9 + r10*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
        ],
        end: ["tilestored [rdi + rax*1], tmm0" "tilestored [rdi + rax*1 + 1024], tmm2"]);

    tiles!(one_by_two,
        add: ["tileloadd tmm0, [rdi + rax*1]" "tileloadd tmm1, [rsi + rax*1]"],
        new: ["tilezero tmm0" "tilezero tmm1"],
        step: [
            "tileloadd tmm4, [r8 + r10*1]",
            "tileloadd tmm6, [r11 + rax*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [rdx + rax*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
        ],
        end: ["tilestored [rdi + rax*1], tmm0" "tilestored [rsi + rax*1], tmm1"]);

    tiles!(one_by_one,
        add: ["tileloadd tmm0, [rdi + rax*1]"],
        new: ["tilezero tmm0"],
        step: [
            "tileloadd tmm4, [r8 + r10*1]",
            "tileloadd tmm6, [r11 + rax*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
        ],
        end: ["tilestored [rdi + rax*1], tmm0"]);
}
