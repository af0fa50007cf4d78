//! A task: some queries of one head.

use std::ops::Range;

use super::shares::{PAIR, Plain, Shares};
use super::sources::{Source, Sources};
use super::{Attention, Mask};
use crate::element::convert;
use crate::gemm::{Block, Element, Kernel, Output, PANEL, Scratch, bytes_of};
use crate::math::fold;
use crate::simd::{Simd, Task};

/// The longest sums of one product: 16 KiB of an `f32` panel are half the first cache.
const INPUTS: usize = 256;

/// The most queries of a task: their scores and results stay in the second cache with a panel of keys or values. Where
/// numbers are half as long, there is room for more.
pub(super) const fn most_queries<K: Kernel>() -> usize {
    if size_of::<K::Element>() < size_of::<f32>() { 128 } else { 96 }
}

/// Some queries of one head of one picture; heads are counted over all pictures.
pub(super) struct Queries<'a, X> {
    pub(super) attention: Attention<'a, X>,
    pub(super) head: usize,
    pub(super) rows: Range<usize>,
}

/// The left operand of a product, row after row.
#[derive(Clone, Copy)]
struct Left<'a, E> {
    values: &'a [E],
    stride: usize,
    rows: usize,
}

impl<X: Element> Queries<'_, X> {
    /// # Safety
    /// No other task has these queries of this head.
    pub(super) unsafe fn attend<K: Kernel, Y: Element>(
        &self,
        kernel: K,
        sources: &Sources<'_, K::Element>,
        output: &Output<'_, Y>,
    ) {
        let shape = self.attention.shape;
        let (keys, depth, outputs) = (sources.keys(), sources.depth(), sources.outputs());
        let rows = self.rows.len().next_multiple_of(K::WHOLE_ROWS);
        // Pairs of panels become shares together.
        let stride = keys.next_multiple_of(PAIR);
        // A row more, or the scores of a row would all be in one set of the first cache.
        let height = rows + 1;
        let bytes = bytes_of::<K::Element>(rows * depth)
            + bytes_of::<K::Element>(rows * stride)
            + bytes_of::<f32>(height * stride)
            + bytes_of::<f32>(rows * outputs)
            + Shares::bytes(rows);
        Scratch::with(bytes, |mut scratch| {
            let q: &mut [K::Element] = scratch.take(rows * depth);
            let shares: &mut [K::Element] = scratch.take(rows * stride);
            let scores: &mut [f32] = scratch.take(height * stride);
            let sums: &mut [f32] = scratch.take(rows * outputs);
            let mut state = Shares::new(&mut scratch, rows, self.attention.scale());
            self.gather(kernel, depth, q);
            let q = Left { values: q, stride: depth, rows };
            for (index, Source { keys: panels, values }) in sources.of_head(self.head).enumerate() {
                let from = index * keys;
                if self.attention.mask == Mask::Causal && from >= self.rows.end {
                    break;
                }
                let count = keys.min(shape.keys - from);
                let inputs = count.next_multiple_of(K::WHOLE_INPUTS);
                let filled = inputs.next_multiple_of(PANEL).min(keys);
                multiply(kernel, q, depth, &panels[..filled * depth], depth, (&mut *scores, height), false);
                let scores = &mut scores[..height * filled.next_multiple_of(PAIR)];
                kernel.simd().run(Hide { queries: self, keys: from..from + count, rows: height, scores });
                state.take(kernel.simd(), (scores, height), Plain { shares: &mut *shares, stride }, sums);
                multiply(
                    kernel,
                    Left { values: shares, stride, rows },
                    inputs,
                    values,
                    keys,
                    (&mut *sums, rows),
                    index > 0,
                );
            }
            kernel.simd().run(Write { queries: self, sums: sums.as_chunks().0, totals: state.totals(), output });
        });
    }

    /// The queries' rows, filled up with zeros.
    pub(super) fn gather<K: Kernel>(&self, kernel: K, depth: usize, to: &mut [K::Element]) {
        let shape = self.attention.shape;
        to.fill(K::Element::default());
        for (row, to) in self.rows.clone().zip(to.chunks_exact_mut(depth)) {
            convert(kernel.simd(), &self.attention.q[self.start(row)..][..shape.width], &mut to[..shape.width]);
        }
    }

    /// The same in tiles, `[depth / 32][rows][32]`.
    pub(super) fn gather_tiles<K: Kernel>(&self, kernel: K, depth: usize, to: &mut [K::Element]) {
        let (width, rows) = (self.attention.shape.width, to.len() / depth);
        to.fill(K::Element::default());
        for (index, row) in self.rows.clone().enumerate() {
            let from = &self.attention.q[self.start(row)..][..width];
            for (from, to) in from.chunks(PAIR).zip(to.chunks_exact_mut(rows * PAIR)) {
                convert(kernel.simd(), from, &mut to[index * PAIR..][..from.len()]);
            }
        }
    }

    /// Where a query's channels of this head begin.
    fn start(&self, row: usize) -> usize {
        let shape = self.attention.shape;
        let (picture, head) = (self.head / shape.heads, self.head % shape.heads);
        (picture * shape.queries + row) * shape.channels() + head * shape.width
    }
}

/// Makes nothing of the scores, `[panels][rows][16]`, of keys that are not there or not to be seen.
pub(super) struct Hide<'a, 'b, X> {
    pub(super) queries: &'a Queries<'b, X>,
    pub(super) keys: Range<usize>,
    pub(super) rows: usize,
    pub(super) scores: &'a mut [f32],
}

impl<X> Task for Hide<'_, '_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { queries: Queries { attention, rows: of, .. }, keys, rows, scores } = self;
        for (panel, scores) in scores.chunks_exact_mut(rows * PANEL).enumerate() {
            let first = keys.start + panel * PANEL;
            let causal = attention.mask == Mask::Causal && first + PANEL > of.start;
            if !causal && first + PANEL <= keys.end {
                continue;
            }
            for (row, scores) in scores.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                let seen = if causal { keys.end.min(of.start + row + 1) } else { keys.end }.saturating_sub(first);
                for (lane, score) in scores.iter_mut().enumerate() {
                    *score = if lane < seen { *score } else { f32::NEG_INFINITY };
                }
            }
        }
    }
}

/// Divides the sums by the shares' totals.
pub(super) struct Write<'a, 'b, 'c, X, Y> {
    pub(super) queries: &'a Queries<'c, X>,
    pub(super) sums: &'a [[f32; PANEL]],
    pub(super) totals: &'a [[f32; PANEL]],
    /// No other task has these queries of this head.
    pub(super) output: &'a Output<'b, Y>,
}

impl<X: Element, Y: Element> Task for Write<'_, '_, '_, X, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { queries, sums, totals, output } = self;
        let width = queries.attention.shape.width;
        for (index, row) in queries.rows.clone().enumerate() {
            let total = fold(totals[index], |a, b| a + b);
            let start = queries.start(row);
            // SAFETY: `Queries::attend`'s caller promises it.
            let y = unsafe { output.part(start..start + width) };
            let mut results = sums[index..].iter().step_by(totals.len()).map(|sums| sums.map(|sum| sum / total));
            let (whole, rest) = y.as_chunks_mut::<PANEL>();
            for (y, results) in whole.iter_mut().zip(&mut results) {
                convert(simd, &results, y);
            }
            if let Some(results) = results.next() {
                convert(simd, &results[..rest.len()], rest);
            }
        }
    }
}

/// `c = a · b`, or added to it: `c` is `[panels][height][16]`, and `b` panels of which the first `inputs` of `stride` are
/// multiplied.
fn multiply<K: Kernel>(
    kernel: K,
    a: Left<'_, K::Element>,
    inputs: usize,
    b: &[K::Element],
    stride: usize,
    (c, height): (&mut [f32], usize),
    add: bool,
) {
    let panels = b.len() / (stride * PANEL);
    assert!(inputs <= stride && inputs <= a.stride && a.values.len() >= a.rows * a.stride);
    assert!(a.rows <= height && c.len() >= panels * height * PANEL);
    for from in (0..inputs).step_by(INPUTS) {
        for first in (0..panels).step_by(K::PANELS) {
            let block = Block {
                rows: a.rows,
                panels: K::PANELS.min(panels - first),
                inputs: INPUTS.min(inputs - from),
                a_stride: a.stride,
                b_stride: stride * PANEL,
                c_stride: height * PANEL,
                add: add || from > 0,
            };
            let c = &mut c[first * block.c_stride..];
            let (a, b) = (&a.values[from..], &b[(first * stride + from) * PANEL..]);
            // SAFETY: `a` has the rows and inputs, `b` the panels and inputs and `c` the rows and panels, as checked above; all
            // begin at multiples of 64 bytes, and rows and inputs are as many as the kernel takes.
            unsafe { kernel.multiply(block, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
        }
    }
}
