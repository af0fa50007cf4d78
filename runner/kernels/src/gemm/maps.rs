//! Products whose left operand is a map of `bf16`, with AMX.
//!
//! The map is rounded once, with what is around its edges, and tiles are loaded from where their pixels are: for another tap
//! of the kernel they begin elsewhere. A task computes some positions of some outputs, whose weights and pixels are in the
//! second cache. Of a large map it rounds the lines that it needs itself, some at a time. Rows that are rounded already are read
//! where they are.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::amx::{Runs, TILE_INPUTS, TILE_ROWS, Tiles};
use super::driver::{Call, Panels, Product};
use super::finish::{Finish, Output, Sums};
use super::{Element, Kernel, PANEL, Patches, Scratch, bytes_of};
use crate::Packed;
use crate::amx::Amx;
use crate::conv::{Edge, MapSize, Window};
use crate::element::Values;
use crate::norm::Normal;

/// The positions that are multiplied at once.
const GROUP: usize = 2 * TILE_ROWS;

/// The most positions of a task.
const POSITIONS: usize = 256;

/// How many numbers of a map the positions of a task read at most, unless they are [`LEAST_POSITIONS`].
const READ: usize = 1 << 18;

const LEAST_POSITIONS: usize = 128;

/// About how many numbers of the map a group reads while sums stay in the tiles: 42 KiB, which stay in the first cache for
/// all weights that are multiplied with them, as those are loaded past it.
const NEAR: usize = 21 << 10;

/// How many weights are multiplied with all positions of a task before others are: with the pixels, they stay in half of the
/// second cache, of which another thread of the core may have the other.
const WEIGHTS: usize = 1 << 17;

/// The most calls for those.
const CALLS: usize = 10;

/// How many numbers of a map all threads share: 8 MiB, which stay in the last cache.
const SHARED: usize = 1 << 22;

/// How many numbers of a map a task has of its own: 768 KiB, which stay in the second cache.
const OWN: usize = 3 << 17;

/// How many strips a large map has for each thread.
const STRIPS: usize = 8;

/// How many numbers are worth a task of rounding them.
const ROUNDED: usize = 1 << 14;

/// Whether it is a product for this: a tile takes inputs of one line of a kernel.
pub(super) fn suits<X: Element, Y>(product: &Product<'_, X, Y>) -> bool {
    product.patches.in_place().is_some() || product.weight.shape().channels.is_multiple_of(TILE_INPUTS)
}

/// Whether the map can be normalised while it is rounded.
pub(super) fn normalises(product: &Product<'_>) -> bool {
    let Window { repeat, edge, .. } = product.patches.window();
    suits(product) && repeat == 1 && edge == Edge::Zeros
}

/// Computes it, of the map normalised first if [`normalises`] allows it.
pub(super) fn run<X: Element, Y: Element>(kernel: Amx, product: Product<'_, X, Y>, normal: Option<&Normal>) {
    let Product { patches, weight, epilogue, gated, y } = product;
    let outputs = weight.shape().outputs / if gated { 2 } else { 1 };
    let layer = Layer {
        kernel,
        patches: patches.as_lines(),
        weight,
        finish: Finish { outputs, rows_per_picture: patches.rows_per_picture(), epilogue, gated },
        channels: weight.shape().channels.next_multiple_of(TILE_INPUTS),
        normal,
    };
    let y = &Output::new(y);
    let out = layer.patches.out();
    let all = Band { pictures: 0..out.batch, lines: 0..out.height };
    if let Some(map) = layer.rounded() {
        layer.take(&all, map, y);
    } else if layer.numbers(&all) <= SHARED {
        layer.run(&all, y);
    } else {
        layer.run_in_strips(y);
    }
}

#[derive(Clone, Copy)]
struct Layer<'a, X> {
    kernel: Amx,
    patches: Patches<'a, X>,
    weight: &'a Packed,
    finish: Finish<'a>,
    /// Of a pixel, filled up with zeros.
    channels: usize,
    normal: Option<&'a Normal>,
}

/// Lines of the result: some of one picture, or all of all of them.
#[derive(Clone)]
struct Band {
    pictures: Range<usize>,
    lines: Range<usize>,
}

/// How the result's positions are counted, and where in the map their first tap is.
///
/// Lines of positions are filled up: to whole tiles, or, where that is less, to the lines of the map. Those follow one another
/// in memory, so that a tile may begin in one and end in the next.
#[derive(Clone, Copy)]
struct Grid {
    /// The result's.
    out: MapSize,
    /// The first line of the result.
    first: usize,
    /// Lines of the result in a picture.
    lines: usize,
    /// Positions in a line.
    line: usize,
    /// Lines of positions in a picture.
    all_lines: usize,
    /// The map's lines in a picture.
    map_lines: usize,
    /// Numbers in a line of the map.
    pitch: usize,
    /// Numbers from a position's pixel to the next one's.
    step: usize,
    /// Lines of the map from a line of positions to the next.
    stride: usize,
}

impl<X: Element> Layer<'_, X> {
    /// Pixels in a line of the map, with those around it.
    fn width(&self) -> usize {
        self.patches.padded_width()
    }

    fn grid(&self, band: &Band) -> Grid {
        let (out, window) = (self.patches.out(), self.patches.window());
        let lines = band.lines.len();
        let map_lines = (lines - 1) * window.stride + window.size;
        let whole = out.width.next_multiple_of(TILE_ROWS);
        let is_whole = window.stride > 1 || whole <= self.width();
        Grid {
            out,
            first: band.pictures.start * out.height + band.lines.start,
            lines,
            line: if is_whole { whole } else { self.width() },
            all_lines: if is_whole { lines } else { map_lines },
            map_lines,
            pitch: self.width() * self.channels,
            step: window.stride * self.channels,
            stride: window.stride,
        }
    }

    /// How many numbers a band's map has. Behind it is what the last tile reads of positions that are not there.
    fn numbers(&self, band: &Band) -> usize {
        let grid = self.grid(band);
        let size = self.patches.window().size;
        band.pictures.len() * grid.map_lines * grid.pitch + TILE_ROWS * grid.step + size * self.channels
    }

    /// The map, if it is rounded already and can be read where it is: it is whole tiles.
    fn rounded(&self) -> Option<&[bf16]> {
        let is_whole = self.patches.size().channels == self.channels && self.patches.rows().is_multiple_of(TILE_ROWS);
        self.patches.in_place().and_then(|x| bf16::of(X::values(x))).filter(|_| is_whole)
    }

    /// The map of a band is rounded by all threads.
    fn run<Y: Element>(&self, band: &Band, y: &Output<'_, Y>) {
        let count = self.numbers(band);
        Scratch::shared(bytes_of::<bf16>(count), |mut scratch| {
            let map: &mut [bf16] = scratch.take(count);
            let grid = self.grid(band);
            let (lines, rest) = map.split_at_mut(band.pictures.len() * grid.map_lines * grid.pitch);
            rest.fill(bf16::ZERO);
            // Not too little work for a task.
            let least = ROUNDED / grid.pitch;
            lines.par_chunks_exact_mut(grid.pitch).with_min_len(least.max(1)).enumerate().for_each(|(index, to)| {
                self.round(band, band.pictures.start + index / grid.map_lines, index % grid.map_lines, to);
            });
            self.take(band, map, y);
        });
    }

    /// Each thread takes some positions and some panels of a band's map.
    fn take<Y: Element>(&self, band: &Band, map: &[bf16], y: &Output<'_, Y>) {
        let grid = self.grid(band);
        let chunks = self.chunks(&grid);
        self.cut(&grid, band.pictures.len()).into_par_iter().for_each(|(positions, range)| {
            let panels = Panels { range, gates: self.finish.gated.then_some(self.panels()) };
            let sums = self.sums(&chunks, positions.len());
            Scratch::with(bytes_of::<f32>(sums), |mut scratch| {
                let c = scratch.take(sums);
                // SAFETY: tasks have different positions or different panels.
                self.kernel.session(|| unsafe { self.multiply(&grid, &chunks, map, positions, &panels, c, y) });
            });
            y.written();
        });
    }

    /// Each task takes lines of one picture from rounding to the result, some at a time, whose map stays in the second cache.
    fn run_in_strips<Y: Element>(&self, y: &Output<'_, Y>) {
        let (out, Window { stride, size, .. }) = (self.patches.out(), self.patches.window());
        let pitch = self.width() * self.channels;
        let most = ((OWN / pitch).saturating_sub(size) / stride + 1).min(out.height);
        let strip = out.height.div_ceil(STRIPS * rayon::current_num_threads()).next_multiple_of(most);
        let split = |range: Range<usize>, part: usize| {
            range.clone().step_by(part).map(move |from| from..range.end.min(from + part))
        };
        let strips: Vec<_> =
            (0..out.batch).flat_map(|picture| split(0..out.height, strip).map(move |lines| (picture, lines))).collect();
        strips.into_par_iter().for_each(|(picture, lines)| {
            let band = |lines| Band { pictures: picture..picture + 1, lines };
            let first = band(lines.start..lines.end.min(lines.start + most));
            let chunks = self.chunks(&self.grid(&first));
            let numbers = self.numbers(&first);
            let sums = self.sums(&chunks, self.grid(&first).positions(1));
            let panels = Panels { range: 0..self.panels(), gates: self.finish.gated.then_some(self.panels()) };
            Scratch::with(bytes_of::<bf16>(numbers) + bytes_of::<f32>(sums), |mut scratch| {
                let (map, c): (&mut [bf16], &mut [f32]) = (scratch.take(numbers), scratch.take(sums));
                let mut there = 0;
                for band in split(lines, most).map(band) {
                    let grid = self.grid(&band);
                    // The last lines of the part before are the first of this one.
                    let kept = if there > 0 { size.saturating_sub(stride) } else { 0 };
                    map.copy_within((there - kept) * pitch..there * pitch, 0);
                    there = grid.map_lines;
                    let (rounded, rest) = map.split_at_mut(there * pitch);
                    for (line, to) in rounded.chunks_exact_mut(pitch).enumerate().skip(kept) {
                        self.round(&band, picture, line, to);
                    }
                    rest.fill(bf16::ZERO);
                    let positions = 0..grid.positions(1);
                    // SAFETY: tasks have different lines, or another picture.
                    self.kernel.session(|| unsafe { self.multiply(&grid, &chunks, map, positions, &panels, c, y) });
                }
            });
            y.written();
        });
    }

    /// Fills a line of a band's map.
    fn round(&self, band: &Band, picture: usize, line: usize, to: &mut [bf16]) {
        let line = band.lines.start * self.patches.window().stride + line;
        self.patches.copy_line(self.kernel.simd(), self.normal, picture, line, to);
    }

    /// Panels of the result.
    fn panels(&self) -> usize {
        self.finish.outputs.div_ceil(PANEL)
    }

    /// The positions and panels of tasks.
    fn cut(&self, grid: &Grid, pictures: usize) -> Vec<(Range<usize>, Range<usize>)> {
        let all = grid.positions(pictures);
        let of_line = grid.line.max(1);
        let size = self.patches.window().size;
        // Each line of positions reads its own line of the map, and all of them the kernel's others.
        let reads = |positions: usize| (positions.div_ceil(of_line) * grid.stride + size - 1) * grid.pitch;
        let mut most = POSITIONS;
        while most > LEAST_POSITIONS && reads(most) > READ {
            most /= 2;
        }
        let even = |all: usize, most: usize, of: usize| all.div_ceil(all.div_ceil(most)).next_multiple_of(of);
        let (positions, mut panels) = (even(all, most, GROUP), self.panels());
        let wanted = 4 * rayon::current_num_threads();
        let per_call = if self.finish.gated { 1 } else { 2 };
        while panels > per_call && all.div_ceil(positions) * self.panels().div_ceil(panels) < wanted {
            panels = panels.div_ceil(2).next_multiple_of(per_call);
        }
        let split = |all: usize, part: usize| (0..all).step_by(part).map(move |from| from..all.min(from + part));
        split(all, positions)
            .flat_map(|positions| split(self.panels(), panels).map(move |panels| (positions.clone(), panels)))
            .collect()
    }

    /// All inputs, in order.
    fn chunks(&self, grid: &Grid) -> Vec<Chunk> {
        let size = self.patches.window().size;
        // Pixels that are side by side in a line of the kernel are side by side in the map.
        let of_line = size * self.channels;
        // Taps of neighbouring positions are the same pixels.
        let read = |inputs: usize| (GROUP - 1) * grid.step.min(inputs) + inputs;
        let mut cuts = (1..).map(|count| of_line.div_ceil(count).next_multiple_of(TILE_INPUTS));
        let part = cuts.find(|&part| read(part) <= NEAR).expect("the inputs of one tile are few");
        let lines = if part < of_line { 1 } else { (NEAR / read(of_line)).min(size) };
        let jump = (grid.pitch - of_line) * size_of::<bf16>();
        let parts = move |line: usize| {
            (0..of_line).step_by(part).map(move |from| {
                let runs = Runs { count: lines.min(size - line), steps: part.min(of_line - from) / TILE_INPUTS, jump };
                Chunk { input: line * of_line + from, offset: line * grid.pitch + from, runs }
            })
        };
        (0..size).step_by(lines).flat_map(parts).collect()
    }

    /// How many calls take the same weights to all positions, before others do.
    fn calls(&self, chunks: &[Chunk]) -> usize {
        let longest = chunks.iter().map(Chunk::inputs).max().unwrap_or_default();
        (WEIGHTS / (2 * longest * PANEL)).clamp(1, CALLS)
    }

    /// How many rows of sums those positions need: a product of one chunk no more than those of a group.
    fn rows(&self, chunks: &[Chunk], positions: usize) -> usize {
        if chunks.len() > 1 { positions.next_multiple_of(GROUP) } else { GROUP }
    }

    /// How many sums some positions need.
    fn sums(&self, chunks: &[Chunk], positions: usize) -> usize {
        2 * self.calls(chunks) * self.rows(chunks, positions) * PANEL
    }

    /// Computes some positions of some panels. `c` is as long as [`sums`](Self::sums) says.
    ///
    /// # Safety
    /// No other task has these positions of these panels; it is within a session.
    #[expect(clippy::too_many_arguments, reason = "both operands, their cut, and both places for the result")]
    unsafe fn multiply<Y: Element>(
        &self,
        grid: &Grid,
        chunks: &[Chunk],
        map: &[bf16],
        positions: Range<usize>,
        panels: &Panels,
        c: &mut [f32],
        y: &Output<'_, Y>,
    ) {
        let calls = panels.calls(2);
        let rows = self.rows(chunks, positions.len());
        let blocks = calls.len().div_ceil(self.calls(chunks));
        let blocks = calls.chunks(calls.len().div_ceil(blocks));
        let pieces: Vec<_> = blocks.flat_map(|block| chunks.iter().map(move |chunk| (block, chunk))).collect();
        let groups = positions.len().div_ceil(GROUP);
        for (index, &(block, chunk)) in pieces.iter().enumerate() {
            let is_last = chunk.input == chunks[chunks.len() - 1].input;
            // The last piece is followed by another task's first, which often is of the same weights.
            let (next_block, next_chunk) = pieces[(index + 1) % pieces.len()];
            for (group, from) in positions.clone().step_by(GROUP).enumerate() {
                let until = positions.end.min(from + GROUP);
                let row = if chunks.len() > 1 { from - positions.start } else { 0 };
                for (number, call) in block.iter().enumerate() {
                    let sums = &mut c[(2 * number * rows + row) * PANEL..];
                    let next = self.weights(&next_block[number.min(next_block.len() - 1)], next_chunk);
                    let ahead = next.share(group, groups);
                    // SAFETY: the caller's session.
                    unsafe { self.multiply_group(grid, map, from..until, (call, chunk), (sums, rows * PANEL), ahead) };
                }
                if is_last {
                    let last = block[block.len() - 1];
                    let panels = block[0].first..last.first + if self.finish.gated { 1 } else { last.count };
                    for (skipped, of_y) in grid.rows(from..until) {
                        let first = row + skipped;
                        let sums = Sums { c, c_rows: rows, first, rows: of_y, panels: panels.clone() };
                        // SAFETY: the caller's promise.
                        unsafe { self.finish.run(self.kernel.simd(), sums, y) };
                    }
                }
            }
        }
    }

    /// The weights of one or two panels.
    fn weights(&self, call: &Call, chunk: &Chunk) -> Weights<'_> {
        let Values::Bf16(values) = self.weight.values() else { panic!("AMX was given weights of f32") };
        let (length, distance) = (self.weight.panel_length(), call.step * self.weight.panel_length());
        let first = call.first * length + chunk.input * PANEL;
        let length = chunk.inputs() * PANEL;
        Weights { values: &values[first..][..(call.count - 1) * distance + length], length, distance }
    }

    /// Adds up a chunk for at most [`GROUP`] positions; `c` are the sums of the first panel, and the distance to those of the
    /// second. `ahead` is what [`Tiles`] fetch.
    ///
    /// # Safety
    /// It is within a session.
    unsafe fn multiply_group(
        &self,
        grid: &Grid,
        map: &[bf16],
        positions: Range<usize>,
        (call, chunk): (&Call, &Chunk),
        (c, c_stride): (&mut [f32], usize),
        ahead: [*const bf16; 2],
    ) {
        let Chunk { offset, ref runs, .. } = *chunk;
        let Weights { values: b, distance: b_stride, .. } = self.weights(call, chunk);
        let two_rows = positions.len() > TILE_ROWS;
        let rows = if two_rows { GROUP } else { TILE_ROWS };
        let a = [0, TILE_ROWS].map(|row| grid.pixel(positions.start + row) + offset);
        let extent = (TILE_ROWS - 1) * grid.step + (runs.count - 1) * grid.pitch + runs.steps * TILE_INPUTS;
        assert!(map.len() >= a[usize::from(two_rows)] + extent);
        assert!(c.len() >= (call.count - 1) * c_stride + rows * PANEL);
        let tiles = Tiles {
            a: a.map(|first| map.as_ptr().wrapping_add(first)),
            a_stride: grid.step,
            runs,
            b: b.as_ptr(),
            b_stride,
            c: c.as_mut_ptr(),
            c_stride,
            add: chunk.input > 0,
            past: true,
            ahead,
        };
        // SAFETY: all of them are in memory, by their lengths, and the tiles are configured, as the caller promises.
        unsafe { tiles.multiply(two_rows, call.count == 2) };
    }
}

/// A chunk of one or two panels.
struct Weights<'a> {
    values: &'a [bf16],
    /// Of a panel.
    length: usize,
    /// From one panel to the next.
    distance: usize,
}

impl Weights<'_> {
    /// From where on, in both panels, one of so many groups of positions fetches its share of them.
    fn share(&self, group: usize, groups: usize) -> [*const bf16; 2] {
        let first = self.length * group / groups;
        [first, self.values.len() - self.length + first].map(|place| self.values[place..].as_ptr())
    }
}

/// Inputs that are added up in the tiles.
struct Chunk {
    /// The first of them.
    input: usize,
    /// Where it is in the map, from a position's first tap.
    offset: usize,
    runs: Runs,
}

impl Chunk {
    /// How many there are.
    fn inputs(&self) -> usize {
        self.runs.count * self.runs.steps * TILE_INPUTS
    }
}

impl Grid {
    /// How many positions some pictures have.
    fn positions(&self, pictures: usize) -> usize {
        ((pictures - 1) * self.all_lines + self.lines) * self.line
    }

    /// Where in the map the first tap of a tile that begins at `position` begins.
    fn pixel(&self, position: usize) -> usize {
        let (line, column) = (position / self.line, position % self.line);
        let (picture, line) = (line / self.all_lines, line % self.all_lines);
        (picture * self.map_lines + line * self.stride) * self.pitch + column * self.step
    }

    /// The result's rows at `positions`: from which of them on, and which rows.
    fn rows(&self, positions: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let &Self { out, first, lines, line, all_lines, .. } = self;
        let is_dense = line == out.width && all_lines == lines;
        let dense = is_dense.then(|| (0, first * out.width + positions.start..first * out.width + positions.end));
        let of_lines = if is_dense { 0..0 } else { positions.start / line..positions.end.div_ceil(line) };
        dense.into_iter().chain(of_lines.filter_map(move |index| {
            let (picture, within) = (index / all_lines, index % all_lines);
            let from = positions.start.max(index * line);
            let until = positions.end.min(index * line + out.width);
            if within >= lines || from >= until {
                return None;
            }
            let row = (first + picture * lines + within) * out.width;
            Some((from - positions.start, row + from - index * line..row + until - index * line))
        }))
    }
}
