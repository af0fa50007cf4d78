//! Matrix products, which convolutions and linear layers are made of.
//!
//! The rows of the left operand are pixels or tokens, its columns the inputs of a weight, and the right operand is
//! [`Packed`] weights. [`driver`] cuts a product into tasks and blocks that fit the caches; a [`Kernel`] multiplies one
//! block. Kernels for further instruction sets implement that trait and are chosen in [`run`].

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod driver;
mod few;
mod finish;
#[cfg(target_arch = "x86_64")]
pub(crate) mod fixed;
mod lines;
#[cfg(target_arch = "x86_64")]
mod maps;
mod patches;
mod portable;
mod scratch;
mod widen;

pub(crate) use driver::{Product, even, split};
pub(crate) use finish::{Finish, Output};
pub(crate) use patches::Patches;
pub(crate) use scratch::{Number, Scratch, bytes_of};
pub(crate) use widen::{pairs, widened};

#[cfg(target_arch = "x86_64")]
use crate::Format;
#[cfg(target_arch = "x86_64")]
use crate::amx::Amx;
#[cfg(target_arch = "x86_64")]
use crate::norm::Normal;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Vnni, PRESENT};
use crate::simd::{Portable, Simd};
use crate::{Cpu, GroupNorm, Isa, winograd};

/// For fewer tiles, transforming a weight costs more than products of sixteen bits do.
#[cfg(target_arch = "x86_64")]
const LEAST_TILES: usize = 16;

pub(crate) use crate::element::Element;
/// How many outputs lie side by side in a panel.
pub(crate) use crate::packed::PANEL;

/// The inner loop of a product, in one instruction set.
pub(crate) trait Kernel: Copy + Send + Sync {
    /// The instruction set that everything around the inner loop is compiled for.
    type Simd: Simd;

    /// What both operands are made of; kernels for `bf16` are only given `bf16` weights. Where it is `f32`, the driver widens `bf16` weights to it before it calls
    /// [`multiply`](Kernel::multiply).
    type Element: Element;

    /// The rows of the largest tile. The driver prefers blocks of multiples of it.
    const ROWS: usize;

    /// [`Block::rows`] is a multiple of this; the driver makes it one with rows of zeros. 1 for kernels that can multiply
    /// any number of rows: they are given rows in place, without a copy.
    const WHOLE_ROWS: usize = 1;

    /// [`Block::inputs`] is a multiple of this; the driver makes it one with zeros in the rows. At most 32.
    const WHOLE_INPUTS: usize = 1;

    /// How many panels one call takes at most.
    const PANELS: usize = 1;

    /// The most inputs of a block: by default 20 KiB of an `f32` panel, most of the first cache.
    const INPUTS: usize = 320;

    /// The most rows of a task.
    const MOST_ROWS: usize = 192;

    /// The most panels of a task, for which its rows are gathered once.
    const MOST_PANELS: usize = 20;

    /// The token of the instruction set.
    fn simd(self) -> Self::Simd;

    /// Does `work`, which calls [`multiply`](Kernel::multiply) many times, on this thread: a place to set up and give
    /// back what the thread needs for that.
    #[inline(always)]
    fn session<R>(self, work: impl FnOnce() -> R) -> R {
        work()
    }

    /// `c[panel][row][output] = Σ a[row][input] · b[panel][input][output]`, or added to it with [`Block::add`].
    ///
    /// - Row `r` of `a` begins `r · a_stride` elements after its beginning.
    /// - Panel `p` of `b` begins `p · b_stride` elements after its beginning, in the order of [`Packed`](crate::Packed):
    ///   in `f32` `[inputs][16]`, in `bf16` `[inputs / 2][16][2]`. It begins at a multiple of 64 bytes.
    /// - Panel `p` of `c` begins `p · c_stride` values after its beginning, and is `[rows][16]`. It begins at a multiple
    ///   of 64 bytes.
    ///
    /// # Safety
    /// All that is described above is readable, `c` is writable and overlaps nothing, and the block keeps to this
    /// kernel's constants.
    unsafe fn multiply(self, block: Block, a: *const Self::Element, b: *const Self::Element, c: *mut f32);

    /// As [`multiply`](Kernel::multiply), of rows that are in pieces of [`Block::inputs`] each. In `b` they follow one another.
    ///
    /// # Safety
    /// As there, of all pieces.
    #[inline(always)]
    unsafe fn multiply_pieces(
        self,
        block: Block,
        pieces: Pieces,
        a: *const Self::Element,
        b: *const Self::Element,
        c: *mut f32,
    ) {
        for piece in 0..pieces.count {
            let block = Block { add: block.add || piece > 0, ..block };
            // SAFETY: the caller's promise.
            unsafe { self.multiply(block, a.add(piece * pieces.stride), b.add(piece * block.inputs * PANEL), c) };
        }
    }
}

/// The pieces of the rows of an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    /// How many there are.
    pub(crate) count: usize,
    /// From one to the next.
    pub(crate) stride: usize,
}

/// The size of what a [`Kernel`] multiplies, and the distances in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Rows of `a` and `c`.
    pub(crate) rows: usize,
    /// Panels of `b` and `c`, from 1 to [`Kernel::PANELS`].
    pub(crate) panels: usize,
    /// Columns of `a`, rows of `b`.
    pub(crate) inputs: usize,
    /// From one row of `a` to the next.
    pub(crate) a_stride: usize,
    /// From one panel of `b` to the next.
    pub(crate) b_stride: usize,
    /// From one panel of `c` to the next.
    pub(crate) c_stride: usize,
    /// Whether to add to what is in `c`.
    pub(crate) add: bool,
}

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// [`few::doubled`]
    Doubled,
    /// [`few::planes`]
    Planes,
    /// [`few::taps`]
    Taps,
    /// [`lines`]
    Lines,
    /// [`winograd`]
    Winograd,
    /// [`Product::run`]
    Patches,
}

impl Way {
    /// The first that suits.
    fn of(product: &Product<'_>) -> Self {
        let ways = [
            (Self::Doubled, few::doubled::suits as fn(&Product<'_>) -> bool),
            (Self::Planes, few::planes::suits),
            (Self::Taps, few::taps::suits),
            (Self::Lines, lines::suits),
            (Self::Winograd, winograd::suits),
        ];
        ways.into_iter().find(|(_, suits)| suits(product)).map_or(Self::Patches, |(way, _)| way)
    }
}

/// Computes `product` with the best kernel that `cpu` has for it.
pub(crate) fn run(cpu: Cpu, product: Product<'_>) {
    if product.y.is_empty() {
        return;
    }
    let way = Way::of(&product);
    #[cfg(target_arch = "x86_64")]
    let (is_bf16, tiles) = (product.weight.format() == Format::Bf16, winograd::tiles(&product));
    match cpu.isa() {
        _ if way == Way::Doubled => few::doubled::run(cpu, product),
        _ if way == Way::Planes => few::planes::run(cpu, product),
        Isa::Portable => run_f32(Portable, way, product),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => run_f32(Avx2::new().expect(PRESENT), way, product),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx512Bf16 if is_bf16 && way == Way::Winograd && tiles >= LEAST_TILES => {
            winograd::run_fixed(Avx512Vnni::new().expect(PRESENT), product);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx512Bf16
            if is_bf16 && matches!(way, Way::Winograd | Way::Patches) && fixed::suits(&product) =>
        {
            fixed::run(Avx512Vnni::new().expect(PRESENT), product);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx if is_bf16 && matches!(way, Way::Winograd | Way::Patches) => {
            let kernel = Amx::new().expect(PRESENT);
            // Products of `bf16` are so much faster that saving some of them in `f32` is not worth its while.
            if maps::suits(&product) { maps::run(kernel, product, None) } else { product.run(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx if is_bf16 && way == Way::Taps => few::taps::run(Amx::new().expect(PRESENT), product),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Amx => {
            run_f32(Avx512::new().expect(PRESENT), way, product);
        }
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("another architecture's instruction set"),
    }
}

/// Computes `product`, whose patches are rows: those of a linear layer, of either format, or of a gated one.
pub(crate) fn run_rows<X: Element, Y: Element>(cpu: Cpu, product: Product<'_, X, Y>) {
    if product.y.is_empty() {
        return;
    }
    match cpu.isa() {
        Isa::Portable => product.run(Portable),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => product.run(Avx2::new().expect(PRESENT)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx512Bf16 if product.weight.format() == Format::Bf16 && fixed::suits(&product) => {
            fixed::run(Avx512Vnni::new().expect(PRESENT), product);
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx if product.weight.format() == Format::Bf16 => maps::run(Amx::new().expect(PRESENT), product, None),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Amx => product.run(Avx512::new().expect(PRESENT)),
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("another architecture's instruction set"),
    }
}

/// Whether [`run_normalised`] computes it.
pub(crate) fn normalises(cpu: Cpu, product: &Product<'_>) -> bool {
    #[cfg(target_arch = "x86_64")]
    if cpu.isa() == Isa::Amx && product.weight.format() == Format::Bf16 {
        return matches!(Way::of(product), Way::Winograd | Way::Patches) && maps::normalises(product);
    }
    let _ = (cpu, product);
    false
}

/// Computes `product` of its map normalised.
pub(crate) fn run_normalised(cpu: Cpu, product: Product<'_>, norm: GroupNorm<'_>) {
    assert!(normalises(cpu, &product), "the map is to be normalised first");
    if product.y.is_empty() {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let normal = Normal::of(cpu, product.patches.map(), product.patches.size().batch, norm);
        maps::run(Amx::new().expect(PRESENT), product, Some(&normal));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = norm;
}

fn run_f32<K: Kernel<Element = f32>>(kernel: K, way: Way, product: Product<'_>) {
    match way {
        Way::Doubled | Way::Planes => unreachable!("they need no kernel"),
        Way::Taps => few::taps::run(kernel, product),
        Way::Lines => lines::run(kernel, product),
        Way::Winograd => winograd::run(kernel, product),
        Way::Patches => product.run(kernel),
    }
}
