//! A task: some queries of one head.

use std::ops::Range;

use super::shares::Shares;
use super::sources::{Source, Sources};
use super::{Attention, Mask};
use crate::gemm::{Block, Kernel, Output, PANEL, Scratch, bytes_of};
use crate::simd::{Simd, Task};

/// The longest sums of one product: 16 KiB of an `f32` panel are half the first cache.
const INPUTS: usize = 256;

/// The most queries of a task: their scores and results stay in the second cache with a panel of keys or values.
pub(super) const QUERIES: usize = 96;

/// Some queries of one head of one picture; heads are counted over all pictures.
pub(super) struct Queries<'a> {
    pub(super) attention: Attention<'a>,
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

impl Queries<'_> {
    /// # Safety
    /// No other task has these queries of this head.
    pub(super) unsafe fn attend<K: Kernel>(&self, kernel: K, sources: &Sources<'_, K::Element>, output: &Output<'_>) {
        let shape = self.attention.shape;
        let (keys, depth, outputs) = (sources.keys(), sources.depth(), sources.outputs());
        let rows = self.rows.len().next_multiple_of(K::WHOLE_ROWS);
        let bytes = bytes_of::<K::Element>(rows * depth)
            + bytes_of::<K::Element>(rows * keys)
            + bytes_of::<f32>(rows * keys)
            + 2 * bytes_of::<f32>(rows * outputs)
            + Shares::bytes(rows);
        Scratch::with(bytes, |mut scratch| {
            let q: &mut [K::Element] = scratch.take(rows * depth);
            let shares: &mut [K::Element] = scratch.take(rows * keys);
            let scores: &mut [f32] = scratch.take(rows * keys);
            let sums: &mut [f32] = scratch.take(rows * outputs);
            let part: &mut [f32] = scratch.take(rows * outputs);
            let mut state = Shares::new(&mut scratch, rows, shape.width);
            self.gather(kernel, depth, q);
            let q = Left { values: q, stride: depth, rows };
            for (index, Source { keys: panels, values }) in sources.of_head(self.head).enumerate() {
                let from = index * keys;
                if self.attention.mask == Mask::Causal && from >= self.rows.end {
                    break;
                }
                let count = keys.min(shape.keys - from);
                let filled = count.next_multiple_of(K::WHOLE_INPUTS).next_multiple_of(PANEL).min(keys);
                multiply(kernel, q, depth, &panels[..filled * depth], depth, scores);
                let scores = &mut scores[..rows * filled];
                self.hide(scores, rows, from..from + count);
                state.take(kernel, scores, keys, shares);
                let left = Left { values: shares, stride: keys, rows };
                let inputs = count.next_multiple_of(K::WHOLE_INPUTS);
                if index == 0 {
                    multiply(kernel, left, inputs, values, keys, sums);
                } else {
                    multiply(kernel, left, inputs, values, keys, part);
                    kernel.simd().run(AddTo { sums, keep: state.keep(), part });
                }
            }
            // SAFETY: the caller's promise.
            unsafe { self.write(sums, state.totals(), output) };
        });
    }

    /// The queries' rows, filled up with zeros.
    fn gather<K: Kernel>(&self, kernel: K, depth: usize, to: &mut [K::Element]) {
        let shape = self.attention.shape;
        to.fill(K::Element::default());
        for (row, to) in self.rows.clone().zip(to.chunks_exact_mut(depth)) {
            kernel.copy(&self.attention.q[self.start(row)..][..shape.width], &mut to[..shape.width]);
        }
    }

    /// Where a query's channels of this head begin.
    fn start(&self, row: usize) -> usize {
        let shape = self.attention.shape;
        let (picture, head) = (self.head / shape.heads, self.head % shape.heads);
        (picture * shape.queries + row) * shape.channels() + head * shape.width
    }

    /// Makes nothing of the scores, `[panels][rows][16]`, of keys that are not there or not to be seen.
    fn hide(&self, scores: &mut [f32], rows: usize, keys: Range<usize>) {
        for (panel, scores) in scores.chunks_exact_mut(rows * PANEL).enumerate() {
            let first = keys.start + panel * PANEL;
            let causal = self.attention.mask == Mask::Causal && first + PANEL > self.rows.start;
            if !causal && first + PANEL <= keys.end {
                continue;
            }
            for (row, scores) in scores.chunks_exact_mut(PANEL).enumerate() {
                let seen = if causal { keys.end.min(self.rows.start + row + 1) } else { keys.end };
                scores[seen.saturating_sub(first).min(PANEL)..].fill(f32::NEG_INFINITY);
            }
        }
    }

    /// Divides the sums by the shares' totals.
    ///
    /// # Safety
    /// No other task has these queries of this head.
    unsafe fn write(&self, sums: &[f32], totals: &[f32], output: &Output<'_>) {
        let width = self.attention.shape.width;
        let sums = sums.as_chunks::<PANEL>().0;
        for (index, row) in self.rows.clone().enumerate() {
            let start = self.start(row);
            // SAFETY: the caller's promise.
            let y = unsafe { output.part(start..start + width) };
            for (y, sums) in y.chunks_mut(PANEL).zip(sums[index..].iter().step_by(totals.len())) {
                for (y, sum) in y.iter_mut().zip(sums) {
                    *y = sum / totals[index];
                }
            }
        }
    }
}

/// `c = a · b`: `c` is `[panels][rows][16]`, and `b` panels of which the first `inputs` of `stride` are multiplied.
fn multiply<K: Kernel>(
    kernel: K,
    a: Left<'_, K::Element>,
    inputs: usize,
    b: &[K::Element],
    stride: usize,
    c: &mut [f32],
) {
    let panels = b.len() / (stride * PANEL);
    assert!(inputs <= stride && inputs <= a.stride && a.values.len() >= a.rows * a.stride);
    assert!(c.len() >= panels * a.rows * PANEL);
    for from in (0..inputs).step_by(INPUTS) {
        for first in (0..panels).step_by(K::PANELS) {
            let block = Block {
                rows: a.rows,
                panels: K::PANELS.min(panels - first),
                inputs: INPUTS.min(inputs - from),
                a_stride: a.stride,
                b_stride: stride * PANEL,
                c_stride: a.rows * PANEL,
                add: from > 0,
            };
            let c = &mut c[first * block.c_stride..];
            let (a, b) = (&a.values[from..], &b[(first * stride + from) * PANEL..]);
            // SAFETY: `a` has the rows and inputs, `b` the panels and inputs and `c` the rows and panels, as checked above; all
            // begin at multiples of 64 bytes, and rows and inputs are as many as the kernel takes.
            unsafe { kernel.multiply(block, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
        }
    }
}

/// `sums = sums · keep + part`, for each row; sums and part are `[panels][rows][16]`.
struct AddTo<'a> {
    sums: &'a mut [f32],
    keep: &'a [f32],
    part: &'a [f32],
}

impl Task for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (sums, part) = (self.sums.as_chunks_mut::<PANEL>().0, self.part.as_chunks::<PANEL>().0);
        for (sums, part) in sums.chunks_exact_mut(self.keep.len()).zip(part.chunks_exact(self.keep.len())) {
            for ((sums, part), keep) in sums.iter_mut().zip(part).zip(self.keep) {
                let mut values = *part;
                for lane in 0..PANEL {
                    values[lane] = simd.mul_add(sums[lane], *keep, values[lane]);
                }
                *sums = values;
            }
        }
    }
}
