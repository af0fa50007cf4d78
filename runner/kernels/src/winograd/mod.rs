//! 3×3 convolutions with a quarter of the products: Winograd's F(4×4, 3×3).
//!
//! Each tile of 4×4 pixels of the result needs 6×6 of the map. Both they and the weights are evaluated at 36 points, at
//! each of which the channels are summed by a product of matrices; what comes out is interpolated. Transforms and sums are
//! in `f32`; what operands are made of, [`Points`] says.
//!
//! Where there are many tiles, a task takes some of them all the way. Otherwise, tiles are transformed beforehand, to memory
//! that all threads share, and tasks take some tiles of it and some panels of the weight. That is transformed beforehand,
//! too, where several tasks need the same panels and it is not too large, or else by each task, a block of channels at a time.
//! The sums stay in the second cache.

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
use crate::gemm::{Block, Finish, Kernel, Output, PANEL, Patches, Product, Scratch, bytes_of, even, split};
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512Vnni;
use crate::simd::Simd;
use crate::{Epilogue, Packed};

const POINTS: usize = REACH * REACH;

/// The most tiles of a task.
const TILES: usize = 96;

/// The most panels that are multiplied before their result is written.
const PANELS: usize = 2;

/// The most tiles of a task that transforms them itself: they and their sums stay in the second cache where there are not
/// too many channels.
const BLOCK_TILES: usize = 48;

/// How many numbers of transformed weights all tasks share in any case: 1 MiB of them, beside which a task's tiles still fit
/// into the second cache.
const FEW_WEIGHTS: usize = 1 << 18;

/// The least of such tasks: with fewer, there are more weights than tiles, which tasks then should have more of.
const BLOCKS: usize = 16;

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
pub(crate) fn run_fixed(kernel: Avx512Vnni, product: Product<'_>) {
    run_at(Fixed(kernel), product);
}

fn run_at<P: Points>(points: P, product: Product<'_>) {
    let Product { patches, weight, epilogue, y, .. } = product;
    let layer = Layer { points, patches, weight, epilogue, tiles: Tiles::of(patches.out()) };
    let y = &Output::new(y);
    let tiles = layer.tiles.count();
    let weights = layer.size(PANEL) * layer.panels();
    let shared = tiles > TILES && (P::SHARED_WEIGHTS || weights.numbers <= FEW_WEIGHTS);
    let weights = if shared { weights } else { Size::default() };
    let bands = if !shared || tiles < BLOCKS * BLOCK_TILES { layer.bands() } else { Bands::default() };
    Scratch::shared(weights.bytes::<P>() + bands.size.bytes::<P>(), |mut scratch| {
        let shared = shared.then(|| {
            let mut weights = weights.take::<P>(&mut scratch);
            layer.transform_weights(&mut weights);
            weights
        });
        match shared.as_ref().map(Store::view) {
            Some(weights) if bands.blocks.is_empty() => layer.run_in_blocks(weights, y),
            weights => layer.run_in_bands(&bands, bands.size.take::<P>(&mut scratch), weights, y),
        }
    });
}

/// The tiles of a layer in parts.
#[derive(Default)]
struct Bands {
    /// Of each band, the tiles of each task.
    blocks: Vec<Vec<Range<usize>>>,
    /// The panels of each task.
    panels: usize,
    /// Of the largest band.
    size: Size,
}

/// The weights of some panels.
enum Right<'a, N> {
    /// Transformed already, and these are the next channels.
    Ready(View<'a, N>),
    /// To be transformed, a block of channels at a time.
    Own { store: Store<'a, N>, values: &'a mut [f32] },
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
    /// A task takes some tiles all the way.
    fn run_in_blocks(&self, weights: View<'_, P::Number>, y: &Output<'_>) {
        let all = self.tiles.count();
        split(0..all, even(all, BLOCK_TILES, P::ROWS)).into_par_iter().for_each(|block| {
            let (size, sums) = (self.size(block.len()), self.sums(block.len(), PANELS));
            Scratch::with(size.bytes::<P>() + bytes_of::<f32>(sums), |mut scratch| {
                let mut inputs = size.take::<P>(&mut scratch);
                let sums = scratch.take(sums);
                for part in self.inputs_of(std::slice::from_ref(&block), &mut inputs) {
                    self.points.simd().run(part);
                }
                for panels in split(0..self.panels(), PANELS) {
                    let mut weights = Right::Ready(weights.from(self.size(PANEL) * panels.start));
                    self.multiply(block.clone(), inputs.view(), panels, &mut weights, sums, y);
                }
            });
        });
    }

    fn bands(&self) -> Bands {
        let all = self.tiles.count();
        let most = (rayon::current_num_threads() * BAND.start).max(BAND.end);
        let band = even(all, (most / (POINTS * self.weight.shape().channels)).max(BAND_TILES), P::ROWS);
        let (tiles, panels) = self.cut(band.min(all));
        let blocks: Vec<_> = split(0..all, band).into_iter().map(|band| split(band, tiles)).collect();
        let of_band = |blocks: &Vec<Range<usize>>| blocks.iter().map(|block| self.size(block.len())).sum();
        let size = blocks.iter().map(of_band).fold(Size::default(), Size::max);
        Bands { blocks, panels, size }
    }

    /// A band of tiles at a time is transformed before tasks take some of its tiles and some panels of the weight.
    fn run_in_bands(
        &self,
        bands: &Bands,
        mut inputs: Store<'_, P::Number>,
        weights: Option<View<'_, P::Number>>,
        y: &Output<'_>,
    ) {
        for blocks in &bands.blocks {
            let parts: Vec<_> = self.inputs_of(blocks, &mut inputs).collect();
            parts.into_par_iter().for_each(|part| self.points.simd().run(part));
            self.multiply_band(blocks, bands.panels, inputs.view(), weights, y);
        }
    }

    fn multiply_band(
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
            let (size, values) = match weights {
                Some(_) => (Size::default(), 0),
                None => (Strides::new::<P>(panels.len() * PANEL, self.channels()[0].len()).size(), P::WEIGHT_VALUES),
            };
            let sums = self.sums(block.len(), panels.len());
            let bytes = size.bytes::<P>() + bytes_of::<f32>(values) + bytes_of::<f32>(sums);
            Scratch::with(bytes, |mut scratch| {
                let mut right = match weights {
                    Some(weights) => Right::Ready(weights.from(self.size(PANEL) * panels.start)),
                    None => Right::Own { store: size.take::<P>(&mut scratch), values: scratch.take(values) },
                };
                let sums = scratch.take(sums);
                self.multiply(block, from, panels, &mut right, sums, y);
            });
        });
    }

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

    /// How many sums some tiles have at all points for some panels.
    fn sums(&self, tiles: usize, panels: usize) -> usize {
        POINTS * (tiles * panels * PANEL + GAP)
    }

    /// What transforms blocks of tiles: for each, there is one for each block of channels, `[tiles][channels]` at each point.
    fn inputs_of<'a>(
        &'a self,
        blocks: &'a [Range<usize>],
        to: &'a mut Store<'_, P::Number>,
    ) -> impl Iterator<Item = Inputs<'a, P>> {
        let all = self.channels();
        let parts =
            blocks.iter().flat_map(move |block| all.clone().into_iter().map(|channels| (block.clone(), channels)));
        let strides = parts.clone().map(|(block, channels)| Strides::new::<P>(block.len(), channels.len()));
        parts.zip(to.operands(strides)).map(|((range, channels), to)| {
            let &Self { points, patches, tiles, .. } = self;
            Inputs { points, patches, tiles, range, channels, to }
        })
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

    /// Multiplies some tiles with some panels of the weight, and writes the result.
    fn multiply(
        &self,
        tiles: Range<usize>,
        mut inputs: View<'_, P::Number>,
        panels: Range<usize>,
        weights: &mut Right<'_, P::Number>,
        sums: &mut [f32],
        y: &Output<'_>,
    ) {
        let points = self.points;
        let of_panel = tiles.len() * PANEL;
        let stride = panels.len() * of_panel + GAP;
        for channels in self.channels() {
            let (width, add) = (channels.len(), channels.start > 0);
            let one = Strides::new::<P>(PANEL, width);
            let (right, strides, next) = match weights {
                Right::Ready(all) => {
                    let this = *all;
                    *all = all.from(one.size());
                    (this, one, self.size(PANEL))
                }
                Right::Own { store, values } => {
                    let strides = Strides::new::<P>(panels.len() * PANEL, width);
                    let mut to = strides.operand(store);
                    for (index, panel) in panels.clone().enumerate() {
                        let weights = Weights { weight: self.weight, panel, channels: channels.clone() };
                        points.simd().run(Transform { points, weights, index, values, to: &mut to });
                    }
                    (store.view(), strides, one.rows())
                }
            };
            let left = Strides::new::<P>(tiles.len(), width);
            for point in 0..POINTS {
                let a = inputs.side(left.point(point), left.rows(), Size::default());
                for first in (0..panels.len()).step_by(P::PANELS) {
                    let count = P::PANELS.min(panels.len() - first);
                    let size = next * (count - 1) + one.rows();
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
                    // SAFETY: the slices are as long as the block, and those of weights and sums begin at multiples of 64
                    // bytes.
                    unsafe { points.multiply(block, a, b, c) };
                }
            }
            inputs = inputs.from(left.size());
        }
        let finish = Finish {
            outputs: self.weight.shape().outputs,
            rows_per_picture: self.patches.rows_per_picture(),
            epilogue: self.epilogue,
            gated: false,
        };
        let outputs =
            Outputs { tiles: self.tiles, range: tiles, panels, from: sums, stride, out: self.patches.out(), finish, y };
        // SAFETY: tasks have different tiles or different panels.
        unsafe { outputs.run(points.simd()) };
    }
}
