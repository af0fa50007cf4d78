//! Tiles of the map at the points.

use std::ops::Range;

use super::tiles::Tiles;
use super::transform::{REACH, ZEROS, input};
use crate::gemm::{PANEL, Patches};
use crate::simd::{Simd, Task};

/// Transforms some channels of some tiles.
pub(super) struct Inputs<'a> {
    pub(super) patches: Patches<'a>,
    pub(super) tiles: Tiles,
    pub(super) range: Range<usize>,
    pub(super) channels: Range<usize>,
    /// For each point `[tiles][channels]`.
    pub(super) to: &'a mut [f32],
    /// From one point to the next.
    pub(super) stride: usize,
}

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.channels.len();
        // Outside the loops, so that it is not set to zeros for each channel.
        let mut columns = [[ZEROS; REACH]; REACH];
        for (index, tile) in self.range.enumerate() {
            let (picture, top, left) = self.tiles.at(tile);
            let mut pixels = [[None; REACH]; REACH];
            for (j, column) in pixels.iter_mut().enumerate() {
                for (i, pixel) in column.iter_mut().enumerate() {
                    let all = self.patches.pixel(picture, top + i, left + j);
                    *pixel = all.map(|pixel| &pixel[self.channels.clone()]);
                }
            }
            for channel in (0..width).step_by(PANEL) {
                for (column, pixels) in columns.iter_mut().zip(&pixels) {
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
                        let at = (i * REACH + j) * self.stride + index * width + channel;
                        self.to[at..at + PANEL].copy_from_slice(point);
                    }
                }
            }
        }
    }
}
