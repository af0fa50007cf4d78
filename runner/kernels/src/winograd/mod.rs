//! 3×3 convolutions with a quarter of the products: Winograd's F(4×4, 3×3).
//!
//! Each tile of 4×4 pixels of the result needs 6×6 of the map. Both they and the weights are evaluated at 36 points, at
//! each of which the channels are summed by a product of matrices; what comes out is interpolated. All of it is in `f32`.
//!
//! A band of tiles at a time is transformed to memory that all threads share. Tasks then take some tiles of it and some
//! panels of the weight, which they transform themselves, a block of channels at a time, so that weights take no further
//! memory: both they and the sums stay in the second cache.

mod input;
mod output;
mod tiles;
mod transform;
mod weight;

use std::ops::Range;

use rayon::prelude::*;

use self::input::Inputs;
use self::output::Outputs;
use self::tiles::Tiles;
use self::transform::REACH;
use self::weight::Weights;
use crate::gemm::{Block, Finish, Kernel, Output, PANEL, Patches, Product, Scratch, bytes_of};
use crate::simd::Simd;
use crate::{Epilogue, Packed};

const POINTS: usize = REACH * REACH;

/// The largest block of channels.
const CHANNELS: usize = 96;

/// The most tiles of a task.
const TILES: usize = 96;

/// The most panels of a task.
const PANELS: usize = 2;

/// How many numbers of transformed tiles a band has for each thread, and at least for all of them: 8 MiB, which stay in
/// the last cache.
const BAND: Range<usize> = 1 << 19..1 << 21;

/// The least tiles of a band: with fewer, transforming the weights costs as much as is saved.
const BAND_TILES: usize = 48;

/// Numbers between one point's block and the next, so that the points do not all lie in the same set of a cache.
const GAP: usize = PANEL;

/// Whether it is a product for this.
pub(crate) fn suits(product: &Product<'_>) -> bool {
    let window = product.patches.window();
    let channels = product.weight.shape().channels;
    window.size == 3 && window.stride == 1 && channels.is_multiple_of(PANEL) && channels >= 2 * PANEL
}

/// How many tiles its result has.
pub(crate) fn tiles(product: &Product<'_>) -> usize {
    Tiles::of(product.patches.out()).count()
}

/// Computes it.
pub(crate) fn run<K: Kernel<Element = f32>>(kernel: K, product: Product<'_>) {
    let Product { patches, weight, epilogue, y } = product;
    let layer = Layer { patches, weight, epilogue, tiles: Tiles::of(patches.out()) };
    let y = Output::new(y);
    let threads = rayon::current_num_threads();
    let all = layer.tiles.count();
    let most = (threads * BAND.start).max(BAND.end) / (POINTS * weight.shape().channels);
    for band in split(0..all, even(all, most.max(BAND_TILES), K::ROWS)) {
        let (tiles, panels) = layer.cut::<K>(band.len(), threads);
        let blocks = split(band, tiles);
        let length = blocks.iter().map(|block| layer.length(block.len())).sum();
        Scratch::shared(bytes_of::<f32>(length), |mut scratch| {
            let transformed = scratch.take(length);
            layer.transform(kernel, &blocks, transformed);
            layer.multiply(kernel, &blocks, panels, transformed, &y);
        });
    }
}

/// The size of parts of `all`, at most `most`, that are about as large as one another and multiples of `of`.
fn even(all: usize, most: usize, of: usize) -> usize {
    all.div_ceil(all.div_ceil(most)).next_multiple_of(of)
}

fn split(range: Range<usize>, part: usize) -> Vec<Range<usize>> {
    range.clone().step_by(part).map(|from| from..range.end.min(from + part)).collect()
}

#[derive(Clone, Copy)]
struct Layer<'a> {
    patches: Patches<'a>,
    weight: &'a Packed,
    epilogue: Epilogue<'a>,
    tiles: Tiles,
}

impl Layer<'_> {
    fn channels(&self) -> Vec<Range<usize>> {
        let all = self.weight.shape().channels;
        split(0..all, even(all, CHANNELS, PANEL))
    }

    /// How many numbers that many transformed tiles are.
    fn length(&self, tiles: usize) -> usize {
        POINTS * (tiles * self.weight.shape().channels + GAP * self.channels().len())
    }

    /// How many tiles and panels of a band each task takes.
    fn cut<K: Kernel>(&self, band: usize, threads: usize) -> (usize, usize) {
        let all = self.weight.shape().outputs.div_ceil(PANEL);
        let (mut tiles, mut panels) = (even(band, TILES, K::ROWS), even(all, PANELS, 1));
        let tasks = |tiles, panels| band.div_ceil(tiles) * all.div_ceil(panels);
        while tasks(tiles, panels) < 4 * threads && (panels > 1 || tiles > BAND_TILES) {
            // Fewer tiles make more work, for each transforms the weights again.
            (tiles, panels) =
                if panels > 1 { (tiles, panels / 2) } else { (tiles.div_ceil(2).next_multiple_of(K::ROWS), panels) };
        }
        (tiles, panels)
    }

    /// Transforms blocks of tiles, in each of which there is for each block of channels and each point `[tiles][channels]`.
    fn transform<K: Kernel>(&self, kernel: K, blocks: &[Range<usize>], transformed: &mut [f32]) {
        let mut parts = Vec::new();
        let mut rest = transformed;
        for block in blocks {
            for channels in self.channels() {
                let stride = block.len() * channels.len() + GAP;
                let (to, after) = rest.split_at_mut(POINTS * stride);
                rest = after;
                let (patches, tiles) = (self.patches, self.tiles);
                parts.push(Inputs { patches, tiles, range: block.clone(), channels, to, stride });
            }
        }
        parts.into_par_iter().for_each(|part| kernel.simd().run(part));
    }

    fn multiply<K: Kernel<Element = f32>>(
        &self,
        kernel: K,
        blocks: &[Range<usize>],
        panels: usize,
        transformed: &[f32],
        y: &Output<'_>,
    ) {
        let mut parts = Vec::new();
        let mut rest = transformed;
        for block in blocks {
            let (from, after) = rest.split_at(self.length(block.len()));
            rest = after;
            let all = self.weight.shape().outputs.div_ceil(PANEL);
            parts.extend(split(0..all, panels).into_iter().map(|panels| (block.clone(), from, panels)));
        }
        parts.into_par_iter().for_each(|(block, from, panels)| {
            kernel.session(|| self.multiply_block(kernel, block, from, panels, y));
        });
    }

    fn multiply_block<K: Kernel<Element = f32>>(
        &self,
        kernel: K,
        tiles: Range<usize>,
        transformed: &[f32],
        panels: Range<usize>,
        y: &Output<'_>,
    ) {
        let all = self.channels();
        let widest = all[0].len();
        let panel_length = tiles.len() * PANEL;
        let (sums_stride, weights_stride) = (panels.len() * panel_length + GAP, panels.len() * widest * PANEL + GAP);
        let bytes = bytes_of::<f32>(POINTS * sums_stride) + bytes_of::<f32>(POINTS * weights_stride);
        Scratch::with(bytes, |mut scratch| {
            let sums: &mut [f32] = scratch.take(POINTS * sums_stride);
            let weights: &mut [f32] = scratch.take(POINTS * weights_stride);
            let mut rest = transformed;
            for channels in all {
                let width = channels.len();
                for (index, panel) in panels.clone().enumerate() {
                    let to = &mut weights[index * width * PANEL..];
                    let (weight, channels) = (self.weight, channels.clone());
                    kernel.simd().run(Weights { weight, panel, channels, to, stride: weights_stride });
                }
                let stride = tiles.len() * width + GAP;
                let (transformed, after) = rest.split_at(POINTS * stride);
                rest = after;
                for point in 0..POINTS {
                    let a = &transformed[point * stride..][..tiles.len() * width];
                    for first in (0..panels.len()).step_by(K::PANELS) {
                        let count = K::PANELS.min(panels.len() - first);
                        let b = &weights[point * weights_stride + first * width * PANEL..][..count * width * PANEL];
                        let c = &mut sums[point * sums_stride + first * panel_length..][..count * panel_length];
                        let block = Block {
                            rows: tiles.len(),
                            panels: count,
                            inputs: width,
                            a_stride: width,
                            b_stride: width * PANEL,
                            c_stride: panel_length,
                            add: channels.start > 0,
                        };
                        // SAFETY: the slices are as long as the block, and all begin at multiples of 64 bytes.
                        unsafe { kernel.multiply(block, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
                    }
                }
            }
            let finish = Finish {
                outputs: self.weight.shape().outputs,
                rows_per_picture: self.patches.rows_per_picture(),
                epilogue: self.epilogue,
            };
            let outputs = Outputs {
                tiles: self.tiles,
                range: tiles,
                panels,
                from: sums,
                stride: sums_stride,
                out: self.patches.out(),
                finish,
                y,
            };
            // SAFETY: tasks have different tiles or different panels.
            unsafe { outputs.run(kernel.simd()) };
        });
    }
}
