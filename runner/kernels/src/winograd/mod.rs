//! 3×3 convolutions with a quarter of the products: Winograd's F(4×4, 3×3).
//!
//! Each tile of 4×4 pixels of the result needs 6×6 of the map. Both they and the weights are evaluated at 36 points, at
//! each of which the channels are summed by a product of matrices; what comes out is interpolated. Transforms and sums are
//! in `f32`; what operands are made of, [`Points`] says.
//!
//! A band of tiles at a time is transformed to memory that all threads share. Tasks then take some tiles of it and some
//! panels of the weight, which are transformed, too: by the task, a block of channels at a time, so that they take no further
//! memory, or for all tasks beforehand, where that is less work. The sums stay in the second cache.

#[cfg(target_arch = "x86_64")]
mod fixed;
mod input;
mod output;
mod points;
mod store;
mod tiles;
mod transform;
mod weight;

use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use self::fixed::Fixed;
use self::input::Inputs;
use self::output::Outputs;
use self::points::{Points, Whole};
use self::store::{Size, Store, Strides, View};
use self::tiles::Tiles;
use self::transform::REACH;
use self::weight::{Transform, Weights};
use crate::gemm::{Block, Finish, Kernel, Output, PANEL, Patches, Product, Scratch, bytes_of};
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512Bf16;
use crate::simd::Simd;
use crate::{Epilogue, Packed};

const POINTS: usize = REACH * REACH;

/// The most tiles of a task.
const TILES: usize = 96;

/// The most panels of a task.
const PANELS: usize = 2;

/// How many numbers of transformed tiles a band has for each thread, and at least for all of them: a few MiB, which stay in
/// the last cache.
const BAND: Range<usize> = 1 << 18..1 << 20;

/// The least tiles of a band: with fewer, transforming the weights costs as much as is saved.
const BAND_TILES: usize = 48;

/// Numbers between one point's sums and the next, so that the points do not all lie in the same set of a cache.
const GAP: usize = PANEL;

/// Whether it is a product for this.
pub(crate) fn suits(product: &Product<'_>) -> bool {
    let window = product.patches.window();
    let channels = product.weight.shape().channels;
    window.size == 3 && window.stride == 1 && channels.is_multiple_of(PANEL) && channels >= 2 * PANEL
}

/// How many tiles its result has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn tiles(product: &Product<'_>) -> usize {
    Tiles::of(product.patches.out()).count()
}

/// Computes it with operands as they are.
pub(crate) fn run<K: Kernel<Element = f32>>(kernel: K, product: Product<'_>) {
    run_at(Whole(kernel), product);
}

/// Computes it with operands of sixteen bits.
#[cfg(target_arch = "x86_64")]
pub(crate) fn run_fixed(kernel: Avx512Bf16, product: Product<'_>) {
    run_at(Fixed(kernel), product);
}

fn run_at<P: Points>(points: P, product: Product<'_>) {
    let Product { patches, weight, epilogue, y, .. } = product;
    let layer = Layer { points, patches, weight, epilogue, tiles: Tiles::of(patches.out()) };
    let y = Output::new(y);
    let all = layer.tiles.count();
    let shares = P::SHARED_WEIGHTS && all > TILES;
    let most = (rayon::current_num_threads() * BAND.start).max(BAND.end) / (POINTS * weight.shape().channels);
    let band = even(all, most.max(BAND_TILES), P::ROWS);
    let (tiles, panels) = layer.cut(band.min(all));
    let bands: Vec<_> = split(0..all, band).into_iter().map(|band| split(band, tiles)).collect();
    let of_band = |blocks: &Vec<Range<usize>>| blocks.iter().map(|block| layer.size(block.len())).sum();
    let inputs = bands.iter().map(of_band).fold(Size::default(), Size::max);
    let weights = if shares { layer.size(PANEL) * layer.panels() } else { Size::default() };
    Scratch::shared(inputs.bytes::<P>() + weights.bytes::<P>(), |mut scratch| {
        let mut inputs = inputs.take::<P>(&mut scratch);
        let mut weights = weights.take::<P>(&mut scratch);
        if shares {
            layer.transform_weights(&mut weights);
        }
        for blocks in bands {
            layer.transform_inputs(&blocks, &mut inputs);
            layer.multiply(&blocks, panels, inputs.view(), shares.then(|| weights.view()), &y);
        }
    });
}

/// The size of parts of `all`, at most `most`, that are about as large as one another and multiples of `of`.
fn even(all: usize, most: usize, of: usize) -> usize {
    all.div_ceil(all.div_ceil(most)).next_multiple_of(of)
}

fn split(range: Range<usize>, part: usize) -> Vec<Range<usize>> {
    range.clone().step_by(part).map(|from| from..range.end.min(from + part)).collect()
}

#[derive(Clone, Copy)]
struct Layer<'a, P> {
    points: P,
    patches: Patches<'a>,
    weight: &'a Packed,
    epilogue: Epilogue<'a>,
    tiles: Tiles,
}

impl<P: Points> Layer<'_, P> {
    fn channels(&self) -> Vec<Range<usize>> {
        let all = self.weight.shape().channels;
        split(0..all, even(all, P::CHANNELS, PANEL))
    }

    fn panels(&self) -> usize {
        self.weight.shape().outputs.div_ceil(PANEL)
    }

    /// The size of some tiles, or of some panels' outputs, at all points in all blocks of channels.
    fn size(&self, rows: usize) -> Size {
        self.channels().iter().map(|channels| Strides::new::<P>(rows, channels.len()).size()).sum()
    }

    /// How many tiles and panels of a band each task takes.
    fn cut(&self, band: usize) -> (usize, usize) {
        let (threads, all) = (rayon::current_num_threads(), self.panels());
        let (mut tiles, mut panels) = (even(band, TILES, P::ROWS), even(all, PANELS, 1));
        let tasks = |tiles, panels| band.div_ceil(tiles) * all.div_ceil(panels);
        while tasks(tiles, panels) < 4 * threads && (panels > 1 || tiles > BAND_TILES) {
            // Fewer tiles make more work where each task transforms its weights.
            (tiles, panels) =
                if panels > 1 { (tiles, panels / 2) } else { (tiles.div_ceil(2).next_multiple_of(P::ROWS), panels) };
        }
        (tiles, panels)
    }

    /// Transforms blocks of tiles: for each, there is one for each block of channels, `[tiles][channels]` at each point.
    fn transform_inputs(&self, blocks: &[Range<usize>], to: &mut Store<'_, P::Number>) {
        let all = self.channels();
        let parts = blocks.iter().flat_map(|block| all.iter().map(|channels| (block.clone(), channels.clone())));
        let strides = parts.clone().map(|(block, channels)| Strides::new::<P>(block.len(), channels.len()));
        let parts: Vec<_> = parts.zip(to.operands(strides)).collect();
        parts.into_par_iter().for_each(|((range, channels), to)| {
            let &Self { points, patches, tiles, .. } = self;
            points.simd().run(Inputs { points, patches, tiles, range, channels, to });
        });
    }

    /// Transforms all panels of the weight: for each, there is one block for each block of channels, `[channels][16]` at each
    /// point.
    fn transform_weights(&self, to: &mut Store<'_, P::Number>) {
        let all = self.channels();
        let parts = (0..self.panels()).flat_map(|panel| all.iter().map(move |channels| (panel, channels.clone())));
        let strides = parts.clone().map(|(_, channels)| Strides::new::<P>(PANEL, channels.len()));
        let parts: Vec<_> = parts.zip(to.operands(strides)).collect();
        parts.into_par_iter().for_each(|((panel, channels), mut to)| {
            Scratch::with(bytes_of::<f32>(P::WEIGHT_VALUES), |mut scratch| {
                let values = scratch.take(P::WEIGHT_VALUES);
                let (points, weights) = (self.points, Weights { weight: self.weight, panel, channels });
                points.simd().run(Transform { points, weights, index: 0, values, to: &mut to });
            });
        });
    }

    fn multiply(
        &self,
        blocks: &[Range<usize>],
        panels: usize,
        inputs: View<'_, P::Number>,
        weights: Option<View<'_, P::Number>>,
        y: &Output<'_>,
    ) {
        let mut parts = Vec::new();
        let mut at = Size::default();
        for block in blocks {
            let from = inputs.from(at);
            at = at + self.size(block.len());
            parts.extend(split(0..self.panels(), panels).into_iter().map(|panels| (block.clone(), from, panels)));
        }
        parts.into_par_iter().for_each(|(block, from, panels)| {
            let weights = weights.map(|weights| weights.from(self.size(PANEL) * panels.start));
            self.multiply_block(block, from, panels, weights, y);
        });
    }

    /// Multiplies some tiles with some panels of the weight, and writes the result. `weights` are transformed here if there are
    /// none yet.
    fn multiply_block(
        &self,
        tiles: Range<usize>,
        mut inputs: View<'_, P::Number>,
        panels: Range<usize>,
        mut weights: Option<View<'_, P::Number>>,
        y: &Output<'_>,
    ) {
        let points = self.points;
        let all = self.channels();
        let of_panel = tiles.len() * PANEL;
        let stride = panels.len() * of_panel + GAP;
        let (size, values) = match weights {
            Some(_) => (Size::default(), 0),
            None => (Strides::new::<P>(panels.len() * PANEL, all[0].len()).size(), P::WEIGHT_VALUES),
        };
        let bytes = bytes_of::<f32>(POINTS * stride) + size.bytes::<P>() + bytes_of::<f32>(values);
        Scratch::with(bytes, |mut scratch| {
            let sums: &mut [f32] = scratch.take(POINTS * stride);
            let mut own = size.take::<P>(&mut scratch);
            let values: &mut [f32] = scratch.take(values);
            for channels in all {
                let (width, add) = (channels.len(), channels.start > 0);
                let (right, strides, next) = match weights {
                    Some(all) => (all, Strides::new::<P>(PANEL, width), self.size(PANEL)),
                    None => {
                        let strides = Strides::new::<P>(panels.len() * PANEL, width);
                        let mut to = strides.operand(&mut own);
                        for (index, panel) in panels.clone().enumerate() {
                            let weights = Weights { weight: self.weight, panel, channels: channels.clone() };
                            points.simd().run(Transform { points, weights, index, values, to: &mut to });
                        }
                        let next = Size { numbers: PANEL * width, scales: P::SCALES * PANEL };
                        (own.view(), strides, next)
                    }
                };
                let left = Strides::new::<P>(tiles.len(), width);
                for point in 0..POINTS {
                    let a = inputs.side(left.point(point), left.rows(), Size::default());
                    for first in (0..panels.len()).step_by(P::PANELS) {
                        let count = P::PANELS.min(panels.len() - first);
                        let size = next * (count - 1) + Strides::new::<P>(PANEL, width).rows();
                        let b = right.side(strides.point(point) + next * first, size, next);
                        let c = &mut sums[point * stride + first * of_panel..][..count * of_panel];
                        let block = Block {
                            rows: tiles.len(),
                            panels: count,
                            inputs: width,
                            a_stride: width,
                            b_stride: next.numbers,
                            c_stride: of_panel,
                            add,
                        };
                        // SAFETY: the slices are as long as the block, and those of weights and sums begin at multiples of
                        // 64 bytes.
                        unsafe { points.multiply(block, a, b, c) };
                    }
                }
                inputs = inputs.from(left.size());
                weights = weights.map(|weights| weights.from(Strides::new::<P>(PANEL, width).size()));
            }
            let finish = Finish {
                outputs: self.weight.shape().outputs,
                rows_per_picture: self.patches.rows_per_picture(),
                epilogue: self.epilogue,
                gated: false,
            };
            let outputs = Outputs {
                tiles: self.tiles,
                range: tiles,
                panels,
                from: sums,
                stride,
                out: self.patches.out(),
                finish,
                y,
            };
            // SAFETY: tasks have different tiles or different panels.
            unsafe { outputs.run(points.simd()) };
        });
    }
}
