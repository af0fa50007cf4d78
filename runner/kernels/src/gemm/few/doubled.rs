//! Of maps whose pixels are doubled: each pixel of the map has four of the result, which see the same 3×3 of its neighbours.
//!
//! Taps that see the same pixel are added up, and what was few outputs becomes four times as many of a smaller map.

use std::ops::Range;

use rayon::prelude::*;

use crate::conv::{MapSize, Window};
use crate::gemm::{self, Finish, Output, PANEL, Patches, Product, Scratch, bytes_of};
use crate::simd::{Simd, Task};
use crate::{Cpu, Edge, Epilogue, Format, Packed, WeightShape};

/// The most outputs: those of four pixels are as many as the largest kernels multiply at once.
const OUTPUTS: usize = PANEL / 2;

/// The kernel's width, and that of the neighbourhood.
const SIZE: usize = 3;

/// Of a map that has its edges already.
const INNER: Window = Window { size: SIZE, stride: 1, before: 0, after: 0, repeat: 1, edge: Edge::Zeros };

/// Whether it is a product for this.
pub(in crate::gemm) fn suits(product: &Product<'_>) -> bool {
    let Window { size, stride, before, after, repeat, edge: _ } = product.patches.window();
    (size, stride, before, after, repeat) == (SIZE, 1, 1, 1, 2) && product.weight.shape().outputs <= OUTPUTS
}

/// Computes it.
pub(in crate::gemm) fn run(cpu: Cpu, product: Product<'_>) {
    let Product { patches, weight, epilogue, y, .. } = product;
    let (map, out, outputs) = (patches.size(), patches.out(), weight.shape().outputs);
    let finish = Finish { outputs, rows_per_picture: patches.rows_per_picture(), epilogue, gated: false };
    let edged = MapSize { height: map.height + 2, width: map.width + 2, ..map };
    let line = edged.width * edged.channels;
    let values = map.batch * map.height * map.width * 4 * outputs;
    let all = patches.points().in_place().expect("each pixel alone is in place");
    Scratch::whole(bytes_of::<f32>(edged.values()) + bytes_of::<f32>(values), |mut scratch| {
        let (x, sums): (&mut [f32], &mut [f32]) = (scratch.take(edged.values()), scratch.take(values));
        x.par_chunks_exact_mut(line).enumerate().for_each(|(row, to)| {
            let (picture, row) = (row / edged.height, first(row % edged.height, out.height));
            let pixel = |column: usize, to: &mut [f32]| match patches.pixel(picture, row, column) {
                Some(pixel) => to.copy_from_slice(pixel),
                None => to.fill(0.0),
            };
            let (left, to) = to.split_at_mut(map.channels);
            let (middle, right) = to.split_at_mut(map.width * map.channels);
            match patches.line(row) {
                Some(row) => {
                    middle.copy_from_slice(&all[(picture * map.height + row) * middle.len()..][..middle.len()])
                }
                None => middle.fill(0.0),
            }
            pixel(0, left);
            pixel(out.width + 1, right);
        });
        let (weight, epilogue) = (&of_four(weight), Epilogue::default());
        gemm::run(
            cpu,
            Product { patches: Patches::new(x, edged, INNER), weight, epilogue, gated: false, y: &mut *sums },
        );
        let y = &Output::new(y);
        sums.par_chunks_exact(map.width * 4 * outputs).enumerate().for_each(|(row, sums)| {
            cpu.run(TwoRows { sums, width: out.width, rows: 2 * row..2 * (row + 1), finish, y });
        });
    });
}

/// Puts the outputs of a row of the map where they belong.
struct TwoRows<'a> {
    /// Of each pixel those of its two pixels above, then of those below.
    sums: &'a [f32],
    /// Of the result, and which of its rows these are. No other task has them.
    width: usize,
    rows: Range<usize>,
    finish: Finish<'a>,
    y: &'a Output<'a>,
}

impl Task for TwoRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sums, width, rows, finish, y } = self;
        let (pair, pixels) = (2 * finish.outputs, rows.start * width..rows.end * width);
        // SAFETY: no other task has these rows.
        let to = unsafe { y.part(pixels.start * finish.outputs..pixels.end * finish.outputs) };
        let (above, below) = to.split_at_mut(width * finish.outputs);
        let pairs = above.chunks_exact_mut(pair).zip(below.chunks_exact_mut(pair));
        for ((above, below), sums) in pairs.zip(sums.chunks_exact(2 * pair)) {
            above.copy_from_slice(&sums[..pair]);
            below.copy_from_slice(&sums[pair..]);
        }
        // SAFETY: as above, and that part is used no more.
        unsafe { finish.run_in_place(simd, pixels, y) };
    }
}

/// The first of the padded map's rows, of which there are two more than `doubled`, that repeats one of the edged map.
fn first(row: usize, doubled: usize) -> usize {
    (2 * row).min(doubled + 1)
}

/// The weights for the outputs of four pixels, row after row.
fn of_four(weight: &Packed) -> Packed {
    let WeightShape { outputs, channels, taps } = weight.shape();
    let mut sums = vec![0.0; 4 * outputs * channels * taps];
    for (index, sums) in sums.chunks_exact_mut(taps).enumerate() {
        let (pixel, output, channel) = (index / channels / outputs, index / channels % outputs, index % channels);
        for tap in 0..taps {
            let seen = |pixel: usize, tap: usize| (pixel + tap).div_ceil(2);
            let at = seen(pixel / 2, tap / SIZE) * SIZE + seen(pixel % 2, tap % SIZE);
            sums[at] += weight.value(output, tap * channels + channel);
        }
    }
    Packed::pack(&sums, WeightShape { outputs: 4 * outputs, channels, taps }, Format::F32)
}
