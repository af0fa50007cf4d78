//! Working on a feature map in bands of rows, all threads at once.
//!
//! A whole frame's intermediate values would need gigabytes and go through memory at every step; a band's stay in a core's
//! cache. The bands depend on the map's shape alone, so a picture does not depend on the number of threads.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// How many values the patches of a convolution's band have: a megabyte of them.
pub(super) const PATCH_VALUES: usize = 1 << 18;

/// How many values a band has that is worked on value by value. From twice as many on, candle would have every band's
/// values worked on by a second set of threads of its own.
pub(super) const PLAIN_VALUES: usize = 1 << 15;

/// The rows `0..height` in bands of at most `values`, or one row, where a row has `values_per_row`.
pub(super) fn bands(
    height: usize,
    values_per_row: usize,
    values: usize,
) -> impl IndexedParallelIterator<Item = Range<usize>> {
    let rows = (values / values_per_row.max(1)).clamp(1, height.max(1));
    (0..height.div_ceil(rows)).into_par_iter().map(move |band| band * rows..height.min((band + 1) * rows))
}

/// Puts a map of this shape together from what `make` gives for each band of its rows.
pub(super) fn map_of_bands(
    shape: (usize, usize, usize),
    values_per_row: usize,
    values: usize,
    device: &Device,
    make: impl Fn(Range<usize>) -> Result<Tensor> + Sync,
) -> Result<Tensor> {
    let map = Tensor::zeros(shape, DType::F32, device)?;
    bands(shape.0, values_per_row, values).try_for_each(|rows| map.slice_set(&make(rows.clone())?, 0, rows.start))?;
    Ok(map)
}
