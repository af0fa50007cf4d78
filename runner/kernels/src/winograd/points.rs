//! How operands are held and multiplied at the points.

use super::input::Tile;
use super::store::{Operand, Side};
use super::weight::Weights;
use crate::gemm::{Block, Kernel, Number};
use crate::simd::Simd;

/// A way to hold operands at the points, and to multiply them.
pub(super) trait Points: Copy + Send + Sync {
    /// The instruction set that transforms are compiled for.
    type Simd: Simd;

    /// What operands are made of.
    type Number: Number + Send + Sync;

    /// The most channels of a block.
    const CHANNELS: usize;

    /// How many scales a row of channels has, and an output of a panel.
    const SCALES: usize;

    /// How many values [`input`](Points::input) and [`weights`](Points::weights) need for themselves.
    const INPUT_VALUES: usize;

    /// See [`Points::INPUT_VALUES`].
    const WEIGHT_VALUES: usize;

    /// Whether weights, however many they are, are transformed once for all where there are many tiles.
    const SHARED_WEIGHTS: bool;

    /// The rows of the largest tile of sums.
    const ROWS: usize;

    /// The most panels that are multiplied at once.
    const PANELS: usize;

    /// The token of the instruction set.
    fn simd(self) -> Self::Simd;

    /// Transforms some channels of a tile, which become row `index` at each point.
    fn input<S: Simd>(
        self,
        simd: S,
        tile: &Tile<'_>,
        index: usize,
        values: &mut [f32],
        to: &mut Operand<'_, Self::Number>,
    );

    /// Transforms some channels of a panel of weights, which becomes panel `index` at each point.
    fn weights<S: Simd>(
        self,
        simd: S,
        weights: &Weights<'_>,
        index: usize,
        values: &mut [f32],
        to: &mut Operand<'_, Self::Number>,
    );

    /// As [`Kernel::multiply`], at one point.
    ///
    /// # Safety
    /// [`Kernel::multiply`]'s; and there are scales for all rows of `a` and all outputs of `b`.
    unsafe fn multiply(self, block: Block, a: Side<'_, Self::Number>, b: Side<'_, Self::Number>, c: &mut [f32]);
}

/// Numbers as they are.
#[derive(Clone, Copy)]
pub(super) struct Whole<K>(pub(super) K);

impl<K: Kernel<Element = f32>> Points for Whole<K> {
    type Simd = K::Simd;
    type Number = f32;

    const CHANNELS: usize = 96;
    const SCALES: usize = 0;
    const INPUT_VALUES: usize = 0;
    const WEIGHT_VALUES: usize = 0;
    // They would be four times as many numbers as the weights.
    const SHARED_WEIGHTS: bool = false;
    const ROWS: usize = K::ROWS;
    const PANELS: usize = K::PANELS;

    fn simd(self) -> K::Simd {
        self.0.simd()
    }

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, tile: &Tile<'_>, index: usize, _: &mut [f32], to: &mut Operand<'_, f32>) {
        tile.transform(simd, &mut to.numbers[index * tile.width()..], to.stride);
    }

    #[inline(always)]
    fn weights<S: Simd>(self, simd: S, weights: &Weights<'_>, index: usize, _: &mut [f32], to: &mut Operand<'_, f32>) {
        weights.transform(simd, &mut to.numbers[index * weights.length()..], to.stride);
    }

    #[inline(always)]
    unsafe fn multiply(self, block: Block, a: Side<'_, f32>, b: Side<'_, f32>, c: &mut [f32]) {
        // SAFETY: the caller's promise.
        unsafe { self.0.multiply(block, a.numbers.as_ptr(), b.numbers.as_ptr(), c.as_mut_ptr()) };
    }
}
