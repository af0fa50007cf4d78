//! Files that no encoder writes: put together byte by byte.

use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType};

/// A PNG file of these chunks, `IEND` left out.
pub(super) fn png(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in chunks.iter().chain(&[(b"IEND", Vec::new())]) {
        file.extend((data.len() as u32).to_be_bytes());
        let checked = [name.as_slice(), data].concat();
        file.extend(&checked);
        file.extend(crc32(&checked).to_be_bytes());
    }
    file
}

/// The data of `IHDR`.
pub(super) fn ihdr(width: u32, height: u32, bits: u8, colour_type: u8) -> Vec<u8> {
    [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour_type, 0, 0, 0]].concat()
}

/// Bytes in zlib's format, stored as they are.
pub(super) fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks: Vec<&[u8]> = data.chunks(0xffff).collect();
    for (index, block) in blocks.iter().enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(index + 1 == blocks.len()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(*block);
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// 1 + 258 × `runs` zeros in zlib's format, in 13 bits for each run: one zero byte, then "the same, 258 times".
pub(super) fn zlib_zeros(runs: u64) -> Vec<u8> {
    let mut bits = BitWriter { bytes: vec![0x78, 0x01], used: 0 };
    // One final block with the fixed code: a literal 0, runs of length 258 at distance 1, the end of the block.
    bits.push("1");
    bits.push("10");
    bits.push("00110000");
    for _ in 0..runs {
        bits.push("1100010100000");
    }
    bits.push("0000000");
    let mut out = bits.bytes;
    // Adler-32 of zeros: the first sum stays 1, the second counts the bytes.
    let sum = ((1 + 258 * runs) % 65521) as u32;
    out.extend((sum << 16 | 1).to_be_bytes());
    out
}

struct BitWriter {
    bytes: Vec<u8>,
    used: u8,
}

impl BitWriter {
    /// Bits in the order of the stream, as text.
    fn push(&mut self, bits: &str) {
        for bit in bits.bytes() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().expect("just pushed") |= (bit - b'0') << self.used;
            self.used = (self.used + 1) % 8;
        }
    }
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// An Exif block that holds an orientation and nothing else; byte order as in `MM` files.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    [&b"MM\0\x2a\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

/// The same JPEG with an Exif segment behind its first marker.
pub(super) fn jpeg_with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let length = (2 + 6 + exif.len()) as u16;
    [&jpeg[..2], &[0xff, 0xe1], &length.to_be_bytes(), b"Exif\0\0", exif, &jpeg[2..]].concat()
}

/// A WebP file of these chunks behind a `VP8X` header with these flags.
pub(super) fn webp(flags: u8, width: u32, height: u32, chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let size = |length: u32| (length - 1).to_le_bytes()[..3].to_vec();
    let header = [vec![flags, 0, 0, 0], size(width), size(height)].concat();
    let body: Vec<u8> = riff(&[(b"VP8X", header)]).into_iter().chain(riff(chunks)).collect();
    [&b"RIFF"[..], &(4 + body.len() as u32).to_le_bytes(), b"WEBP", &body].concat()
}

/// Chunks as RIFF has them.
pub(super) fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in chunks {
        out.extend_from_slice(*name);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(2), 0);
    }
    out
}

/// What stands in the `VP8L` chunk of an image's lossless WebP file.
pub(super) fn vp8l(image: &DynamicImage) -> Vec<u8> {
    let rgb = image.to_rgb8();
    let mut file = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut file);
    encoder.encode(rgb.as_raw(), rgb.width(), rgb.height(), ExtendedColorType::Rgb8).expect("a WebP");
    assert_eq!(&file[12..16], b"VP8L");
    let length = u32::from_le_bytes(file[16..20].try_into().expect("four bytes")) as usize;
    file[20..20 + length].to_vec()
}

/// One picture of an animation that fills the canvas: the data of `ANMF`.
pub(super) fn anmf(image: &DynamicImage) -> Vec<u8> {
    let size = |length: u32| (length - 1).to_le_bytes()[..3].to_vec();
    let header = [vec![0; 6], size(image.width()), size(image.height()), vec![100, 0, 0, 0]].concat();
    [header, riff(&[(b"VP8L", vp8l(image))])].concat()
}
