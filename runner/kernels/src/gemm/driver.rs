//! Cuts a product into tasks for the threads, and each into blocks for the caches.
//!
//! A task computes some rows of some outputs. It goes over the inputs in blocks: gathers the rows' inputs, which then are
//! in the second cache, and multiplies them with one panel after the other, of which a block is in the first cache. The
//! sums stay in the second cache until all inputs are done; the epilogue writes the result once.

use std::ops::Range;

use rayon::prelude::*;

use super::finish::{Finish, Output, Sums};
use super::scratch::bytes_of;
use super::widen::Widen;
use super::{Block, Element, Kernel, PANEL, Patches, Scratch};
use crate::conv::{MapSize, Window};
use crate::element::Values;
use crate::packed::PAIRED;
use crate::simd::Simd;
use crate::{Epilogue, Packed};

/// A product of patches and a weight.
pub(crate) struct Product<'a, X = f32, Y = f32> {
    pub(crate) patches: Patches<'a, X>,
    pub(crate) weight: &'a Packed,
    pub(crate) epilogue: Epilogue<'a>,
    /// Whether the first half of the weight's outputs are values and the second half their gates, and the result
    /// `value · gelu(gate)`. Each half is whole panels, and of the epilogue there is the bias alone.
    pub(crate) gated: bool,
    pub(crate) y: &'a mut [Y],
}

/// Panels of a weight whose sums belong together.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    /// Of the result.
    pub(super) range: Range<usize>,
    /// Behind each of them, at this distance, is the panel of its gates.
    pub(super) gates: Option<usize>,
}

/// Panels that are multiplied at once: `first`, and `count - 1` more, each `step` further.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) step: usize,
}

#[cfg(target_arch = "x86_64")]
impl Call {
    /// Which they are.
    pub(super) fn panels(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |index| self.first + index * self.step)
    }
}

impl Panels {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.range.len() * if self.gates.is_some() { 2 } else { 1 }
    }

    /// All of them, `most` at a time.
    pub(super) fn calls(&self, most: usize) -> Vec<Call> {
        let Self { range: Range { start, end }, gates } = *self;
        match gates {
            None => {
                (start..end).step_by(most).map(|first| Call { first, count: most.min(end - first), step: 1 }).collect()
            }
            Some(step) if most > 1 => (start..end).map(|first| Call { first, count: 2, step }).collect(),
            Some(step) => (start..end)
                .flat_map(|panel| [panel, panel + step])
                .map(|first| Call { first, count: 1, step })
                .collect(),
        }
    }
}

impl<'a, X: Element, Y: Element> Product<'a, X, Y> {
    /// The convolution of `x`, of `size`, and the epilogue.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub(crate) fn new(
        x: &'a [X],
        size: MapSize,
        window: Window,
        weight: &'a Packed,
        epilogue: Epilogue<'a>,
        y: &'a mut [Y],
    ) -> Self {
        let shape = weight.shape();
        let out = window.of(size, shape.outputs);
        assert_eq!(y.len(), out.values(), "the result has another size");
        assert_eq!((shape.channels, shape.taps), (size.channels, window.size * window.size), "another kernel");
        epilogue.check(size.batch, shape.outputs, out.values());
        Self { patches: Patches::new(x, size, window), weight, epilogue, gated: false, y }
    }

    /// Computes it with `kernel`.
    pub(crate) fn run<K: Kernel>(self, kernel: K) {
        let sizes = Sizes { rows: K::ROWS, most_rows: K::MOST_ROWS, panels: K::PANELS, most_panels: K::MOST_PANELS };
        let (patches, weight, rows) = (self.patches, self.weight, self.patches.rows());
        self.tasks().run(kernel.simd(), 0..rows, sizes, |Part { rows, panels }, finish| {
            kernel.session(|| multiply(kernel, patches, weight, rows, &panels, finish));
        });
    }

    /// What there is to be computed.
    pub(super) fn tasks(self) -> Tasks<'a, Y> {
        let Self { patches, weight, epilogue, gated, y } = self;
        let outputs = weight.shape().outputs / if gated { 2 } else { 1 };
        let panels = outputs.div_ceil(PANEL);
        let gates = gated.then_some(panels);
        let finish = Finish { outputs, rows_per_picture: patches.rows_per_picture(), epilogue, gated };
        Tasks { panels: Panels { range: 0..panels, gates }, finish, y: Output::new(y) }
    }
}

/// A product without its operands.
pub(super) struct Tasks<'a, Y> {
    panels: Panels,
    finish: Finish<'a>,
    y: Output<'a, Y>,
}

impl<Y: Element> Tasks<'_, Y> {
    /// Has all threads compute some rows, in parts: `multiply` calls what it is given with the part's sums.
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        rows: Range<usize>,
        sizes: Sizes,
        multiply: impl Fn(Part, &dyn Fn(Sums<'_>)) + Sync,
    ) {
        let Self { panels: Panels { range, gates }, finish, y } = self;
        let finish = &|sums: Sums<'_>| {
            // SAFETY: parts have different rows or different panels.
            unsafe { finish.run(simd, sums, y) };
            y.written();
        };
        let most_panels = sizes.most_panels / if gates.is_some() { 2 } else { 1 };
        let cut = Cut::new(rows, range.len(), Sizes { most_panels, ..sizes });
        cut.tasks().into_par_iter().for_each(|(rows, range)| {
            multiply(Part { rows, panels: Panels { range, gates: *gates } }, finish);
        });
    }
}

/// Some rows and some panels of a product.
pub(super) struct Part {
    pub(super) rows: Range<usize>,
    pub(super) panels: Panels,
}

/// What is multiplied at once, and the most that a task takes.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) most_rows: usize,
    pub(super) panels: usize,
    pub(super) most_panels: usize,
}

/// How many rows and panels a task takes.
struct Cut {
    rows: usize,
    panels: usize,
    all_rows: Range<usize>,
    all_panels: usize,
}

impl Cut {
    fn new(all_rows: Range<usize>, all_panels: usize, most: Sizes) -> Self {
        let rows = even(all_rows.len(), most.most_rows, most.rows);
        let mut panels = even(all_panels, most.most_panels, 1);
        let wanted = 4 * rayon::current_num_threads();
        let tasks = |panels: usize| all_rows.len().div_ceil(rows) * all_panels.div_ceil(panels);
        while panels > most.panels && tasks(panels) < wanted {
            panels = panels.div_ceil(2).next_multiple_of(most.panels);
        }
        Self { rows, panels, all_rows, all_panels }
    }

    fn tasks(&self) -> Vec<(Range<usize>, Range<usize>)> {
        let panels = split(0..self.all_panels, self.panels);
        let of_rows = |rows: Range<usize>| panels.iter().map(move |panels| (rows.clone(), panels.clone()));
        split(self.all_rows.clone(), self.rows).into_iter().flat_map(of_rows).collect()
    }
}

/// The size of parts of `all`, at most `most`, that are about as large as one another and multiples of `of`.
pub(crate) fn even(all: usize, most: usize, of: usize) -> usize {
    all.div_ceil(all.div_ceil(most).max(1)).next_multiple_of(of)
}

/// In parts.
pub(crate) fn split(range: Range<usize>, part: usize) -> Vec<Range<usize>> {
    range.clone().step_by(part).map(|from| from..range.end.min(from + part)).collect()
}

/// Multiplies some rows with some panels, and calls `finish` with the sums, which are in the thread's scratch memory.
#[inline(always)]
pub(super) fn multiply<K: Kernel, X: Element>(
    kernel: K,
    patches: Patches<'_, X>,
    weight: &Packed,
    rows: Range<usize>,
    panels: &Panels,
    finish: impl FnOnce(Sums<'_>),
) {
    let all = weight.shape().inputs();
    let blocks = all.div_ceil(K::INPUTS);
    let most = all.div_ceil(blocks).next_multiple_of(PAIRED);
    let whole_rows = rows.len().next_multiple_of(K::WHOLE_ROWS);
    let c_length = panels.count() * whole_rows * PANEL;
    let calls = panels.calls(K::PANELS);
    let bytes = bytes_of::<K::Element>(whole_rows * most)
        + bytes_of::<f32>(c_length)
        + bytes_of::<f32>(K::PANELS * most * PANEL);
    Scratch::with(bytes, |mut scratch| {
        let gathered: &mut [K::Element] = scratch.take(whole_rows * most);
        let c: &mut [f32] = scratch.take(c_length);
        let widened: &mut [f32] = scratch.take(K::PANELS * most * PANEL);
        for from in (0..all).step_by(most) {
            let inputs = from..all.min(from + most);
            let whole = inputs.len().next_multiple_of(K::WHOLE_INPUTS);
            let (a, a_stride): (&[K::Element], usize) =
                match patches.in_place().and_then(|x| K::Element::of(X::values(x))) {
                    Some(x) if K::WHOLE_ROWS == 1 && whole == inputs.len() => (&x[rows.start * all + from..], all),
                    _ => {
                        gathered[rows.len() * whole..whole_rows * whole].fill(K::Element::default());
                        patches.gather(kernel, rows.clone(), inputs.clone(), whole, gathered);
                        (gathered, whole)
                    }
                };
            let mut done = 0;
            for &call in &calls {
                let (b, b_stride) = right(kernel, weight, call, from, whole, widened);
                let count = call.count;
                let block = Block {
                    rows: whole_rows,
                    panels: count,
                    inputs: whole,
                    a_stride,
                    b_stride,
                    c_stride: whole_rows * PANEL,
                    add: from > 0,
                };
                assert!(
                    a.len() >= (whole_rows - 1) * a_stride + whole && b.len() >= (count - 1) * b_stride + whole * PANEL
                );
                let c = &mut c[done * whole_rows * PANEL..];
                done += count;
                assert!(c.len() >= count * block.c_stride);
                // SAFETY: the lengths are checked, all of it begins at multiples of 64 bytes, and the rows, inputs and
                // panels are as many as the kernel takes.
                unsafe { kernel.multiply(block, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
            }
        }
        finish(Sums { c, c_rows: whole_rows, first: 0, rows, panels: panels.range.clone() });
    });
}

/// `inputs` of some panels of a weight, made of what the kernel takes, and the distance between the panels.
fn right<'a, K: Kernel>(
    kernel: K,
    weight: &'a Packed,
    call: Call,
    from: usize,
    inputs: usize,
    widened: &'a mut [f32],
) -> (&'a [K::Element], usize) {
    let length = weight.panel_length();
    if let Some(values) = K::Element::of(weight.values()) {
        return (&values[call.first * length + from * PANEL..], call.step * length);
    }
    let Values::Bf16(values) = weight.values() else { panic!("a kernel for bf16 was given weights of f32") };
    let part = inputs.next_multiple_of(2) * PANEL;
    for (index, to) in widened.chunks_exact_mut(part).enumerate().take(call.count) {
        let panel = call.first + index * call.step;
        kernel.simd().run(Widen { from: &values[panel * length + from * PANEL..][..part], to });
    }
    (K::Element::of(Values::F32(widened)).expect("a kernel that takes no bf16 takes f32"), part)
}
