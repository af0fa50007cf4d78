//! Numbers of sixteen bits that share their scale: block floating point.
//!
//! [`GROUP`] inputs of a row, or of an output of a weight, have one scale, by which the largest of them becomes as large as fits.
//! The sums of a group are exact, in 32 bits, and are added up in `f32`. Since a group's error is in proportion to its largest
//! number, whose square is at most the sum of all their squares, it is always less than what rounding to `bf16` does: 6e-4 of
//! the root of that sum at worst, and 2e-4 as a rule.
//!
//! Rows are converted before tasks multiply them, in memory that all threads share; weights by each task, from `bf16`, which
//! costs a few of its products.

mod numbers;

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

pub(crate) use self::numbers::{of_panel, of_row};
use super::driver::{Call, Part, Sizes, even, split};
use super::finish::Sums;
use super::widen::pairs;
use super::{Block, PANEL, Patches, Product, Scratch, bytes_of};
use crate::Packed;
use crate::element::{Element, Values};
use crate::memory::prefetch_far;
use crate::packed::PAIRED;
use crate::simd::Avx512Vnni;

/// How many inputs have a scale.
pub(crate) const GROUP: usize = 64;

/// The most inputs of a block: two panels of them are 20 KiB, less than half of the first cache.
const INPUTS: usize = 5 * GROUP;

/// The most rows of a task, and the most panels: their sums are in the second cache, beside a block of the rows.
const ROWS: usize = 384;
const PANELS: usize = 12;

/// How many rows are multiplied before some of the next panels are fetched.
const AT_ONCE: usize = 4 * Avx512Vnni::ROWS;

/// How many numbers of rows are converted before they are multiplied: 8 MiB of them.
const BAND: usize = 1 << 22;

/// How many of those a task converts at least, if they are more than a row: 64 KiB of `f32` are in the second cache.
const CONVERTED: usize = 1 << 14;

/// What sums of products of whole numbers are multiplied with.
#[derive(Clone, Copy)]
pub(crate) struct Scales {
    /// One for each group of each row.
    pub(crate) a: *const f32,
    /// From one row to the next.
    pub(crate) a_stride: usize,
    /// Sixteen for each group of a panel.
    pub(crate) b: *const f32,
    /// From one panel to the next.
    pub(crate) b_stride: usize,
}

/// Whether there are rows enough for converting weights to be worth its while.
pub(super) fn suits<X: Element, Y: Element>(product: &Product<'_, X, Y>) -> bool {
    product.patches.rows() >= Avx512Vnni::ROWS
}

/// Computes a product with a weight in `bf16`.
pub(super) fn run<X: Element, Y: Element>(vnni: Avx512Vnni, product: Product<'_, X, Y>) {
    let sizes = Sizes { rows: Avx512Vnni::ROWS, most_rows: ROWS, panels: Avx512Vnni::PANELS, most_panels: PANELS };
    let (patches, weight) = (product.patches, product.weight);
    // As many as a panel has, whose last ones are zeros.
    let inputs = weight.shape().inputs().next_multiple_of(PAIRED);
    let band = even(patches.rows(), (BAND / inputs).max(ROWS), Avx512Vnni::ROWS);
    let (numbers, scales) = (band * inputs, band * inputs.div_ceil(GROUP));
    let tasks = product.tasks();
    Scratch::shared(bytes_of::<i16>(numbers) + bytes_of::<f32>(scales), |mut scratch| {
        let (numbers, scales) = (scratch.take(numbers), scratch.take(scales));
        for rows in split(0..patches.rows(), band) {
            let left = Left::new(vnni, patches, rows.clone(), inputs, (&mut *numbers, &mut *scales));
            tasks.run(vnni.avx512(), rows, sizes, |part, finish| multiply(vnni, &left, weight, part, finish));
        }
    });
}

/// Rows in whole numbers.
struct Left<'a> {
    /// `[rows][inputs]`, and the scales of their groups, `[rows][groups]`.
    numbers: &'a [i16],
    scales: &'a [f32],
    inputs: usize,
    /// The number of the first of them.
    first: usize,
}

impl<'a> Left<'a> {
    /// Converts them in memory that is as large or larger.
    fn new<X: Element>(
        vnni: Avx512Vnni,
        patches: Patches<'_, X>,
        rows: Range<usize>,
        inputs: usize,
        (numbers, scales): (&'a mut [i16], &'a mut [f32]),
    ) -> Self {
        let (all, groups) = (patches.inputs(), inputs.div_ceil(GROUP));
        let in_place = patches.in_place().and_then(|x| f32::of(X::values(x))).filter(|_| all == inputs);
        let height = (CONVERTED / inputs).max(1);
        let parts = numbers.par_chunks_mut(height * inputs).zip(scales.par_chunks_mut(height * groups));
        split(rows.clone(), height).into_par_iter().zip(parts).for_each(|(rows, (numbers, scales))| {
            let mut convert = |values: &[f32]| {
                let to = numbers.chunks_exact_mut(inputs).zip(scales.chunks_exact_mut(groups));
                for (values, (numbers, scales)) in values.chunks_exact(inputs).zip(to) {
                    let to = numbers.chunks_mut(GROUP).zip(scales);
                    for (values, (numbers, scale)) in values.chunks(GROUP).zip(to) {
                        // SAFETY: there is AVX-512.
                        *scale = unsafe { numbers::of_row(values, numbers) };
                    }
                }
            };
            if let Some(x) = in_place {
                convert(&x[rows.start * inputs..rows.end * inputs]);
            } else {
                Scratch::with(bytes_of::<f32>(rows.len() * inputs), |mut scratch| {
                    let gathered: &mut [f32] = scratch.take(rows.len() * inputs);
                    patches.gather(vnni.avx512(), rows, 0..all, inputs, gathered);
                    convert(gathered);
                });
            }
        });
        Self { numbers, scales, inputs, first: rows.start }
    }
}

fn multiply(vnni: Avx512Vnni, left: &Left<'_>, weight: &Packed, part: Part, finish: &dyn Fn(Sums<'_>)) {
    let Part { rows, panels } = part;
    let row = rows.start - left.first;
    let most = even(left.inputs, INPUTS, GROUP);
    let (all_groups, most_groups) = (left.inputs.div_ceil(GROUP), most / GROUP);
    let calls = panels.calls(Avx512Vnni::PANELS);
    let c_length = panels.count() * rows.len() * PANEL;
    let bytes = bytes_of::<i16>(Avx512Vnni::PANELS * most * PANEL)
        + bytes_of::<f32>(Avx512Vnni::PANELS * most_groups * PANEL)
        + bytes_of::<f32>(c_length);
    Scratch::with(bytes, |mut scratch| {
        let b: &mut [i16] = scratch.take(Avx512Vnni::PANELS * most * PANEL);
        let of_b: &mut [f32] = scratch.take(Avx512Vnni::PANELS * most_groups * PANEL);
        let c: &mut [f32] = scratch.take(c_length);
        for from in (0..left.inputs).step_by(most) {
            let inputs = most.min(left.inputs - from);
            let groups = inputs.div_ceil(GROUP);
            let a = &left.numbers[row * left.inputs + from..];
            let of_a = &left.scales[row * all_groups + from / GROUP..];
            for ((index, call), c) in calls.iter().enumerate().zip(c.chunks_mut(calls[0].count * rows.len() * PANEL)) {
                let panels = |call: Call| call.panels().map(move |panel| inputs_of(weight, panel, from..from + inputs));
                convert_panels(vnni, panels(*call), (&mut *b, &mut *of_b));
                let mut next: Vec<_> = calls.get(index + 1).into_iter().flat_map(|call| panels(*call)).collect();
                let block = Block {
                    rows: rows.len(),
                    panels: call.count,
                    inputs,
                    a_stride: left.inputs,
                    b_stride: inputs * PANEL,
                    c_stride: rows.len() * PANEL,
                    add: from > 0,
                };
                let (a_stride, b_stride) = (all_groups, groups * PANEL);
                let scales = Scales { a: of_a.as_ptr(), a_stride, b: of_b.as_ptr(), b_stride };
                assert!(a.len() >= (block.rows - 1) * block.a_stride + inputs);
                assert!(of_a.len() >= (block.rows - 1) * a_stride + groups);
                assert!(b.len() >= call.count * block.b_stride && of_b.len() >= call.count * b_stride);
                assert!(c.len() >= call.count * block.c_stride);
                for from in (0..rows.len()).step_by(AT_ONCE) {
                    for next in &mut next {
                        let count = next.len().min((inputs * PANEL * AT_ONCE).div_ceil(rows.len()));
                        prefetch_far(next.split_off(..count).expect("there are as many"));
                    }
                    let block = Block { rows: AT_ONCE.min(rows.len() - from), ..block };
                    let scales = Scales { a: of_a[from * a_stride..].as_ptr(), ..scales };
                    let (a, c) = (a[from * block.a_stride..].as_ptr(), c[from * PANEL..].as_mut_ptr());
                    // SAFETY: the lengths are checked, panels, their scales and sums begin at multiples of 64 bytes, inputs are
                    // even, and what `numbers` makes of a group fits.
                    unsafe { vnni.multiply(block, a, b.as_ptr(), scales, c) };
                }
            }
        }
        finish(Sums { c, c_rows: rows.len(), first: 0, rows, panels: panels.range });
    });
}

/// Some inputs of a panel.
fn inputs_of(weight: &Packed, panel: usize, inputs: Range<usize>) -> &[bf16] {
    let Values::Bf16(values) = weight.values() else { panic!("weights of f32 are multiplied as they are") };
    &values[panel * weight.panel_length()..][inputs.start * PANEL..inputs.end * PANEL]
}

/// Converts panels: `[panels][inputs / 2][16][2]`, and the scales of their groups, `[panels][groups][16]`.
fn convert_panels<'a>(
    _: Avx512Vnni,
    panels: impl Iterator<Item = &'a [bf16]>,
    (mut numbers, mut scales): (&mut [i16], &mut [f32]),
) {
    for panel in panels {
        for from in pairs(panel).chunks(GROUP / 2) {
            let numbers = numbers.split_off_mut(..2 * PANEL * from.len()).expect("there are as many");
            let scales = scales.split_off_mut(..PANEL).expect("there are as many");
            // SAFETY: there is AVX-512.
            unsafe { numbers::of_pairs(from, numbers, scales.first_chunk_mut().expect("sixteen")) };
        }
    }
}
