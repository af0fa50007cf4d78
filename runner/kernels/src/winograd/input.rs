//! Tiles of the map at the points.

use std::ops::Range;

use super::tiles::Tiles;
use super::transform::{Lanes, REACH, input};
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

const ZEROS: Lanes = [0.0; PANEL];

impl Task for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.channels.len();
        for (index, tile) in self.range.enumerate() {
            let (picture, top, left) = self.tiles.at(tile);
            let pixels: [[Option<&[f32]>; REACH]; REACH] = std::array::from_fn(|j| {
                std::array::from_fn(|i| {
                    let pixel = self.patches.pixel(picture, top + i, left + j)?;
                    Some(&pixel[self.channels.clone()])
                })
            });
            for channel in (0..width).step_by(PANEL) {
                let columns: [[Lanes; REACH]; REACH] = std::array::from_fn(|j| {
                    input(
                        simd,
                        pixels[j].map(|pixel| match pixel {
                            Some(pixel) => pixel[channel..channel + PANEL].try_into().expect("sixteen"),
                            None => &ZEROS,
                        }),
                    )
                });
                for i in 0..REACH {
                    let row = input(simd, columns.each_ref().map(|column| &column[i]));
                    for (j, point) in row.iter().enumerate() {
                        let at = (i * REACH + j) * self.stride + index * width + channel;
                        self.to[at..at + PANEL].copy_from_slice(point);
                    }
                }
            }
        }
    }
}
