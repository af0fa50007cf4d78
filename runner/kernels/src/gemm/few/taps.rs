//! With the taps as outputs of a 1×1 convolution: each pixel of the result adds up what its neighbours have for it.
//!
//! A task takes some rows of the result, and multiplies each row of the map that they need once.

use std::ops::Range;

use rayon::prelude::*;

use super::suits as are_few;
use crate::Packed;
use crate::conv::Window;
use crate::gemm::driver::{Panels, Product, multiply};
use crate::gemm::finish::Sums;
use crate::gemm::{Finish, Kernel, Output, PANEL, Patches};

/// Whether it is a product for this.
pub(in crate::gemm) fn suits(product: &Product<'_>) -> bool {
    are_few(product) && product.patches.window().repeat == 1
}

/// Computes it.
pub(in crate::gemm) fn run<K: Kernel>(kernel: K, product: Product<'_>) {
    let Product { patches, weight, epilogue, y, .. } = product;
    let out = patches.out();
    let finish = Finish {
        outputs: weight.shape().outputs,
        rows_per_picture: patches.rows_per_picture(),
        epilogue,
        gated: false,
    };
    let layer = Layer { patches, points: patches.points(), weight: &weight.taps_as_outputs(), finish };
    // Neighbouring tasks multiply the same rows at the edge between them: not too many of all.
    let most = out.height.div_ceil(4 * rayon::current_num_threads()).max(4 * patches.window().size);
    let of_picture =
        |picture: usize| (0..out.height).step_by(most).map(move |from| (picture, from..out.height.min(from + most)));
    let tasks: Vec<_> = (0..out.batch).flat_map(of_picture).collect();
    let y = Output::new(y);
    tasks.into_par_iter().for_each(|(picture, rows)| {
        // SAFETY: each task has other rows.
        kernel.session(|| unsafe { layer.run(kernel, picture, rows, &y) });
    });
}

/// A row of the map that a row of the result needs, and for which row of taps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    line: usize,
    row: usize,
    tap: usize,
}

#[derive(Clone, Copy)]
struct Layer<'a> {
    patches: Patches<'a>,
    points: Patches<'a>,
    /// Its outputs are the taps in rows, and for each tap the convolution's outputs.
    weight: &'a Packed,
    finish: Finish<'a>,
}

impl Layer<'_> {
    /// Computes some rows of a picture.
    ///
    /// # Safety
    /// No other task has these rows.
    unsafe fn run<K: Kernel>(&self, kernel: K, picture: usize, rows: Range<usize>, y: &Output<'_>) {
        let (map, out, size) = (self.patches.size(), self.patches.out(), self.patches.window().size);
        let length = out.width * self.finish.outputs;
        let first = picture * out.height + rows.start;
        // SAFETY: the caller's promise.
        let sums = unsafe { y.part(first * length..(first + rows.len()) * length) };
        sums.fill(0.0);
        let of_row = |row: usize| {
            let line = move |tap| Some(Use { line: self.patches.line(row + tap)?, row: row - rows.start, tap });
            (0..size).filter_map(line)
        };
        let mut uses: Vec<Use> = rows.clone().flat_map(of_row).collect();
        uses.sort_unstable();
        let panels = Panels { range: 0..self.weight.shape().outputs.div_ceil(PANEL), gates: None };
        for uses in uses.chunk_by(|a, b| a.line == b.line) {
            let start = (picture * map.height + uses[0].line) * map.width;
            for from in (0..map.width).step_by(K::MOST_ROWS) {
                let columns = from..map.width.min(from + K::MOST_ROWS);
                let pixels = start + columns.start..start + columns.end;
                multiply(kernel, self.points, self.weight, pixels, &panels, |products| {
                    for used in uses {
                        let sums = &mut sums[used.row * length..][..length];
                        (0..size).for_each(|tap| self.add(&products, &columns, (used.tap, tap), sums));
                    }
                });
            }
        }
        // SAFETY: the caller's promise, and the part above is used no more.
        unsafe { self.finish.run_in_place(kernel.simd(), first * out.width..(first + rows.len()) * out.width, y) };
    }

    /// Adds the products of some columns of the map, for the tap in this row and column, to a row of the result.
    fn add(&self, products: &Sums<'_>, columns: &Range<usize>, tap: (usize, usize), sums: &mut [f32]) {
        let (map, out, Window { size, before, .. }) = (self.patches.size(), self.patches.out(), self.patches.window());
        let outputs = self.finish.outputs;
        let at = |column: usize| column.saturating_sub(tap.1).min(out.width);
        // Of the result's columns, those with a column of the map behind them and those of them that are meant.
        let (inside, now) = (at(before)..at(map.width + before), at(columns.start + before)..at(columns.end + before));
        for output in 0..outputs {
            let lane = (tap.0 * size + tap.1) * outputs + output;
            let products = &products.c[lane / PANEL * products.c_rows * PANEL + lane % PANEL..];
            if !now.is_empty() {
                let products = &products[(now.start + tap.1 - before - columns.start) * PANEL..];
                let sums = sums[now.start * outputs + output..].iter_mut().step_by(outputs).take(now.len());
                sums.zip(products.iter().step_by(PANEL)).for_each(|(sum, product)| *sum += product);
            }
            for column in (0..inside.start).chain(inside.end..out.width) {
                if let Some(source) = self.patches.column(column + tap.1).filter(|source| columns.contains(source)) {
                    sums[column * outputs + output] += products[(source - columns.start) * PANEL];
                }
            }
        }
    }
}
