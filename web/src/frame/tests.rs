//! Photographs in every format that is taken, and everything that is not.

mod craft;

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GenericImageView, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use livewebcam_jobs::FrameSize;

use super::*;

const LIMITS: Limits = Limits { max_bytes: 20 << 20, max_pixels: 40_000_000 };
const SQUARE: FrameSize = FrameSize { width: 512, height: 512, multiple_of: 8, keep_aspect: false };
const ASPECT: FrameSize = FrameSize { width: 512, height: 512, multiple_of: 4, keep_aspect: true };

fn photo(name: &str) -> DynamicImage {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/photos/{}.png"), name);
    image::open(path).expect("a photograph of tests/photos")
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("an encoded image");
    file.into_inner()
}

fn jpeg(image: &DynamicImage) -> Vec<u8> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 95).encode_image(image).expect("a JPEG");
    file
}

/// The pixels of the frame that is made of an upload.
fn pixels(bytes: &[u8], size: FrameSize) -> RgbImage {
    let frame = prepare(bytes, &LIMITS, size).expect("a frame");
    let image = image::load_from_memory_with_format(&frame.png, ImageFormat::Png).expect("a PNG");
    assert_eq!(image.dimensions(), (frame.width, frame.height));
    assert_eq!(image.color(), image::ColorType::Rgb8);
    image.into_rgb8()
}

fn refusal(bytes: &[u8]) -> FrameError {
    match prepare(bytes, &LIMITS, SQUARE) {
        Ok(frame) => panic!("{} bytes became a frame of {} × {}", bytes.len(), frame.width, frame.height),
        Err(error) => error,
    }
}

/// The mean difference of two images' channels, 0 to 255.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

#[test]
fn photographs_of_every_format_become_the_same_frame() {
    for name in ["astronaut", "chelsea", "coffee"] {
        let photo = photo(name).resize_to_fill(640, 480, FilterType::CatmullRom);
        let square = photo.crop_imm(80, 0, 480, 480).resize_exact(512, 512, FilterType::Lanczos3).into_rgb8();
        let whole = photo.resize_exact(512, 384, FilterType::Lanczos3).into_rgb8();
        let rgba = DynamicImage::from(photo.to_rgba8());
        // Two implementations of one filter differ by rounding; a JPEG of quality 95 also by what it leaves out.
        for (bytes, tolerance) in [
            (encode(&photo, ImageFormat::Png), 0.6),
            (encode(&rgba, ImageFormat::Png), 0.6),
            (encode(&photo, ImageFormat::WebP), 0.6),
            (encode(&rgba, ImageFormat::WebP), 0.6),
            (jpeg(&photo), 3.0),
        ] {
            assert!(difference(&pixels(&bytes, SQUARE), &square) < tolerance, "{name}");
            assert!(difference(&pixels(&bytes, ASPECT), &whole) < tolerance, "{name}");
        }
    }
}

/// `chelsea.png`, scaled down and encoded by Chromium's canvas; in the second the left half was cleared first.
const LOSSY: [&[u8]; 2] = [include_bytes!("tests/chelsea.webp"), include_bytes!("tests/chelsea-half-transparent.webp")];

#[test]
fn what_a_browser_makes_of_a_canvas_is_a_frame() {
    let size = FrameSize { multiple_of: 1, ..ASPECT };
    let expected = photo("chelsea").resize_exact(160, 106, FilterType::Triangle).into_rgb8();
    let [whole, half] = LOSSY.map(|file| pixels(file, size));
    // Two filters that scale down, and a lossy encoder of quality 70.
    assert!(difference(&whole, &expected) < 8.0);
    let part = |image: &RgbImage, left| imageops::crop_imm(image, left, 0, 76, 106).to_image();
    assert!(difference(&part(&half, 84), &part(&expected, 84)) < 8.0);
    assert!(part(&half, 0).pixels().all(|pixel| pixel.0 == [255; 3]));
}

#[test]
fn every_kind_of_pixel_becomes_rgb() {
    let photo = photo("chelsea").crop_imm(100, 40, 256, 256);
    let size = FrameSize { width: 256, height: 256, multiple_of: 1, keep_aspect: false };
    let colour = photo.to_rgb8();
    let grey = DynamicImage::from(photo.to_luma8()).into_rgb8();
    // 16 bits are rounded to 8.
    for (image, expected) in [
        (DynamicImage::from(photo.to_rgb16()), &colour),
        (DynamicImage::from(photo.to_rgba16()), &colour),
        (DynamicImage::from(photo.to_luma8()), &grey),
        (DynamicImage::from(photo.to_luma_alpha8()), &grey),
        (DynamicImage::from(photo.to_luma16()), &grey),
    ] {
        let kind = image.color();
        assert!(difference(&pixels(&encode(&image, ImageFormat::Png), size), expected) < 1.0, "{kind:?}");
    }
    assert!(difference(&pixels(&jpeg(&DynamicImage::from(photo.to_luma8())), size), &grey) < 3.0);
}

#[test]
fn a_palette_is_looked_up_and_what_is_transparent_is_white() {
    // Two bits a pixel: four pixels in each byte of a row behind the row's filter.
    let file = craft::png(&[
        (b"IHDR", craft::ihdr(4, 2, 2, 3)),
        (b"PLTE", vec![200, 0, 0, 0, 200, 0, 0, 0, 200, 10, 20, 30]),
        (b"tRNS", vec![255, 255, 255, 0]),
        (b"IDAT", craft::zlib_stored(&[0, 0b00_01_10_11, 0, 0b11_10_01_00])),
    ]);
    let image = pixels(&file, FrameSize { multiple_of: 1, ..ASPECT });
    let row = [[200, 0, 0], [0, 200, 0], [0, 0, 200], [255, 255, 255]].map(Rgb);
    assert_eq!(image.pixels().copied().collect::<Vec<_>>(), [row, [row[3], row[2], row[1], row[0]]].concat());
}

#[test]
fn half_transparent_is_mixed_with_white() {
    let one = |pixel: DynamicImage| {
        let file = encode(&pixel, ImageFormat::Png);
        pixels(&file, FrameSize { multiple_of: 1, ..ASPECT }).get_pixel(0, 0).0
    };
    let rgba = |pixel| one(image::RgbaImage::from_pixel(1, 1, Rgba(pixel)).into());
    assert_eq!(rgba([255, 0, 100, 255]), [255, 0, 100]);
    assert_eq!(rgba([255, 0, 100, 0]), [255, 255, 255]);
    assert_eq!(rgba([255, 0, 100, 128]), [255, 127, 177]);
    assert_eq!(one(image::GrayAlphaImage::from_pixel(1, 1, LumaA([0, 51])).into()), [204; 3]);
    assert_eq!(one(image::GrayImage::from_pixel(1, 1, Luma([7])).into()), [7; 3]);
}

/// Where a pixel of the file belongs in an upright picture of `w` × `h`, by the table of the Exif standard: what the
/// file's first row and first column show.
fn upright_place(orientation: u8, row: u32, column: u32, w: u32, h: u32) -> (u32, u32) {
    match orientation {
        1 => (column, row),
        2 => (w - 1 - column, row),
        3 => (w - 1 - column, h - 1 - row),
        4 => (column, h - 1 - row),
        5 => (row, column),
        6 => (w - 1 - row, column),
        7 => (w - 1 - row, h - 1 - column),
        8 => (row, h - 1 - column),
        other => panic!("no orientation {other}"),
    }
}

/// The picture as a camera held that way would store it.
fn stored(upright: &RgbImage, orientation: u8) -> DynamicImage {
    let (w, h) = upright.dimensions();
    let (columns, rows) = if orientation < 5 { (w, h) } else { (h, w) };
    RgbImage::from_fn(columns, rows, |column, row| {
        let (x, y) = upright_place(orientation, row, column, w, h);
        *upright.get_pixel(x, y)
    })
    .into()
}

#[test]
fn every_orientation_comes_out_upright_in_every_format() {
    let upright = photo("astronaut").crop_imm(60, 0, 320, 240).into_rgb8();
    let square = imageops::crop_imm(&upright, 40, 0, 240, 240).to_image();
    let square = imageops::resize(&square, 512, 512, FilterType::Lanczos3);
    for orientation in 1..=8 {
        let image = stored(&upright, orientation);
        let exif = craft::exif(orientation);
        let (w, h) = image.dimensions();
        let png = encode(&image, ImageFormat::Png);
        let (header, rest) = png.split_at(8 + 25);
        let end = png.len() - 12;
        let chunk = &craft::png(&[(b"eXIf", exif.clone())])[8..][..12 + exif.len()];
        let prefixed = [b"Exif\0\0", exif.as_slice()].concat();
        let webp = |exif: &[u8]| craft::webp(8, w, h, &[(b"VP8L", craft::vp8l(&image)), (b"EXIF", exif.to_vec())]);
        for (what, bytes, tolerance) in [
            ("JPEG", craft::jpeg_with_exif(&jpeg(&image), &exif), 3.0),
            ("PNG", [header, chunk, rest].concat(), 0.6),
            ("PNG, Exif behind the pixels", [&png[..end], chunk, &png[end..]].concat(), 0.6),
            ("WebP", webp(&exif), 0.6),
            ("WebP, Exif as in a JPEG", webp(&prefixed), 0.6),
        ] {
            let error = difference(&pixels(&bytes, ASPECT), &upright);
            assert!(error < tolerance, "{what}, orientation {orientation}: {error}");
            let error = difference(&pixels(&bytes, SQUARE), &square);
            assert!(error < tolerance, "{what}, orientation {orientation}, square: {error}");
        }
    }
}

#[test]
fn an_exif_block_of_nonsense_turns_nothing() {
    let image = photo("coffee").crop_imm(0, 0, 64, 48);
    let plain = pixels(&jpeg(&image), ASPECT);
    let endless = [&b"II\x2a\0\xff\xff\xff\xff"[..], &[0; 8]].concat();
    for exif in [vec![], b"MM".to_vec(), vec![0xff; 40], endless, craft::exif(0), craft::exif(9), craft::exif(255)] {
        assert_eq!(pixels(&craft::jpeg_with_exif(&jpeg(&image), &exif), ASPECT), plain, "{exif:?}");
    }
}

#[test]
fn nothing_but_pixels_goes_on() {
    let image = photo("coffee").crop_imm(0, 0, 64, 48);
    let png = encode(&image, ImageFormat::Png);
    let secret = craft::png(&[(b"tEXt", b"Comment\0taken at home".to_vec()), (b"eXIf", craft::exif(1))]);
    let with_secret = [&png[..33], &secret[8..secret.len() - 12], &png[33..]].concat();
    assert_eq!(
        prepare(&with_secret, &LIMITS, ASPECT).expect("a frame").png,
        prepare(&png, &LIMITS, ASPECT).expect("one").png
    );
    let frame = prepare(&with_secret, &LIMITS, ASPECT).expect("a frame");
    let mut rest = &frame.png[8..];
    let mut names = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        names.push(String::from_utf8_lossy(&after[..4]).into_owned());
        rest = &after[4 + u32::from_be_bytes(*length) as usize + 4..];
    }
    names.dedup();
    assert_eq!(names, ["IHDR", "IDAT", "IEND"]);
}

#[test]
fn of_an_animation_the_first_picture_counts() {
    let first = photo("coffee").crop_imm(0, 0, 64, 48);
    let second = DynamicImage::from(RgbImage::from_pixel(64, 48, Rgb([1, 2, 3])));
    let loops = (b"ANIM", vec![0; 6]);
    let webp = craft::webp(2, 64, 48, &[loops, (b"ANMF", craft::anmf(&first)), (b"ANMF", craft::anmf(&second))]);
    // The decoder blends even what is opaque, and rounds.
    assert!(difference(&pixels(&webp, ASPECT), &first.to_rgb8()) <= 1.0);

    let rows = |image: &DynamicImage| {
        let rgb = image.to_rgb8();
        let rows = rgb.as_raw().chunks(64 * 3).map(|row| [&[0], row].concat());
        craft::zlib_stored(&rows.collect::<Vec<_>>().concat())
    };
    let control = |sequence: u32| {
        let numbers = [sequence, 64, 48, 0, 0].map(u32::to_be_bytes).concat();
        [numbers.as_slice(), &[0, 1, 0, 10, 0, 0]].concat()
    };
    let apng = craft::png(&[
        (b"IHDR", craft::ihdr(64, 48, 8, 2)),
        (b"acTL", [2u32, 0].map(u32::to_be_bytes).concat()),
        (b"fcTL", control(0)),
        (b"IDAT", rows(&first)),
        (b"fcTL", control(1)),
        (b"fdAT", [2u32.to_be_bytes().to_vec(), rows(&second)].concat()),
    ]);
    assert_eq!(difference(&pixels(&apng, ASPECT), &first.to_rgb8()), 0.0);
}

#[test]
fn the_smallest_and_the_thinnest_pictures_are_frames() {
    for (width, height) in [(1, 1), (1, 5000), (5000, 1), (3, 2)] {
        let file = encode(&RgbImage::from_pixel(width, height, Rgb([9, 99, 199])).into(), ImageFormat::Png);
        let square = pixels(&file, SQUARE);
        assert_eq!(square.dimensions(), (512, 512));
        let small = pixels(&file, ASPECT);
        assert!(small.width() <= 512 && small.height() <= 512, "{:?}", small.dimensions());
        assert!(small.width().is_multiple_of(4) && small.height().is_multiple_of(4), "{:?}", small.dimensions());
        assert!(square.pixels().chain(small.pixels()).all(|pixel| pixel.0 == [9, 99, 199]));
    }
}

#[test]
fn nothing_and_too_much_are_told_apart() {
    assert!(matches!(refusal(&[]), FrameError::Empty));
    let file = encode(&photo("coffee"), ImageFormat::Png);
    let limits = Limits { max_bytes: file.len() - 1, ..LIMITS };
    let error = prepare(&file, &limits, SQUARE).err().expect("too large");
    assert!(matches!(error, FrameError::TooLarge { bytes, max } if bytes == file.len() && max == file.len() - 1));
    prepare(&file, &Limits { max_bytes: file.len(), ..LIMITS }, SQUARE).expect("just small enough");
}

#[test]
fn what_is_no_image_is_told_apart_from_a_broken_one() {
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\0";
    for bytes in
        [&b"hello, I am portrait.png"[..], b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a\x01\0\x01\0", heic]
    {
        assert!(matches!(refusal(bytes), FrameError::NotAnImage));
    }
    assert!(matches!(refusal(b"\x89PNG\r\n\x1a\nand then nothing"), FrameError::Broken { .. }));
    assert!(matches!(refusal(b"\xff\xd8\xff\xe0 a JPEG, honestly"), FrameError::Broken { .. }));
    assert!(matches!(refusal(b"RIFF\xff\xff\xff\xffWEBPVP8 "), FrameError::Broken { .. }));
}

#[test]
fn a_truncated_picture_is_broken_wherever_it_ends() {
    let photo = photo("chelsea").crop_imm(0, 0, 200, 150);
    for (format, file, tail) in [
        // Behind its pixels a PNG has a checksum and an end chunk, and can do without the end chunk.
        (ImageFormat::Png, encode(&photo, ImageFormat::Png), 17),
        (ImageFormat::Jpeg, jpeg(&photo), 1),
        (ImageFormat::WebP, encode(&photo, ImageFormat::WebP), 64),
    ] {
        pixels(&file, SQUARE);
        let last = file.len() - tail;
        for length in (20..last).step_by(last / 60).chain([last]) {
            let error = refusal(&file[..length]);
            assert!(matches!(error, FrameError::Broken { format: f, .. } if f == format), "{length}: {error}");
        }
    }
    let file = jpeg(&photo);
    let message = refusal(&file[..file.len() / 2]).to_string();
    assert_eq!(message, "the JPEG picture is damaged or incomplete (its end is missing); save or take it again");
}

#[test]
fn a_picture_that_makes_the_decoder_panic_is_broken() {
    // A picture of 8 × 8 whose pixels are those of one of 160 × 106.
    let vp8 = LOSSY[0].windows(4).position(|name| name == b"VP8 ").expect("the chunk");
    let header = [&[0; 6][..], &[7, 0, 0, 7, 0, 0, 0, 0, 0, 0]].concat();
    let mut pixels = [header, craft::riff(&[(b"ALPH", vec![0; 65])]), LOSSY[0][vp8..].to_vec()].concat();
    pixels.resize(pixels.len().next_multiple_of(2), 0);
    let file = craft::webp(0x12, 160, 106, &[(b"ANIM", vec![0; 6]), (b"ANMF", pixels)]);
    let error = refusal(&file);
    assert!(error.to_string().contains("contradicts itself"), "{error}");
}

#[test]
fn bytes_behind_a_jpeg_do_no_harm() {
    let file = jpeg(&photo("coffee"));
    assert_eq!(
        pixels(&[file.as_slice(), &[0; 100], b"trailer of a telephone"].concat(), SQUARE),
        pixels(&file, SQUARE)
    );
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    // A valid file: 50 MB of zeros in 315 kB, 400 million pixels of one bit.
    let row = 1 + 20_000u64.div_ceil(8);
    let idat = craft::zlib_zeros((row * 20_000 - 1).div_ceil(258));
    let bomb = craft::png(&[(b"IHDR", craft::ihdr(20_000, 20_000, 1, 0)), (b"IDAT", idat)]);
    assert!(bomb.len() < 400_000);
    let claim = craft::png(&[(b"IHDR", craft::ihdr(30_000, 30_000, 8, 2)), (b"IDAT", craft::zlib_zeros(3))]);
    // The start of a frame in a JPEG: height and width are 16 bits each.
    let photo = photo("coffee");
    let mut tall = jpeg(&photo);
    let sof = tall.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("the start of the frame");
    tall[sof + 5..sof + 9].copy_from_slice(&[0xff; 4]);
    let canvas = craft::webp(0, 1 << 14, 1 << 14, &[(b"VP8L", craft::vp8l(&photo))]);
    // A canvas of a few pixels, and a picture within that claims the most that its 14 bits can say.
    let mut lossless = craft::vp8l(&photo);
    lossless[1..5].copy_from_slice(&0x0fff_ffffu32.to_le_bytes());
    let lossy = [&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f][..], &[0; 20]].concat();
    let inner = craft::webp(0, 8, 8, &[(b"VP8L", lossless.clone())]);
    let inner_lossy = craft::webp(0, 8, 8, &[(b"VP8 ", lossy.clone())]);
    let animated = [vec![0; 16], craft::riff(&[(b"VP8 ", lossy)])].concat();
    let animated = craft::webp(2, 8, 8, &[(b"ANIM", vec![0; 6]), (b"ANMF", animated)]);
    for file in [bomb, claim, tall, canvas, inner, inner_lossy, animated] {
        let error = refusal(&file);
        assert!(matches!(error, FrameError::TooManyPixels { max: 40_000_000, .. }), "{error}");
    }
}

#[test]
fn what_the_limits_allow_is_read() {
    let row = 1 + 4000u64 / 8;
    let idat = craft::zlib_zeros((row * 4000 - 1).div_ceil(258));
    let black = craft::png(&[(b"IHDR", craft::ihdr(4000, 4000, 1, 0)), (b"IDAT", idat)]);
    assert!(pixels(&black, SQUARE).pixels().all(|pixel| pixel.0 == [0; 3]));
    let just = Limits { max_pixels: 16_000_000, ..LIMITS };
    prepare(&black, &just, SQUARE).expect("as many pixels as are taken");
    let error =
        prepare(&black, &Limits { max_pixels: just.max_pixels - 1, ..LIMITS }, SQUARE).err().expect("one too many");
    assert!(error.to_string().contains("4000 × 4000 pixels and at most 15999999 are taken"), "{error}");
}

#[test]
fn a_chunk_that_claims_gigabytes_is_not_made_room_for() {
    let image = photo("coffee").crop_imm(0, 0, 64, 48);
    let mut webp = craft::webp(8, 64, 48, &[(b"VP8L", craft::vp8l(&image)), (b"EXIF", craft::exif(6))]);
    let length = webp.windows(4).position(|name| name == b"EXIF").expect("the chunk") + 4;
    webp[length..length + 4].copy_from_slice(&[0xf0, 0xff, 0xff, 0xff]);
    // As far as it goes, the block is read.
    assert_eq!(pixels(&webp, ASPECT).dimensions(), (48, 64));
}

#[test]
fn a_thumbnail_is_a_small_jpeg() {
    let photo = photo("coffee");
    let size = |bytes: &[u8], width| {
        let thumbnail = thumbnail(bytes, width).expect("a thumbnail");
        image::load_from_memory_with_format(&thumbnail, ImageFormat::Jpeg).expect("a JPEG").dimensions()
    };
    let file = encode(&photo, ImageFormat::Png);
    assert_eq!(photo.dimensions(), (600, 400));
    assert_eq!(size(&file, 96), (96, 64));
    assert_eq!(size(&file, 1000), (600, 400));
    assert_eq!(size(&encode(&RgbImage::new(1, 5000).into(), ImageFormat::Png), 96), (1, 384));
    let small = thumbnail(&file, 96).expect("a thumbnail");
    let expected = photo.resize_exact(96, 64, FilterType::Lanczos3).into_rgb8();
    let actual = image::load_from_memory(&small).expect("a JPEG").into_rgb8();
    assert!(small.len() < 6000 && difference(&actual, &expected) < 6.0);
    assert!(matches!(thumbnail(&file[..file.len() / 2], 96), Err(FrameError::Broken { .. })));
    assert!(matches!(thumbnail(b"no picture", 96), Err(FrameError::NotAnImage)));
}
