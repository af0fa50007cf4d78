//! Pictures, whole and hostile, and the form that carries them.

use std::io::Cursor;

use image::{GrayImage, ImageFormat, Rgb, RgbImage};
use livewebcam_jobs::Output;
use reqwest::multipart::{Form, Part};
use sha2::{Digest, Sha256};

/// Something to paint: edges, colours and a gradient.
pub fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let square = (x / 8 + y / 8) % 2 == 0;
        Rgb([if square { 220 } else { 30 }, (x * 255 / width) as u8, (y * 255 / height) as u8])
    })
}

pub fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture in memory");
    bytes.into_inner()
}

pub fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&photo(width, height), ImageFormat::Png)
}

/// A JPEG whose Exif block says how it must be turned.
pub fn jpeg_with_orientation(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let jpeg = encoded(picture, ImageFormat::Jpeg);
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    let exif = [&b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat();
    let length = (2 + exif.len()) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes(), &exif, &jpeg[2..]].concat()
}

/// A small PNG file of 49 million pixels, all of them there.
pub fn bomb() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    GrayImage::new(7000, 7000).write_to(&mut bytes, ImageFormat::Png).expect("a picture in memory");
    bytes.into_inner()
}

/// A PNG file that claims a size which it does not have.
pub fn boastful(width: u32, height: u32) -> Vec<u8> {
    let mut file = png(16, 16);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&checksum.to_be_bytes());
    file
}

pub fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// What a result says of this PNG.
pub fn described(png: &[u8]) -> Output {
    let picture = image::load_from_memory(png).expect("a picture");
    Output { bytes: png.len() as u64, sha256: sha256(png), width: picture.width(), height: picture.height() }
}

/// In lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A form with this upload.
pub fn form_with(upload: Vec<u8>) -> Form {
    Form::new().part("input", Part::bytes(upload).file_name("frame.png"))
}

/// A form with a small picture.
pub fn form() -> Form {
    form_with(png(64, 48))
}

/// Mean difference of the channels, 0 to 255.
pub fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}
