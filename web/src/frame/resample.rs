//! Which part of a picture is used, at what size, and the resampling itself.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use livewebcam_jobs::FrameSize;

use super::FrameError;

/// A part of a picture, and the size that it is brought to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// Left edge, top edge, width and height of the part, in pixels of the picture.
    part: [f64; 4],
    /// Width and height of the result, in pixels.
    to: [u32; 2],
}

impl Fit {
    /// The part around the centre of a picture of this width and height, and the result's size, that `size` asks for.
    pub(super) fn of(picture: (u32, u32), size: FrameSize) -> Self {
        let from = [picture.0, picture.1].map(f64::from);
        let most = [size.width, size.height];
        let multiple = size.multiple_of.max(1);
        let whole_multiple = |pixels: u32| (pixels / multiple * multiple).max(multiple);
        // Scaled by `fitting`, the picture lies within the largest size.
        let fitting = (f64::from(most[0]) / from[0]).min(f64::from(most[1]) / from[1]).min(1.0);
        let (to, scale) = if size.keep_aspect {
            (from.map(|length| whole_multiple((length * fitting).round() as u32)), fitting)
        } else {
            (most.map(whole_multiple), 0.0)
        };
        // Scaled by `cover`, it covers the result; what juts out is cut off on both sides alike.
        let cover = scale.max(f64::from(to[0]) / from[0]).max(f64::from(to[1]) / from[1]);
        let part = [0, 1].map(|axis| (f64::from(to[axis]) / cover).min(from[axis]));
        let edge = [0, 1].map(|axis| (from[axis] - part[axis]) / 2.0);
        // Where nothing is scaled, pixels are copied, and half a pixel of shift would blur them.
        let edge = if cover == 1.0 { edge.map(f64::floor) } else { edge };
        Self { part: [edge[0], edge[1], part[0], part[1]], to }
    }

    /// The same with the axes swapped.
    pub(super) fn transposed(self) -> Self {
        let [left, top, width, height] = self.part;
        Self { part: [top, left, height, width], to: [self.to[1], self.to[0]] }
    }
}

/// Cuts the part out and brings it to its size.
pub(super) fn resample(image: &RgbImage, fit: Fit) -> Result<RgbImage, FrameError> {
    let [width, height] = fit.to;
    let [left, top, part_width, part_height] = fit.part;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).crop(
        left,
        top,
        part_width,
        part_height,
    );
    let mut result = RgbImage::new(width, height);
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .expect("an RGB image has three bytes for each pixel");
    let mut target =
        TypedImage::<U8x3>::from_buffer(width, height, &mut result).expect("a new RGB image has them, too");
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(FrameError::Resize)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(picture: (u32, u32), width: u32, height: u32, multiple_of: u32, keep_aspect: bool) -> ([f64; 4], [u32; 2]) {
        let fit = Fit::of(picture, FrameSize { width, height, multiple_of, keep_aspect });
        (fit.part, fit.to)
    }

    #[test]
    fn a_fixed_size_takes_the_largest_part_of_its_shape_around_the_centre() {
        assert_eq!(fit((640, 480), 512, 512, 8, false), ([80.0, 0.0, 480.0, 480.0], [512, 512]));
        assert_eq!(fit((480, 640), 512, 512, 8, false), ([0.0, 80.0, 480.0, 480.0], [512, 512]));
        assert_eq!(fit((100, 50), 512, 256, 8, false), ([0.0, 0.0, 100.0, 50.0], [512, 256]));
        assert_eq!(fit((1, 1), 512, 512, 8, false), ([0.0, 0.0, 1.0, 1.0], [512, 512]));
        assert_eq!(fit((1, 5000), 512, 512, 8, false), ([0.0, 2499.5, 1.0, 1.0], [512, 512]));
    }

    #[test]
    fn a_kept_aspect_is_scaled_down_and_never_up() {
        assert_eq!(fit((1024, 512), 512, 512, 1, true), ([0.0, 0.0, 1024.0, 512.0], [512, 256]));
        assert_eq!(fit((320, 240), 512, 512, 1, true), ([0.0, 0.0, 320.0, 240.0], [320, 240]));
        // Below the smallest size that the model takes there is no other way than up.
        assert_eq!(fit((1, 1), 512, 512, 8, true), ([0.0, 0.0, 1.0, 1.0], [8, 8]));
    }

    #[test]
    fn a_multiple_costs_a_few_pixels_at_the_edges() {
        // Copied pixel by pixel: whole numbers only.
        assert_eq!(fit((643, 405), 1024, 1024, 8, true), ([1.0, 2.0, 640.0, 400.0], [640, 400]));
        let (part, to) = fit((1286, 810), 643, 643, 8, true);
        assert_eq!(to, [640, 400]);
        assert_eq!(part, [3.0, 5.0, 1280.0, 800.0]);
    }

    #[test]
    fn every_shape_gives_a_part_inside_the_picture() {
        let lengths = [1, 2, 3, 7, 64, 255, 511, 512, 513, 1000, 4999, 65535];
        for (width, height) in lengths.iter().flat_map(|w| lengths.iter().map(|h| (*w, *h))) {
            for (multiple, keep_aspect) in [(1, true), (4, true), (8, false), (64, true)] {
                let ([left, top, w, h], to) = fit((width, height), 512, 384, multiple, keep_aspect);
                assert!(left >= 0.0 && top >= 0.0 && w > 0.0 && h > 0.0, "{width}×{height}");
                assert!(left + w <= f64::from(width) && top + h <= f64::from(height), "{width}×{height}");
                assert!(to[0] <= 512 && to[1] <= 384 && to.iter().all(|length| length % multiple == 0 && *length > 0));
            }
        }
    }
}
