//! What the camera sees: a photograph, from which each frame cuts a slightly different part.

use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, RgbImage, imageops};

use crate::driver::driver;

/// Chromium offers the camera in this size; the aspect is a webcam's.
pub(crate) const SIZE: (u32, u32) = (448, 336);
const FRAMES: u32 = 12;
/// Pixels from one frame to the next: so few that a painting is still like what the camera shows when it arrives.
const PAN: u32 = 1;

/// A photograph of the repository's.
pub(crate) fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/photos").join(name)
}

/// Writes the clip: JPEGs one after the other, which is what Chromium takes for a fake camera. It plays them in a loop,
/// so they go there and back.
pub(crate) fn moving_photo() -> PathBuf {
    let photo = image::open(photo("astronaut.png")).expect("a photograph").to_rgb8();
    let there = 0..FRAMES;
    let back = (1..FRAMES - 1).rev();
    let mut clip = Vec::new();
    for step in there.chain(back) {
        let frame: RgbImage = imageops::crop_imm(&photo, step * PAN, 10, SIZE.0, SIZE.1).to_image();
        let encoder = JpegEncoder::new_with_quality(&mut clip, 92);
        DynamicImage::from(frame).write_with_encoder(encoder).expect("a JPEG");
    }
    let path = driver().new_folder("clip-").join("camera.mjpeg");
    std::fs::write(&path, clip).expect("failed to write the clip");
    path
}
