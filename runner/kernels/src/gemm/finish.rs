//! From sums to the result: the epilogue.

use std::marker::PhantomData;
use std::ops::Range;

use super::{Element, PANEL};
use crate::activation::Apply;
use crate::element::{Values, ValuesMut, convert};
use crate::math::{at_least, gelu, gelu_roughly};
use crate::memory::{fence, is_streamed, prefetch};
use crate::simd::{Simd, Task};
use crate::{Activation, Epilogue};

/// A result that tasks write to at once, each its own part.
pub(crate) struct Output<'a, Y = f32> {
    first: *mut Y,
    length: usize,
    streamed: bool,
    borrow: PhantomData<&'a mut [Y]>,
}

// SAFETY: `Output::part` makes its caller promise that parts do not overlap.
unsafe impl<Y: Element> Sync for Output<'_, Y> {}

impl<'a, Y: Element> Output<'a, Y> {
    pub(crate) fn new(y: &'a mut [Y]) -> Self {
        let streamed = matches!(Y::values(y), Values::F32(y) if is_streamed(y));
        Self { first: y.as_mut_ptr(), length: y.len(), streamed, borrow: PhantomData }
    }

    /// Makes sure that other threads will see what this one wrote.
    #[inline(always)]
    pub(crate) fn written(&self) {
        if self.streamed {
            fence();
        }
    }

    /// # Safety
    /// Nobody else has a part that overlaps with this one.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [Y] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: it is within the slice that is borrowed for 'a, and the caller promises that it is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}

/// What is done to sums before they are written.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) outputs: usize,
    pub(crate) rows_per_picture: usize,
    pub(crate) epilogue: Epilogue<'a>,
    /// See [`Product`](super::Product).
    pub(crate) gated: bool,
}

/// Sums of some rows of some panels, `[panels][c_rows][16]`.
pub(crate) struct Sums<'a> {
    pub(crate) c: &'a [f32],
    pub(crate) c_rows: usize,
    /// Which of `c`'s rows is the first of `rows`.
    pub(crate) first: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) panels: Range<usize>,
}

impl<'a> Finish<'a> {
    /// Writes them. [`Output::written`] must follow at the end of a task.
    ///
    /// # Safety
    /// No other task writes these rows of these panels.
    pub(crate) unsafe fn run<S: Simd, Y: Element>(self, simd: S, sums: Sums<'_>, y: &Output<'_, Y>) {
        struct Compiled<'a, Y>(Finish<'a>, Sums<'a>, &'a Output<'a, Y>);
        impl<Y: Element> Task for Compiled<'_, Y> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                let Self(finish, sums, y) = self;
                for (index, row) in sums.rows.clone().enumerate() {
                    // SAFETY: `Finish::run`'s caller promises it.
                    unsafe { finish.put_row(simd, &sums, index, row, y) };
                }
            }
        }
        simd.run(Compiled(self, sums, y));
    }

    /// Writes one row.
    ///
    /// # Safety
    /// No other task writes this row of these panels.
    #[inline(always)]
    unsafe fn put_row<S: Simd, Y: Element>(
        &self,
        simd: S,
        sums: &Sums<'_>,
        index: usize,
        row: usize,
        y: &Output<'_, Y>,
    ) {
        let Epilogue { bias, shift, residual, activation } = self.epilogue;
        let Range { start, end } = sums.panels;
        // The last panel may have fewer outputs than lanes. Other activations are not worth their own loop.
        let is_plain = self.gated || matches!(activation, Activation::None | Activation::Relu);
        let whole = if is_plain { end.min(self.outputs / PANEL) } else { start };
        let range = |row: usize| row * self.outputs + start * PANEL..row * self.outputs + whole * PANEL;
        let lanes = |values: Option<&'a [f32]>, row: usize| values.map(|values| values[range(row)].as_chunks().0);
        let c = &sums.c.as_chunks::<PANEL>().0[sums.first + index..];
        // SAFETY: the caller's promise.
        let to = unsafe { y.part(range(row)) }.as_chunks_mut::<PANEL>().0;
        if self.gated {
            let (of_values, of_gates) = (lanes(bias, 0), lanes(bias, 1));
            let is_rounded = matches!(Y::values(&[]), Values::Bf16(_));
            for (number, to) in to.iter_mut().enumerate() {
                let [mut values, mut gates] = [c[2 * number * sums.c_rows], c[(2 * number + 1) * sums.c_rows]];
                add(&mut values, of_values, number);
                add(&mut gates, of_gates, number);
                for lane in 0..PANEL {
                    let gelu = if is_rounded { gelu_roughly(simd, gates[lane]) } else { gelu(simd, gates[lane]) };
                    values[lane] *= gelu;
                }
                write(simd, &values, to, false);
            }
            return;
        }
        let (bias, residual) = (lanes(bias, 0), lanes(residual, row));
        let shift = lanes(shift, row / self.rows_per_picture);
        for (number, to) in to.iter_mut().enumerate() {
            let mut values = c[number * sums.c_rows];
            add(&mut values, bias, number);
            add(&mut values, shift, number);
            add(&mut values, residual, number);
            if activation == Activation::Relu {
                values = values.map(|value| at_least(value, 0.0));
            }
            write(simd, &values, to, y.streamed);
        }
        for panel in whole..end {
            // SAFETY: the caller's promise.
            unsafe { self.put(simd, c[(panel - start) * sums.c_rows], row, panel, y) };
        }
    }

    /// Takes sums of less than a panel from where the result is to be.
    ///
    /// # Safety
    /// No other task reads or writes these rows.
    pub(crate) unsafe fn run_in_place<S: Simd>(self, simd: S, rows: Range<usize>, y: &Output<'_>) {
        if self.epilogue.is_nothing() {
            return;
        }
        struct Compiled<'a>(Finish<'a>, Range<usize>, &'a Output<'a>);
        impl Task for Compiled<'_> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                let Self(finish, rows, y) = self;
                for row in rows {
                    let mut sums = [0.0; PANEL];
                    // SAFETY: `Finish::run_in_place`'s caller promises it, of the second part when the first is gone.
                    unsafe {
                        let part = y.part(row * finish.outputs..(row + 1) * finish.outputs);
                        sums[..part.len()].copy_from_slice(part);
                        finish.put(simd, sums, row, 0, y);
                    }
                }
            }
        }
        simd.run(Compiled(self, rows, y));
    }

    /// Fetches what [`put`](Finish::put) will need besides its sums.
    #[inline(always)]
    pub(crate) fn foresee(&self, row: usize, panel: usize) {
        let residual = self.epilogue.residual.and_then(|values| values.get(row * self.outputs + panel * PANEL..));
        prefetch(residual.and_then(|values| values.get(..PANEL)).unwrap_or_default());
    }

    /// Writes those of one row of one panel. [`Output::written`] must follow at the end of a task.
    ///
    /// # Safety
    /// No other task writes this row of this panel.
    #[inline(always)]
    pub(crate) unsafe fn put<S: Simd, Y: Element>(
        &self,
        simd: S,
        sums: Lanes,
        row: usize,
        panel: usize,
        y: &Output<'_, Y>,
    ) {
        let first = panel * PANEL;
        let count = PANEL.min(self.outputs - first);
        let of_row = row * self.outputs + first;
        // SAFETY: the caller's promise.
        let part = unsafe { y.part(of_row..of_row + count) };
        if let Ok(part) = <&mut [Y; PANEL]>::try_from(&mut *part) {
            let sums = self.apply(simd, sums, row, first, |values, first| {
                *values[first..].first_chunk().expect("there are sixteen")
            });
            write(simd, &sums, part, y.streamed);
        } else {
            let sums = self.apply(simd, sums, row, first, |values, first| {
                let mut lanes = [0.0; PANEL];
                lanes[..count].copy_from_slice(&values[first..first + count]);
                lanes
            });
            convert(simd, &sums[..count], part);
        }
    }

    /// The epilogue of one row, from the `first` output on; `take` reads its terms.
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        simd: S,
        mut sums: Lanes,
        row: usize,
        first: usize,
        take: impl Fn(&[f32], usize) -> Lanes,
    ) -> Lanes {
        let Epilogue { bias, shift, residual, activation } = self.epilogue;
        // Only where it is needed, because it takes a division.
        let picture = shift.map_or(0, |_| row / self.rows_per_picture);
        let terms = [(bias, 0), (shift, picture * self.outputs), (residual, row * self.outputs)];
        for (values, start) in terms {
            if let Some(values) = values {
                let terms = take(values, start + first);
                for lane in 0..PANEL {
                    sums[lane] += terms[lane];
                }
            }
        }
        match activation {
            Activation::None => {}
            Activation::Relu => sums.iter_mut().for_each(|sum| *sum = at_least(*sum, 0.0)),
            activation => simd.run(Apply { activation, values: &mut sums }),
        }
        sums
    }
}

/// Writes a panel of a row, past the caches if it is `f32` and `streamed`.
#[inline(always)]
fn write<S: Simd, Y: Element>(simd: S, values: &Lanes, to: &mut [Y; PANEL], streamed: bool) {
    match Y::values_mut(to) {
        ValuesMut::F32(to) if streamed => simd.stream(values, to.first_chunk_mut().expect("a panel")),
        _ => convert(simd, values, to),
    }
}

#[inline(always)]
fn add(sums: &mut Lanes, terms: Option<&[Lanes]>, number: usize) {
    if let Some(terms) = terms {
        for lane in 0..PANEL {
            sums[lane] += terms[number][lane];
        }
    }
}

/// The outputs of a panel.
type Lanes = [f32; PANEL];
