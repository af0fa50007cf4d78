//! Attention in whole numbers that share their scale, as [`gemm::fixed`](crate::gemm::fixed) has them.
//!
//! Queries and keys share one for [`GROUP`] channels, shares and values for [`GROUP`] keys: of these, small shares beside a large
//! one may become nothing, which together are 0.8 % of it at most.

use rayon::prelude::*;

use super::queries::{Hide, Queries, Write};
use super::shares::{PAIR, Rows, Shares};
use super::sources::Layout;
use super::{Attention, Heads, Mask};
use crate::element::Element;
use crate::gemm::fixed::{GROUP, Scales, of_panel, of_row};
use crate::gemm::{Block, Output, PANEL, Scratch, bytes_of, even};
use crate::simd::{Avx512Vnni, Simd};

/// The most keys of a block.
const KEYS: usize = 4 * GROUP;

/// The most queries of a task: their scores, shares and results stay in the second cache with a block of keys and values.
const QUERIES: usize = 8 * Avx512Vnni::ROWS;

/// Whether there are keys enough for converting them to be worth its while.
pub(super) fn suits(shape: Heads) -> bool {
    shape.keys >= 2 * GROUP
}

impl<X: Element> Attention<'_, X> {
    /// Computes it, if it [`suits`].
    pub(super) fn run_fixed<Y: Element>(self, vnni: Avx512Vnni, y: &mut [Y]) {
        let Heads { batch, queries, heads, .. } = self.shape;
        if y.is_empty() {
            return;
        }
        let layout = Layout::new(self.shape, KEYS, PANEL);
        let blocks = batch * heads * layout.blocks();
        let (numbers, scales) = (layout.length(), scales_of_keys(layout) + scales_of_values(layout));
        let bytes = bytes_of::<i16>(blocks * numbers) + bytes_of::<f32>(blocks * scales);
        let output = &Output::new(y);
        Scratch::shared(bytes, |mut scratch| {
            let mut sources =
                Sources { layout, numbers: scratch.take(blocks * numbers), scales: scratch.take(blocks * scales) };
            sources.fill(vnni, self);
            let sources = &sources;
            let most = even(queries, QUERIES, Avx512Vnni::ROWS);
            let tasks = queries.div_ceil(most);
            (0..batch * heads * tasks).into_par_iter().for_each(|task| {
                let (head, from) = (task / tasks, task % tasks * most);
                let queries = Queries { attention: self, head, rows: from..queries.min(from + most) };
                // SAFETY: each task has other queries, or another head.
                unsafe { attend(vnni, &queries, sources, output) };
            });
        });
    }
}

/// Of a block.
fn scales_of_keys(layout: Layout) -> usize {
    layout.keys * layout.depth.div_ceil(GROUP)
}

/// The same.
fn scales_of_values(layout: Layout) -> usize {
    layout.outputs * layout.keys.div_ceil(GROUP)
}

/// Keys and values of all heads, in blocks of keys.
struct Sources<'a> {
    layout: Layout,
    numbers: &'a mut [i16],
    scales: &'a mut [f32],
}

/// Whole numbers with their scales: rows of `stride` numbers and `groups` scales, or panels with sixteen times as many.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    numbers: &'a [i16],
    stride: usize,
    scales: &'a [f32],
    groups: usize,
}

impl Sources<'_> {
    fn fill<X: Element>(&mut self, vnni: Avx512Vnni, attention: Attention<'_, X>) {
        let layout = self.layout;
        let of_keys = scales_of_keys(layout);
        let numbers = self.numbers.par_chunks_exact_mut(layout.length());
        let scales = self.scales.par_chunks_exact_mut(of_keys + scales_of_values(layout));
        numbers.zip(scales).enumerate().for_each(|(index, (numbers, scales))| {
            Scratch::with(bytes_of::<f32>(layout.length()), |mut scratch| {
                let values: &mut [f32] = scratch.take(layout.length());
                layout.fill(vnni.avx512(), attention, index, values);
                let (keys, values) = values.split_at(layout.keys * layout.depth);
                let (of_keys, of_values) = scales.split_at_mut(of_keys);
                let (key_numbers, value_numbers) = numbers.split_at_mut(keys.len());
                convert_panels(vnni, keys, layout.depth, key_numbers, of_keys);
                convert_panels(vnni, values, layout.keys, value_numbers, of_values);
            });
        });
    }

    /// The blocks of a head of a picture, which are counted together: their keys and their values.
    fn of_head(&self, head: usize) -> impl Iterator<Item = (Numbers<'_>, Numbers<'_>)> {
        let layout = self.layout;
        let of_keys = scales_of_keys(layout);
        let (numbers, scales) = (layout.length(), of_keys + scales_of_values(layout));
        let blocks = head * layout.blocks()..(head + 1) * layout.blocks();
        blocks.map(move |block| {
            let (keys, values) = self.numbers[block * numbers..][..numbers].split_at(layout.keys * layout.depth);
            let (of_keys, of_values) = self.scales[block * scales..][..scales].split_at(of_keys);
            let of =
                |numbers, stride: usize, scales| Numbers { numbers, stride, scales, groups: stride.div_ceil(GROUP) };
            (of(keys, layout.depth, of_keys), of(values, layout.keys, of_values))
        })
    }
}

/// Converts panels of `inputs`.
fn convert_panels(_: Avx512Vnni, values: &[f32], inputs: usize, numbers: &mut [i16], scales: &mut [f32]) {
    let panels = values.chunks_exact(inputs * PANEL).zip(numbers.chunks_exact_mut(inputs * PANEL));
    for ((values, numbers), scales) in panels.zip(scales.chunks_exact_mut(inputs.div_ceil(GROUP) * PANEL)) {
        let groups = values.chunks(GROUP * PANEL).zip(numbers.chunks_mut(GROUP * PANEL));
        for ((values, numbers), scales) in groups.zip(scales.as_chunks_mut().0) {
            // SAFETY: there is AVX-512.
            unsafe { of_panel(values, numbers, scales) };
        }
    }
}

/// Converts a row.
#[inline(always)]
fn convert_row(_: Avx512Vnni, values: &[f32], numbers: &mut [i16], scales: &mut [f32]) {
    for ((values, numbers), scale) in values.chunks(GROUP).zip(numbers.chunks_mut(GROUP)).zip(scales) {
        // SAFETY: there is AVX-512.
        *scale = unsafe { of_row(values, numbers) };
    }
}

/// # Safety
/// No other task has these queries of this head.
unsafe fn attend<X: Element, Y: Element>(
    vnni: Avx512Vnni,
    queries: &Queries<'_, X>,
    sources: &Sources<'_>,
    output: &Output<'_, Y>,
) {
    let Layout { keys, depth, outputs, .. } = sources.layout;
    let (attention, rows) = (queries.attention, queries.rows.len());
    let (of_query, of_shares) = (depth.div_ceil(GROUP), keys.div_ceil(GROUP));
    // Pairs of panels become shares together.
    let stride = keys.next_multiple_of(PAIR);
    // A row more, or the scores of a row would all be in one set of the first cache.
    let height = rows + 1;
    let bytes = bytes_of::<i16>(rows * depth)
        + bytes_of::<f32>(rows * of_query)
        + bytes_of::<i16>(rows * stride)
        + bytes_of::<f32>(rows * of_shares)
        + bytes_of::<f32>(stride)
        + bytes_of::<f32>((height * stride).max(rows * depth))
        + bytes_of::<f32>(rows * outputs)
        + Shares::bytes(rows);
    Scratch::with(bytes, |mut scratch| {
        let (q, q_scales): (&mut [i16], &mut [f32]) = (scratch.take(rows * depth), scratch.take(rows * of_query));
        let (shares, share_scales) = (scratch.take(rows * stride), scratch.take(rows * of_shares));
        let row: &mut [f32] = scratch.take(stride);
        let scores: &mut [f32] = scratch.take((height * stride).max(rows * depth));
        let sums: &mut [f32] = scratch.take(rows * outputs);
        let mut state = Shares::new(&mut scratch, rows, attention.scale());
        let values = &mut scores[..rows * depth];
        queries.gather(vnni.avx512(), depth, values);
        let to = q.chunks_exact_mut(depth).zip(q_scales.chunks_exact_mut(of_query));
        for (values, (numbers, scales)) in values.chunks_exact(depth).zip(to) {
            convert_row(vnni, values, numbers, scales);
        }
        let q = Numbers { numbers: q, stride: depth, scales: q_scales, groups: of_query };
        for (index, (of_keys, of_values)) in sources.of_head(queries.head).enumerate() {
            let from = index * keys;
            if attention.mask == Mask::Causal && from >= queries.rows.end {
                break;
            }
            let count = keys.min(attention.shape.keys - from);
            let filled = count.next_multiple_of(PANEL);
            multiply(vnni, q, rows, depth, of_keys, filled / PANEL, (&mut *scores, height), false);
            let scores = &mut scores[..height * filled.next_multiple_of(PAIR)];
            vnni.avx512().run(Hide { queries, keys: from..from + count, rows: height, scores });
            let numbers =
                Rounded { vnni, row, filled, numbers: shares, stride, scales: share_scales, groups: of_shares };
            state.take(vnni.avx512(), (scores, height), numbers, sums);
            let shares = Numbers { numbers: shares, stride, scales: share_scales, groups: of_shares };
            multiply(vnni, shares, rows, filled, of_values, outputs / PANEL, (&mut *sums, rows), index > 0);
        }
        vnni.avx512().run(Write { queries, sums: sums.as_chunks().0, totals: state.totals(), output });
    });
}

/// Shares that become whole numbers.
struct Rounded<'a> {
    vnni: Avx512Vnni,
    row: &'a mut [f32],
    /// How many of a row are multiplied.
    filled: usize,
    numbers: &'a mut [i16],
    stride: usize,
    scales: &'a mut [f32],
    groups: usize,
}

impl Rows for Rounded<'_> {
    type Element = f32;

    const ROUGHLY: bool = true;

    #[inline(always)]
    fn row(&mut self, _: usize) -> &mut [f32] {
        self.row
    }

    #[inline(always)]
    fn written(&mut self, row: usize) {
        let numbers = &mut self.numbers[row * self.stride..][..self.filled];
        convert_row(self.vnni, &self.row[..self.filled], numbers, &mut self.scales[row * self.groups..][..self.groups]);
    }
}

/// `c = a · b`, or added to it: `c` is `[panels][height][16]`. Of `a`'s rows and `b`'s panels the first `inputs` are multiplied.
#[expect(clippy::too_many_arguments, reason = "two operands and a result, each with its size")]
fn multiply(
    vnni: Avx512Vnni,
    a: Numbers<'_>,
    rows: usize,
    inputs: usize,
    b: Numbers<'_>,
    panels: usize,
    (c, height): (&mut [f32], usize),
    add: bool,
) {
    let groups = inputs.div_ceil(GROUP);
    assert!(inputs.is_multiple_of(2) && inputs <= a.stride && inputs <= b.stride);
    assert!(groups <= a.groups && groups <= b.groups);
    assert!(a.numbers.len() >= rows * a.stride && a.scales.len() >= rows * a.groups);
    assert!(b.numbers.len() >= panels * b.stride * PANEL && b.scales.len() >= panels * b.groups * PANEL);
    assert!(rows <= height && c.len() >= panels * height * PANEL);
    for first in (0..panels).step_by(Avx512Vnni::PANELS) {
        let block = Block {
            rows,
            panels: Avx512Vnni::PANELS.min(panels - first),
            inputs,
            a_stride: a.stride,
            b_stride: b.stride * PANEL,
            c_stride: height * PANEL,
            add,
        };
        let scales = Scales {
            a: a.scales.as_ptr(),
            a_stride: a.groups,
            b: b.scales[first * b.groups * PANEL..].as_ptr(),
            b_stride: b.groups * PANEL,
        };
        let (b, c) = (&b.numbers[first * block.b_stride..], &mut c[first * block.c_stride..]);
        // SAFETY: `a` has the rows and inputs, `b` the panels and inputs and `c` the rows and panels, as checked above, and there
        // are their scales. All begin at multiples of 64 bytes, and what numbers are made of fits.
        unsafe { vnni.multiply(block, a.numbers.as_ptr(), b.as_ptr(), scales, c.as_mut_ptr()) };
    }
}
