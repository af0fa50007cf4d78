//! Where the tiles of a result are.

use super::transform::TILE;
use crate::conv::MapSize;

/// The tiles of 4×4 pixels that cover a result, row after row, picture after picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    down: usize,
    across: usize,
    batch: usize,
}

impl Tiles {
    pub(super) fn of(out: MapSize) -> Self {
        Self { down: out.height.div_ceil(TILE), across: out.width.div_ceil(TILE), batch: out.batch }
    }

    pub(super) fn count(self) -> usize {
        self.batch * self.down * self.across
    }

    /// A tile's picture, and the row and the column of its first pixel.
    #[inline(always)]
    pub(super) fn at(self, tile: usize) -> (usize, usize, usize) {
        let (row, column) = (tile / self.across, tile % self.across);
        (row / self.down, row % self.down * TILE, column * TILE)
    }
}
