//! From the points back to pixels.

use std::ops::Range;

use super::POINTS;
use super::tiles::Tiles;
use super::transform::{Lanes, REACH, TILE, ZEROS, output};
use crate::conv::MapSize;
use crate::gemm::{Finish, Output, PANEL};
use crate::memory::prefetch;
use crate::simd::{Simd, Task};

/// Writes some tiles of some panels.
pub(super) struct Outputs<'a> {
    pub(super) tiles: Tiles,
    pub(super) range: Range<usize>,
    pub(super) panels: Range<usize>,
    /// For each point `[panels][tiles][16]`.
    pub(super) from: &'a [f32],
    /// From one point to the next.
    pub(super) stride: usize,
    pub(super) out: MapSize,
    pub(super) finish: Finish<'a>,
    pub(super) y: &'a Output<'a>,
}

impl Outputs<'_> {
    /// # Safety
    /// No other task writes these tiles of these panels.
    pub(super) unsafe fn run<S: Simd>(self, simd: S) {
        struct Compiled<'a>(Outputs<'a>);
        impl Task for Compiled<'_> {
            type Output = ();

            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                // Outside the loops, so that it is not set to zeros for each tile.
                let mut columns = [[ZEROS; TILE]; REACH];
                for (number, panel) in self.0.panels.clone().enumerate() {
                    for (index, tile) in self.0.range.clone().enumerate() {
                        let first = (number * self.0.range.len() + index) * PANEL;
                        // SAFETY: `Outputs::run`'s caller promises it.
                        unsafe { self.0.tile(simd, first, tile, panel, &mut columns) };
                    }
                }
                self.0.y.written();
            }
        }
        simd.run(Compiled(self));
    }

    /// # Safety
    /// No other task writes this tile of this panel.
    #[inline(always)]
    unsafe fn tile<S: Simd>(
        &self,
        simd: S,
        first: usize,
        tile: usize,
        panel: usize,
        columns: &mut [[Lanes; TILE]; REACH],
    ) {
        let point =
            |point: usize| -> &Lanes { self.from[first + point * self.stride..][..PANEL].try_into().expect("sixteen") };
        // The next tile's, which are in more pieces of memory than the processor foresees.
        for point in 0..POINTS {
            prefetch(self.from[first + point * self.stride..].get(PANEL..2 * PANEL).unwrap_or_default());
        }
        for (j, column) in columns.iter_mut().enumerate() {
            *column =
                output(simd, [point(j), point(j + 6), point(j + 12), point(j + 18), point(j + 24), point(j + 30)]);
        }
        let [a, b, c, d, e, f] = &*columns;
        let (picture, top, left) = self.tiles.at(tile);
        for i in 0..TILE.min(self.out.height - top) {
            // The next tile's is the next in the row, if there is one.
            let next = (picture * self.out.height + top + i) * self.out.width + left + TILE;
            (next..next + TILE).for_each(|row| self.finish.foresee(row, panel));
            let pixels = output(simd, [&a[i], &b[i], &c[i], &d[i], &e[i], &f[i]]);
            let row = (picture * self.out.height + top + i) * self.out.width + left;
            for (j, sums) in pixels.into_iter().enumerate().take(self.out.width - left) {
                // SAFETY: the caller's promise.
                unsafe { self.finish.put(simd, sums, row + j, panel, self.y) };
            }
        }
    }
}
