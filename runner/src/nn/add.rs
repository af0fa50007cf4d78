//! Adding feature maps.

use candle_core::{Result, Tensor};

use super::bands::{PLAIN_VALUES, map_of_bands};

/// The sum of two maps `[height, width, channels]`.
///
/// # Errors
/// They have different shapes.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let shape = x.dims3()?;
    map_of_bands(shape, shape.1 * shape.2, PLAIN_VALUES, x.device(), |rows| {
        x.narrow(0, rows.start, rows.len())? + y.narrow(0, rows.start, rows.len())?
    })
}
