//! From the bytes of an upload to upright-to-be RGB pixels, within limits.

use std::io::Cursor;
use std::panic::catch_unwind;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use super::{FrameError, Limits, container};

/// The pixels as they lie in the file, and how they must be turned.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<(RgbImage, Orientation), FrameError> {
    if bytes.is_empty() {
        return Err(FrameError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(FrameError::TooLarge { bytes: bytes.len(), max: limits.max_bytes });
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => format,
        _ => return Err(FrameError::NotAnImage),
    };
    // Decoders are large, and strangers write what they read: a panic in one is that picture's fault.
    let image = catch_unwind(|| read(bytes, format, limits))
        .unwrap_or_else(|_| Err(FrameError::Broken { format, problem: "it contradicts itself".to_owned() }))?;
    let orientation = container::exif(bytes, format).and_then(Orientation::from_exif_chunk);
    Ok((over_white(image), orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Decodes the pixels once the header has shown that there are not too many.
fn read(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<DynamicImage, FrameError> {
    let broken = |error: ImageError| FrameError::Broken { format, problem: problem(&error) };
    let few_enough = |(width, height): (u32, u32)| {
        let max = limits.max_pixels;
        if u64::from(width) * u64::from(height) > max {
            return Err(FrameError::TooManyPixels { width, height, max });
        }
        Ok(())
    };
    // Some decoders refuse a size, or make room for it, before they tell it.
    match format {
        ImageFormat::Png => container::png_size(bytes).map_or(Ok(()), few_enough)?,
        ImageFormat::WebP => container::webp_pictures(bytes).try_for_each(few_enough)?,
        _ => {}
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocation = image::Limits::default();
    // Four channels of 16 bits, and room for the decoder's own tables and rows.
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(16 << 20));
    reader.limits(allocation);
    let decoder = reader.into_decoder().map_err(broken)?;
    few_enough(decoder.dimensions())?;
    if format == ImageFormat::Jpeg && !container::jpeg_has_end(bytes) {
        return Err(FrameError::Broken { format, problem: "its end is missing".to_owned() });
    }
    DynamicImage::from_decoder(decoder).map_err(broken)
}

/// What a decoder complains of, in one line and without what `image` puts around it.
fn problem(error: &ImageError) -> String {
    let source = std::error::Error::source(error);
    let text = source.map_or_else(|| error.to_string(), ToString::to_string);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// RGB with 8 bits a channel, laid over white where it is transparent.
fn over_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for &[r, g, b, a] in rgba.as_raw().as_chunks().0 {
        let over = |channel: u8| ((u32::from(channel) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
        rgb.extend_from_slice(&[over(r), over(g), over(b)]);
    }
    RgbImage::from_raw(width, height, rgb).expect("three bytes for each pixel")
}
