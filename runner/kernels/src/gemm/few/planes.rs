//! With pixels of a row side by side, where there are few channels, too.
//!
//! A task takes some rows of the result. Some channels at a time of the lines that they need are brought into planes, edges
//! included, and added up with each weight in turn.

use std::ops::Range;

use rayon::prelude::*;

use super::{OUTPUTS, suits as are_few};
use crate::Cpu;
use crate::gemm::{Finish, Output, PANEL, Patches, Product, Scratch, bytes_of};
use crate::simd::{Simd, Task};

/// The most rows of a task.
const ROWS: usize = 16;

/// The most channels that are in planes at a time: those of all rows stay in the second cache.
const CHANNELS: usize = 8;

/// The most pixels that are added up together.
const PIXELS: usize = 4 * PANEL;

/// Whether it is a product for this.
pub(in crate::gemm) fn suits(product: &Product<'_>) -> bool {
    are_few(product) && product.weight.shape().channels < PANEL
}

/// Computes it.
pub(in crate::gemm) fn run(cpu: Cpu, product: Product<'_>) {
    match product.weight.shape().outputs {
        1 => run_with::<1>(cpu, product),
        2 => run_with::<2>(cpu, product),
        3 => run_with::<3>(cpu, product),
        OUTPUTS => run_with::<OUTPUTS>(cpu, product),
        outputs => unreachable!("{outputs} outputs are not few"),
    }
}

fn run_with<const N: usize>(cpu: Cpu, product: Product<'_>) {
    let Product { patches, weight, epilogue, y, .. } = product;
    let (out, size, shape) = (patches.out(), patches.window().size, weight.shape());
    let of_channel = |channel: usize| {
        (0..shape.taps)
            .map(move |tap| std::array::from_fn(|output| weight.value(output, tap * shape.channels + channel)))
    };
    let weights: Vec<[f32; N]> = (0..shape.channels).flat_map(of_channel).collect();
    let finish = Finish { outputs: N, rows_per_picture: patches.rows_per_picture(), epilogue, gated: false };
    let most = out.height.div_ceil(4 * rayon::current_num_threads()).clamp(1, ROWS);
    let of_picture =
        |picture: usize| (0..out.height).step_by(most).map(move |from| (picture, from..out.height.min(from + most)));
    let tasks: Vec<_> = (0..out.batch).flat_map(of_picture).collect();
    let y = &Output::new(y);
    let width = out.width.next_multiple_of(PIXELS);
    let line = (width + size - 1).next_multiple_of(PANEL);
    tasks.into_par_iter().for_each(|(picture, rows)| {
        let lines = rows.len() + size - 1;
        let pixels = (out.width + size - 1) * shape.channels;
        let (planes, sums) = (CHANNELS * lines * line, N * rows.len() * width);
        let bytes = [pixels, planes, sums].map(bytes_of::<f32>).iter().sum();
        Scratch::with(bytes, |mut scratch| {
            let [pixels, planes, sums] = [pixels, planes, sums].map(|count| scratch.take(count));
            let strip = Strip::<N> {
                patches,
                weights: &weights,
                picture,
                rows,
                lines,
                line,
                width,
                pixels,
                planes,
                sums,
                finish,
                y,
            };
            // SAFETY: each task has other rows.
            unsafe { strip.run(cpu) };
        });
    });
}

/// Some rows of a picture of the result.
struct Strip<'a, const N: usize> {
    patches: Patches<'a>,
    /// `[channels][taps]`, and at each the weight for each output.
    weights: &'a [[f32; N]],
    picture: usize,
    rows: Range<usize>,
    /// How many lines of the padded map they need, and how many numbers there are from one to the next.
    lines: usize,
    line: usize,
    /// How many numbers there are from one row of sums to the next.
    width: usize,
    /// `[columns][all channels]`, of one line.
    pixels: &'a mut [f32],
    /// `[channels][lines][line]`
    planes: &'a mut [f32],
    /// `[outputs][rows][width]`
    sums: &'a mut [f32],
    finish: Finish<'a>,
    y: &'a Output<'a>,
}

impl<const N: usize> Strip<'_, N> {
    /// # Safety
    /// No other task has these rows.
    unsafe fn run(self, cpu: Cpu) {
        struct Compiled<'a, const N: usize>(Strip<'a, N>);
        impl<const N: usize> Task for Compiled<'_, N> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(mut self, simd: S) {
                let strip = &mut self.0;
                let channels = strip.patches.size().channels;
                strip.sums.fill(0.0);
                for first in (0..channels).step_by(CHANNELS) {
                    let channels = first..channels.min(first + CHANNELS);
                    strip.lay_out(simd, channels.clone());
                    if S::SUMS >= 4 * N {
                        strip.add::<S, 4>(simd, channels);
                    } else {
                        strip.add::<S, 1>(simd, channels);
                    }
                }
                // SAFETY: `Strip::run`'s caller promises it.
                unsafe { strip.write(simd) };
            }
        }
        cpu.run(Compiled(self));
    }

    /// Brings some channels of all lines into planes.
    #[inline(always)]
    fn lay_out<S: Simd>(&mut self, simd: S, channels: Range<usize>) {
        let all = self.patches.size().channels;
        let plane = self.lines * self.line;
        for line in 0..self.lines {
            self.patches.copy_line(simd, None, self.picture, self.rows.start + line, self.pixels);
            for (index, channel) in channels.clone().enumerate() {
                let plane = &mut self.planes[index * plane + line * self.line..];
                let pixels = self.pixels[channel..].iter().step_by(all);
                plane.iter_mut().zip(pixels).for_each(|(to, value)| *to = *value);
            }
        }
    }

    /// Adds the products of some channels, of `V` times sixteen pixels at a time.
    #[inline(always)]
    fn add<S: Simd, const V: usize>(&mut self, simd: S, channels: Range<usize>) {
        let size = self.patches.window().size;
        for row in 0..self.rows.len() {
            for from in (0..self.patches.out().width).step_by(V * PANEL) {
                let at = |output: usize| (output * self.rows.len() + row) * self.width + from;
                let mut sums = [[simd.splat(0.0); V]; N];
                for (output, sums) in sums.iter_mut().enumerate() {
                    let from = self.sums[at(output)..].as_chunks().0;
                    sums.iter_mut().zip(from).for_each(|(sum, from)| *sum = simd.load(from));
                }
                for (index, channel) in channels.clone().enumerate() {
                    for i in 0..size {
                        let line = &self.planes[(index * self.lines + row + i) * self.line + from..];
                        let line = &line[..V * PANEL + size - 1];
                        let weights = &self.weights[(channel * size + i) * size..][..size];
                        for (j, weights) in weights.iter().enumerate() {
                            let line: &[[f32; PANEL]; V] = line[j..].as_chunks().0.first_chunk().expect("as many");
                            let mut pixels = [simd.splat(0.0); V];
                            pixels.iter_mut().zip(line).for_each(|(pixels, line)| *pixels = simd.load(line));
                            for (sums, weight) in sums.iter_mut().zip(weights) {
                                let weight = simd.splat(*weight);
                                for (sum, pixels) in sums.iter_mut().zip(pixels) {
                                    *sum = simd.mul_add_each(weight, pixels, *sum);
                                }
                            }
                        }
                    }
                }
                for (output, sums) in sums.iter().enumerate() {
                    let to = self.sums[at(output)..].as_chunks_mut().0;
                    sums.iter().zip(to).for_each(|(sum, to)| simd.store(*sum, to));
                }
            }
        }
    }

    /// # Safety
    /// No other task has these rows.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, simd: S) {
        let width = self.patches.out().width;
        let first = self.picture * self.patches.out().height + self.rows.start;
        let pixels = first * width..(first + self.rows.len()) * width;
        // SAFETY: the caller's promise.
        let y = unsafe { self.y.part(pixels.start * N..pixels.end * N) };
        for (row, y) in y.chunks_exact_mut(width * N).enumerate() {
            let sums: [&[f32]; N] =
                std::array::from_fn(|output| &self.sums[(output * self.rows.len() + row) * self.width..][..width]);
            for (column, y) in y.as_chunks_mut::<N>().0.iter_mut().enumerate() {
                *y = sums.map(|sums| sums[column]);
            }
        }
        // SAFETY: the caller's promise, and the part above is used no more.
        unsafe { self.finish.run_in_place(simd, pixels, self.y) };
    }
}
