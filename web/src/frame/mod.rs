//! A visitor's frame: whatever was uploaded becomes a clean PNG of the size that the model takes.
//!
//! What leaves this module holds pixels and nothing else of the client's: no metadata, no colour profile, no file name,
//! not one byte of the upload. Nothing here touches a file, a socket or a clock; decoding takes milliseconds to seconds
//! of one core, so callers run it on a thread that may block.

mod container;
mod decode;
mod resample;
#[cfg(test)]
mod tests;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageError, ImageFormat, RgbImage};
use livewebcam_jobs::FrameSize;
use serde::Deserialize;

use resample::{Fit, resample};

/// How large an upload may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most bytes of the file.
    pub max_bytes: usize,
    /// The most pixels (width × height), as the file's header states them. Decoding takes up to about 16
    /// bytes of memory for each of them.
    pub max_pixels: u64,
}

/// A frame as the model takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// An RGB image with 8 bits a channel, as a PNG without ancillary chunks.
    pub png: Vec<u8>,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Why an upload is no frame. The messages are for the visitor.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No bytes at all.
    #[error("the upload is empty; send a picture as PNG, JPEG or WebP in the field `input`")]
    Empty,
    /// More bytes than [`Limits::max_bytes`].
    #[error("the upload has {bytes} bytes and at most {max} are taken; send a smaller picture, or a JPEG of it")]
    TooLarge {
        /// What was sent.
        bytes: usize,
        /// What is taken.
        max: usize,
    },
    /// Bytes that do not begin like a format that is read here.
    #[error(
        "the upload is not a PNG, JPEG or WebP picture; convert it to one of these (a HEIC photograph or a GIF, too)"
    )]
    NotAnImage,
    /// A file that begins like an image and then is not a whole one.
    #[error("the {} picture is damaged or incomplete ({problem}); save or take it again", format_name(*.format))]
    Broken {
        /// What it began like.
        format: ImageFormat,
        /// What the decoder made of it.
        problem: String,
    },
    /// More pixels than [`Limits::max_pixels`].
    #[error("the picture has {width} × {height} pixels and at most {max} are taken; send it scaled down")]
    TooManyPixels {
        /// As the file's header has it.
        width: u32,
        /// As the file's header has it.
        height: u32,
        /// Width × height that is taken.
        max: u64,
    },
    /// The resampler refused a size that was worked out here.
    #[error("failed to resize the picture")]
    Resize(#[source] fast_image_resize::ResizeError),
    /// The encoder failed on pixels that were made here.
    #[error("failed to encode the picture")]
    Encode(#[source] ImageError),
}

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "WebP",
    }
}

/// Makes the frame for a model of an upload.
///
/// The format is told by the content. Of an animation the first picture counts. The picture is turned upright by its
/// Exif orientation, laid over white where it is transparent, brought to RGB with 8 bits, cropped around its centre and
/// resampled (Lanczos, three lobes). With [`FrameSize::keep_aspect`] it is scaled down to fit and never enlarged, save
/// to the smallest size that the model takes; a few pixels at the edges go where the size must be a multiple. Otherwise
/// it has exactly the model's size.
///
/// # Errors
/// See [`FrameError`]. No more than the header is read of a picture with too many pixels.
pub fn prepare(bytes: &[u8], limits: &Limits, size: FrameSize) -> Result<Frame, FrameError> {
    let (image, orientation) = decode::decode(bytes, limits)?;
    let image = bring(&image, orientation, size)?;
    let (width, height) = image.dimensions();
    let mut png = Vec::new();
    // As small as the adaptive choice on photographs, and a little faster.
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Paeth)
        .write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8)
        .map_err(FrameError::Encode)?;
    Ok(Frame { png, width, height })
}

/// A small JPEG of a picture, `width` pixels wide or as wide as the picture if that is narrower, in its own aspect
/// ratio.
///
/// # Errors
/// See [`FrameError`].
pub fn thumbnail(picture: &[u8], width: u32) -> Result<Vec<u8>, FrameError> {
    let (image, orientation) = decode::decode(picture, &THUMBNAIL_LIMITS)?;
    // No list bears a picture that is taller than four times its width.
    let size = FrameSize { width, height: width.saturating_mul(4), multiple_of: 1, keep_aspect: true };
    let image = bring(&image, orientation, size)?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 80)
        .write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(FrameError::Encode)?;
    Ok(jpeg)
}

/// More than any model paints.
const THUMBNAIL_LIMITS: Limits = Limits { max_bytes: 256 << 20, max_pixels: 64 << 20 };

/// Brings a picture upright and to its size.
fn bring(image: &RgbImage, orientation: Orientation, size: FrameSize) -> Result<RgbImage, FrameError> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (width, height) = image.dimensions();
    let fit = match orientation {
        Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH => Fit::of((height, width), size).transposed(),
        _ => Fit::of((width, height), size),
    };
    // Turning the small picture is cheaper than turning the large one, and comes to the same.
    let mut image = DynamicImage::from(resample(image, fit)?);
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// A grey gradient, for a frame that nobody has taken.
pub(crate) fn test_card(width: u32, height: u32) -> Frame {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).expect("a PNG in memory");
    Frame { png: png.into_inner(), width, height }
}
