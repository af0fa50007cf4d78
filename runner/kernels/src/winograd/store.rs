//! Memory for operands at the points.

use std::iter::Sum;
use std::ops::{Add, Mul};

use super::POINTS;
use super::points::Points;
use crate::gemm::{PANEL, Scratch, bytes_of};

/// Numbers between one point's and the next, so that the points do not all lie in the same set of a cache.
pub(super) const GAP: usize = 2 * PANEL;

/// How many numbers and scales there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) numbers: usize,
    pub(super) scales: usize,
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { numbers: self.numbers + other.numbers, scales: self.scales + other.scales }
    }
}

impl Mul<usize> for Size {
    type Output = Self;

    fn mul(self, times: usize) -> Self {
        Self { numbers: self.numbers * times, scales: self.scales * times }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Add::add)
    }
}

impl Size {
    /// Enough for both.
    pub(super) fn max(self, other: Self) -> Self {
        Self { numbers: self.numbers.max(other.numbers), scales: self.scales.max(other.scales) }
    }

    pub(super) fn bytes<P: Points>(self) -> usize {
        bytes_of::<P::Number>(self.numbers) + bytes_of::<f32>(self.scales)
    }

    pub(super) fn take<'a, P: Points>(self, scratch: &mut Scratch<'a>) -> Store<'a, P::Number> {
        Store { numbers: scratch.take(self.numbers), scales: scratch.take(self.scales) }
    }
}

/// How a block lies in memory: rows, of tiles or of outputs, of numbers with their scales, at each point.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    rows: Size,
    points: Size,
}

impl Strides {
    /// Of `rows` of `width` numbers.
    pub(super) fn new<P: Points>(rows: usize, width: usize) -> Self {
        let rows = Size { numbers: rows * width, scales: P::SCALES * rows };
        Self { rows, points: rows + Size { numbers: GAP, scales: 0 } }
    }

    /// Of the block.
    pub(super) fn size(self) -> Size {
        self.points * POINTS
    }

    /// Where a point begins.
    pub(super) fn point(self, point: usize) -> Size {
        self.points * point
    }

    /// Of all rows at a point.
    pub(super) fn rows(self) -> Size {
        self.rows
    }

    /// The block in memory.
    pub(super) fn operand<'a, N>(self, store: &'a mut Store<'_, N>) -> Operand<'a, N> {
        let Size { numbers, scales } = self.points;
        Operand { numbers: store.numbers, stride: numbers, scales: store.scales, scales_stride: scales }
    }
}

/// Numbers and their scales.
pub(super) struct Store<'a, N> {
    numbers: &'a mut [N],
    scales: &'a mut [f32],
}

impl<N> Store<'_, N> {
    /// Blocks that follow one another.
    pub(super) fn operands(&mut self, all: impl Iterator<Item = Strides>) -> impl Iterator<Item = Operand<'_, N>> {
        let (mut numbers, mut scales) = (&mut *self.numbers, &mut *self.scales);
        all.map(move |strides| {
            let size = strides.size();
            Operand {
                numbers: numbers.split_off_mut(..size.numbers).expect("there is as much memory"),
                stride: strides.points.numbers,
                scales: scales.split_off_mut(..size.scales).expect("there is as much memory"),
                scales_stride: strides.points.scales,
            }
        })
    }

    pub(super) fn view(&self) -> View<'_, N> {
        View { numbers: self.numbers, scales: self.scales }
    }
}

/// One operand at all points, to be written.
pub(super) struct Operand<'a, N> {
    pub(super) numbers: &'a mut [N],
    /// Numbers from one point to the next.
    pub(super) stride: usize,
    /// What numbers are to be multiplied with.
    pub(super) scales: &'a mut [f32],
    /// Scales from one point to the next.
    pub(super) scales_stride: usize,
}

/// Operands to be read.
#[derive(Clone, Copy)]
pub(super) struct View<'a, N> {
    numbers: &'a [N],
    scales: &'a [f32],
}

impl<'a, N> View<'a, N> {
    /// Those that begin there.
    pub(super) fn from(self, at: Size) -> Self {
        Self { numbers: &self.numbers[at.numbers..], scales: &self.scales[at.scales..] }
    }

    /// Those of this size that begin there; panels, if they are some, with `next` from one to the next.
    pub(super) fn side(self, at: Size, size: Size, next: Size) -> Side<'a, N> {
        Side {
            numbers: &self.numbers[at.numbers..][..size.numbers],
            scales: &self.scales[at.scales..][..size.scales],
            next_scales: next.scales,
        }
    }
}

/// One operand at one point.
#[derive(Clone, Copy)]
pub(super) struct Side<'a, N> {
    pub(super) numbers: &'a [N],
    pub(super) scales: &'a [f32],
    /// Scales from one panel to the next.
    pub(super) next_scales: usize,
}
