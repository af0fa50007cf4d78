//! Convolutions of maps with few channels, of which bringing all patches together would take longer than their products.
//!
//! A task copies the lines that it needs once, edges included. The inputs of a row of the kernel then lie side by side, those
//! of the next pixel a few numbers further on: each row is multiplied where it is.

use std::ops::Range;

use rayon::prelude::*;

use super::driver::Product;
use super::finish::{Finish, Output, Sums};
use super::widen::Widen;
use super::{Block, Kernel, PANEL, Patches, Pieces, Scratch, bytes_of};
use crate::conv::Window;
use crate::element::Values;
use crate::simd::Simd;

/// The most channels; twice as many of a kernel that moves on by several pixels.
const CHANNELS: usize = PANEL;

/// The most rows of a task, and the most of their pixels that are multiplied at a time.
const ROWS: usize = 16;
const PIXELS: usize = 96;

/// The most numbers of its lines, if they are enough for a row: half a MiB of them, which stay in the second cache.
const LINES: usize = 1 << 17;

/// Whether it is a product for this.
pub(crate) fn suits(product: &Product<'_>) -> bool {
    let (window, channels) = (product.patches.window(), product.patches.size().channels);
    window.size > 1 && channels <= CHANNELS * window.stride.min(2)
}

/// Computes it.
pub(crate) fn run<K: Kernel<Element = f32>>(kernel: K, product: Product<'_>) {
    const { assert!(K::WHOLE_ROWS == 1 && K::WHOLE_INPUTS == 1) };
    let Product { patches, weight, epilogue, y, .. } = product;
    let out = patches.out();
    let Window { size, stride, .. } = patches.window();
    let line = ((out.width - 1) * stride + size) * patches.size().channels;
    let fitting = (LINES / line).saturating_sub(size) / stride + 1;
    let most = out.height.div_ceil(4 * rayon::current_num_threads()).clamp(1, ROWS.min(fitting));
    let of_picture =
        |picture: usize| (0..out.height).step_by(most).map(move |from| (picture, from..out.height.min(from + most)));
    let tasks: Vec<_> = (0..out.batch).flat_map(of_picture).collect();
    let finish = Finish {
        outputs: weight.shape().outputs,
        rows_per_picture: patches.rows_per_picture(),
        epilogue,
        gated: false,
    };
    let y = Output::new(y);
    let panel_length = weight.panel_length();
    let widened = match weight.values() {
        Values::F32(_) => 0,
        Values::Bf16(values) => values.len(),
    };
    Scratch::shared(bytes_of::<f32>(widened), |mut scratch| {
        let weights = match weight.values() {
            Values::F32(values) => values,
            Values::Bf16(from) => {
                let to = scratch.take(widened);
                kernel.simd().run(Widen { from, to });
                to
            }
        };
        let layer = Layer { patches, weights, panel_length, finish };
        tasks.into_par_iter().for_each(|(picture, rows)| {
            // SAFETY: each task has other rows.
            kernel.session(|| unsafe { layer.run(kernel, picture, rows, &y) });
        });
    });
}

#[derive(Clone, Copy)]
struct Layer<'a> {
    patches: Patches<'a>,
    /// In panels.
    weights: &'a [f32],
    panel_length: usize,
    finish: Finish<'a>,
}

impl Layer<'_> {
    /// Computes some rows of a picture.
    ///
    /// # Safety
    /// No other task has these rows.
    unsafe fn run<K: Kernel<Element = f32>>(&self, kernel: K, picture: usize, rows: Range<usize>, y: &Output<'_>) {
        let (out, window) = (self.patches.out(), self.patches.window());
        let channels = self.patches.size().channels;
        let (size, step) = (window.size, window.stride);
        let columns = (out.width - 1) * step + size;
        let (line, lines) = (columns * channels, (rows.len() - 1) * step + size);
        let panels = self.weights.len() / self.panel_length;
        let bytes = bytes_of::<f32>(lines * line) + bytes_of::<f32>(panels * PIXELS * PANEL);
        Scratch::with(bytes, |mut scratch| {
            let map: &mut [f32] = scratch.take(lines * line);
            let c: &mut [f32] = scratch.take(panels * PIXELS * PANEL);
            for (index, to) in map.chunks_exact_mut(line).enumerate() {
                self.patches.copy_line(kernel.simd(), None, picture, rows.start * step + index, to);
            }
            for (index, row) in rows.enumerate() {
                for from in (0..out.width).step_by(PIXELS) {
                    let pixels = from..out.width.min(from + PIXELS);
                    let c = &mut c[..panels * pixels.len() * PANEL];
                    for first in (0..panels).step_by(K::PANELS) {
                        let block = Block {
                            rows: pixels.len(),
                            panels: K::PANELS.min(panels - first),
                            inputs: size * channels,
                            a_stride: step * channels,
                            b_stride: self.panel_length,
                            c_stride: pixels.len() * PANEL,
                            add: false,
                        };
                        let pieces = Pieces { count: size, stride: line };
                        let a = &map[index * step * line + from * step * channels..];
                        let b = &self.weights[first * self.panel_length..];
                        let c = &mut c[first * block.c_stride..];
                        assert!(a.len() >= (size - 1) * line + (block.rows - 1) * block.a_stride + block.inputs);
                        assert!(b.len() >= (block.panels - 1) * block.b_stride + size * block.inputs * PANEL);
                        assert!(c.len() >= block.panels * block.c_stride);
                        // SAFETY: the lengths are checked, and `b` and `c` begin at multiples of 64 bytes.
                        unsafe { kernel.multiply_pieces(block, pieces, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
                    }
                    let first = (picture * out.height + row) * out.width;
                    let rows = first + pixels.start..first + pixels.end;
                    let sums = Sums { c, c_rows: pixels.len(), first: 0, rows, panels: 0..panels };
                    // SAFETY: the caller's promise.
                    unsafe { self.finish.run(kernel.simd(), sums, y) };
                }
            }
            y.written();
        });
    }
}
