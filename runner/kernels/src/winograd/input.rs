//! Tiles of the map at the points.

use std::ops::Range;

use super::points::Points;
use super::store::Operand;
use super::tiles::Tiles;
use super::transform::{REACH, TILE, ZEROS, input};
use crate::gemm::{PANEL, Patches};
use crate::memory::prefetch;
use crate::simd::{Simd, Task};

/// Transforms some channels of some tiles.
pub(super) struct Inputs<'a, P: Points> {
    pub(super) points: P,
    pub(super) patches: Patches<'a>,
    pub(super) tiles: Tiles,
    pub(super) range: Range<usize>,
    pub(super) channels: Range<usize>,
    /// At each point `[tiles][channels]`.
    pub(super) to: Operand<'a, P::Number>,
}

impl<P: Points> Task for Inputs<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut values = vec![0.0; P::INPUT_VALUES];
        let map = self.patches.size();
        let all = self.patches.points().in_place().expect("each pixel alone is in place");
        for (index, tile) in self.range.enumerate() {
            let (picture, top, left) = self.tiles.at(tile);
            // Each row and column once, because finding one takes a division.
            let (mut rows, mut columns) = ([None; REACH], [None; REACH + TILE]);
            rows.iter_mut().enumerate().for_each(|(i, row)| *row = self.patches.line(top + i));
            columns.iter_mut().enumerate().for_each(|(j, column)| *column = self.patches.column(left + j));
            let pixel = |row: usize, column: usize| {
                let pixel = (picture * map.height + row) * map.width + column;
                &all[pixel * map.channels..][self.channels.clone()]
            };
            let mut pixels = [[None; REACH]; REACH];
            for (column, pixels) in columns.iter().zip(&mut pixels) {
                for (row, to) in rows.iter().zip(pixels) {
                    *to = row.zip(*column).map(|(row, column)| pixel(row, column));
                }
            }
            for row in rows.into_iter().flatten() {
                // Of the next tile: its pixels are in short pieces of memory, which the processor does not foresee.
                columns[REACH..].iter().flatten().for_each(|column| prefetch(pixel(row, *column)));
            }
            let tile = Tile { pixels, width: self.channels.len() };
            self.points.input(simd, &tile, index, &mut values, &mut self.to);
        }
    }
}

/// Some channels of the pixels that a tile needs, column after column, where the map has them.
pub(super) struct Tile<'a> {
    pixels: [[Option<&'a [f32]>; REACH]; REACH],
    width: usize,
}

impl Tile<'_> {
    /// How many channels it has.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Writes the channels at each point; from one point to the next are `stride` numbers.
    #[inline(always)]
    pub(super) fn transform<S: Simd>(&self, simd: S, to: &mut [f32], stride: usize) {
        let mut columns = [[ZEROS; REACH]; REACH];
        for channel in (0..self.width).step_by(PANEL) {
            for (column, pixels) in columns.iter_mut().zip(&self.pixels) {
                let mut lanes = [&ZEROS; REACH];
                for (lanes, pixel) in lanes.iter_mut().zip(pixels) {
                    if let Some(pixel) = pixel {
                        *lanes = pixel[channel..channel + PANEL].try_into().expect("sixteen");
                    }
                }
                *column = input(simd, lanes);
            }
            for i in 0..REACH {
                let [a, b, c, d, e, f] = &columns;
                let row = input(simd, [&a[i], &b[i], &c[i], &d[i], &e[i], &f[i]]);
                for (j, point) in row.iter().enumerate() {
                    let at = (i * REACH + j) * stride + channel;
                    to[at..at + PANEL].copy_from_slice(point);
                }
            }
        }
    }
}
