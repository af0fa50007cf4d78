//! Reading pictures: a job's `input.png`, and for the command line any photograph. Everything under limits.

use std::io::{self, Cursor};
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// The largest frame that is painted. The starter network needs about half a kilobyte of memory for each pixel.
pub const MAX_PIXELS: u64 = 4096 * 4096;

/// A picture that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No file, no permission, or a link.
    #[error("the frame cannot be read")]
    Io(#[source] io::Error),
    /// Not a picture in a format that is read, or a damaged one.
    #[error("the frame cannot be decoded")]
    Decode(#[source] ImageError),
    /// More than [`MAX_PIXELS`].
    #[error("the frame has {width}×{height} pixels; more than {MAX_PIXELS} are not painted")]
    TooLarge {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Another size than was promised.
    #[error("the frame is {}×{}, but the request says {}×{}", found.0, found.1, wanted.0, wanted.1)]
    Size {
        /// Width and height of the file.
        found: (u32, u32),
        /// Width and height in the request.
        wanted: (u32, u32),
    },
}

/// Decodes a PNG of exactly this width and height.
///
/// # Errors
/// [`FrameError::Size`] before any pixel is decoded, and whatever is wrong with the content.
pub fn decode_png(content: &[u8], wanted: (u32, u32)) -> Result<RgbImage, FrameError> {
    check_pixels(wanted)?;
    let decoder = PngDecoder::with_limits(Cursor::new(content), limits()).map_err(FrameError::Decode)?;
    let found = decoder.dimensions();
    if found != wanted {
        return Err(FrameError::Size { found, wanted });
    }
    DynamicImage::from_decoder(decoder).map(DynamicImage::into_rgb8).map_err(FrameError::Decode)
}

/// Reads a PNG, JPEG or WebP file, upright as its EXIF orientation says.
///
/// # Errors
/// See [`FrameError`].
pub fn read_photo(path: &Path) -> Result<RgbImage, FrameError> {
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(FrameError::Io)?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(FrameError::Decode)?;
    check_pixels(decoder.dimensions())?;
    let orientation = decoder.orientation().map_err(FrameError::Decode)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(FrameError::Decode)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

fn check_pixels((width, height): (u32, u32)) -> Result<(), FrameError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS { Err(FrameError::TooLarge { width, height }) } else { Ok(()) }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    // Four channels of 16 bits for each pixel, and as much again for the decoder's own use.
    limits.max_alloc = Some(MAX_PIXELS * 16);
    limits
}
