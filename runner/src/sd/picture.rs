//! Pictures of bytes and pictures of numbers, as diffusers' `VaeImageProcessor` turns one into the other.

use candle_core::Result;
use image::RgbImage;

use crate::nn::map::{Map, MapSize};
use crate::nn::weights::Placement;

/// Its channels in −1 to 1.
pub(super) fn to_map(picture: &RgbImage, placement: &Placement) -> Result<Map> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let size = MapSize { batch: 1, height, width, channels: 3 };
    Map::from_pixels(size, placement, |values| {
        let bytes = picture.as_raw().iter();
        values.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = 2.0 * (f32::from(byte) / 255.0) - 1.0);
    })
}

/// The inverse; values outside −1 to 1 are cut off. `None` where a value is no number.
pub(super) fn to_picture(map: &Map) -> Result<Option<RgbImage>> {
    let values = map.pixels()?;
    if values.iter().any(|value| value.is_nan()) {
        return Ok(None);
    }
    let byte = |value: f32| whole((value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0) as u8;
    let size = map.size();
    let bytes = values.iter().copied().map(byte).collect();
    Ok(RgbImage::from_raw(size.width as u32, size.height as u32, bytes))
}

/// `round_ties_even` of 0 to 255, for which the processors that all of the runner is compiled for have no instruction.
fn whole(value: f32) -> f32 {
    const LEAST_WITHOUT_FRACTION: f32 = 8_388_608.0;
    value + LEAST_WITHOUT_FRACTION - LEAST_WITHOUT_FRACTION
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn numbers_are_rounded_to_even_ones() {
        for thousandth in 0..=255_000_u32 {
            let value = thousandth as f32 / 1000.0;
            assert_eq!(whole(value), value.round_ties_even(), "{value}");
        }
    }
}
