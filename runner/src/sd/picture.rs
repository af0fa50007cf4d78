//! Pictures of bytes and pictures of numbers, as diffusers' `VaeImageProcessor` turns one into the other.

use candle_core::{DType, Device, Result, Tensor};
use image::RgbImage;

/// `[1, 3, height, width]` in −1 to 1.
pub(super) fn to_tensor(picture: &RgbImage, device: &Device) -> Result<Tensor> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let values: Vec<f32> = picture.as_raw().iter().map(|&value| 2.0 * (f32::from(value) / 255.0) - 1.0).collect();
    Tensor::from_vec(values, (1, height, width, 3), &Device::Cpu)?
        .permute((0, 3, 1, 2))?
        .contiguous()?
        .to_device(device)
}

/// The inverse; values outside −1 to 1 are cut off. `None` where a value is no number.
pub(super) fn to_picture(tensor: &Tensor) -> Result<Option<RgbImage>> {
    let (_, _, height, width) = tensor.dims4()?;
    let rows = tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.squeeze(0)?.permute((1, 2, 0))?;
    let values: Vec<f32> = rows.contiguous()?.flatten_all()?.to_vec1()?;
    if values.iter().any(|value| value.is_nan()) {
        return Ok(None);
    }
    let byte = |value: f32| ((value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    Ok(RgbImage::from_raw(width as u32, height as u32, values.into_iter().map(byte).collect()))
}
