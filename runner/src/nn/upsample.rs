//! Enlarging a feature map.

use candle_core::{Result, Tensor};

/// Doubles height and width: every pixel becomes a square of four.
///
/// # Errors
/// `x` is not `[height, width, channels]`.
pub fn upsample_nearest_2x(x: &Tensor) -> Result<Tensor> {
    let (height, width, channels) = x.dims3()?;
    x.reshape((height, 1, width, 1, channels))?.broadcast_as((height, 2, width, 2, channels))?.reshape((
        2 * height,
        2 * width,
        channels,
    ))
}
