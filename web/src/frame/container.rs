//! Walks the chunks of a PNG, JPEG or WebP file without decoding a pixel and without allocating: for the Exif block
//! wherever it lies, for the end of a JPEG, and for the sizes that a WebP file states a second time.
//!
//! The decoders look for less: one reads no Exif block behind a PNG's pixels, another paints the missing half of a JPEG
//! grey and calls it whole, and a third makes room for whatever an inner WebP header claims.

use image::ImageFormat;

/// The Exif block, beginning with its TIFF header.
pub(super) fn exif(bytes: &[u8], format: ImageFormat) -> Option<&[u8]> {
    let block = match format {
        ImageFormat::Png => png_chunks(bytes).find(|(name, _)| name == b"eXIf")?.1,
        ImageFormat::Jpeg => {
            let is_exif = |(marker, data): &(u8, &[u8])| *marker == APP1 && data.starts_with(EXIF_PREFIX);
            jpeg_segments(bytes).find(is_exif)?.1
        }
        _ => webp_chunks(bytes).find(|(name, _)| name == b"EXIF")?.1,
    };
    // It belongs to JPEG's segment alone, but some writers of WebP keep it.
    Some(block.strip_prefix(EXIF_PREFIX).unwrap_or(block))
}

/// Whether a JPEG file goes on to its end marker.
pub(super) fn jpeg_has_end(bytes: &[u8]) -> bool {
    jpeg_segments(bytes).any(|(marker, _)| marker == END_OF_IMAGE)
}

/// Width and height of a PNG file, as its header has them.
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let (_, header) = png_chunks(bytes).next()?;
    let (width, after) = header.split_first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*after.first_chunk()?)))
}

/// Width and height of every picture in a WebP file, as the picture's own header has them.
pub(super) fn webp_pictures(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let inner = |(name, data): ([u8; 4], &[u8])| match &name {
        b"ANMF" => data.get(16..).and_then(|data| riff_chunks(data).find_map(picture_size)),
        _ => picture_size((name, data)),
    };
    webp_chunks(bytes).filter_map(inner)
}

const EXIF_PREFIX: &[u8] = b"Exif\0\0";
const APP1: u8 = 0xe1;
const END_OF_IMAGE: u8 = 0xd9;

fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (name, after) = after.split_first_chunk()?;
        let (data, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = after.get(4..).unwrap_or_default();
        Some((*name, data))
    })
}

fn webp_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    riff_chunks(bytes.get(12..).unwrap_or_default())
}

fn riff_chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        // The last chunk of a truncated file is shown as far as it goes, for the size in its first bytes.
        let (data, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        rest = after.get(length % 2..).unwrap_or_default();
        Some((*name, data))
    })
}

fn picture_size((name, data): ([u8; 4], &[u8])) -> Option<(u32, u32)> {
    match &name {
        b"VP8 " => {
            let [a, b, c, d] = *data.get(6..)?.first_chunk()?;
            Some((u32::from(u16::from_le_bytes([a, b]) & 0x3fff), u32::from(u16::from_le_bytes([c, d]) & 0x3fff)))
        }
        b"VP8L" => {
            let packed = u32::from_le_bytes(*data.get(1..)?.first_chunk()?);
            Some(((packed & 0x3fff) + 1, ((packed >> 14) & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// Markers and what they carry, up to the end marker or the end of the bytes; compressed pixels are skipped.
fn jpeg_segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        // Between segments this finds the next marker, within compressed pixels the end of them: there 0xff is followed
        // by 0 where it is a value, and by a restart marker, which carries nothing, where decoding may start anew.
        let at = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 1 | 0xd0..=0xd7 | 0xff))?;
        let marker = rest[at + 1];
        let after = &rest[at + 2..];
        if marker == END_OF_IMAGE {
            rest = &[];
            return Some((marker, &[][..]));
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        let (data, after) = after.split_at_checked(length.max(2))?;
        rest = after;
        Some((marker, &data[2..]))
    })
}
