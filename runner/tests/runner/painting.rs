//! The built-in model: what it paints is what its authors' own network paints.

use std::time::Instant;

use image::RgbImage;
use livewebcam_jobs::{ModelInfo, Parameters};
use livewebcam_runner::log::Log;
use livewebcam_runner::model::{Catalogue, Model, Plan, Unwatched};
use livewebcam_runner::sd::LoadOptions;

use crate::support::{data, photo};

struct Painter(ModelInfo, Model);

impl Painter {
    fn starter() -> Self {
        let starter = Catalogue::built_in().find("starter").expect("built in");
        let model = starter.load(LoadOptions::default(), Log::since(Instant::now())).expect("its weights");
        Self(starter.info, model)
    }

    fn paint(&self, frame: &RgbImage, style: &str, strength: Option<f64>) -> RgbImage {
        let asked = Parameters { style: Some(style.parse().expect("a style")), strength, ..Parameters::default() };
        let plan = Plan::new(&self.0, &asked).expect("a plan");
        self.1.paint(frame, &plan, &mut Unwatched).expect("a painting").picture
    }
}

fn largest_difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().expect("pixels")
}

#[test]
fn the_paintings_are_those_of_the_original_network() {
    let painter = Painter::starter();
    let open = |name: &str| image::open(data(name)).expect("a picture").into_rgb8();
    for (golden, style) in [
        ("style0.png", "pastel"),
        ("style19.png", "starry night"),
        ("blend_3_19.png", "stained glass:0.5, starry night:0.5"),
    ] {
        let painting = painter.paint(&open("input.png"), style, None);
        // The goldens are rounded to bytes after sums in another order.
        let difference = largest_difference(&painting, &open(golden));
        assert!(difference <= 2, "{golden}: {difference}/255");
    }
}

#[test]
fn a_frame_of_any_size_keeps_it() {
    let painter = Painter::starter();
    for (width, height) in [(1, 1), (1, 2), (3, 5), (5, 3), (4, 1), (17, 6), (97, 64)] {
        let frame = image::imageops::thumbnail(&photo(), width, height);
        assert_eq!(painter.paint(&frame, "embers", None).dimensions(), (width, height));
    }
}

#[test]
fn a_padded_frame_is_painted_as_its_mirrored_self() {
    let painter = Painter::starter();
    let frame = photo();
    let cut = image::imageops::crop_imm(&frame, 0, 0, 94, 71).to_image();
    let mirrored = RgbImage::from_fn(96, 72, |x, y| *cut.get_pixel(x.min(186 - x), y.min(140 - y)));
    let whole = painter.paint(&mirrored, "mosaic", None);
    let expected = image::imageops::crop_imm(&whole, 0, 0, 94, 71).to_image();
    assert_eq!(painter.paint(&cut, "mosaic", None), expected);
}

#[test]
fn strength_mixes_frame_and_painting() {
    let painter = Painter::starter();
    let frame = photo();
    let painting = painter.paint(&frame, "crimson", None);
    assert_eq!(painter.paint(&frame, "crimson", Some(1.0)), painting);
    assert_eq!(painter.paint(&frame, "crimson", Some(0.0)), frame);
    assert!(largest_difference(&frame, &painting) > 50, "a painting looks different");
    let half = painter.paint(&frame, "crimson", Some(0.5));
    let mean = |(a, b): (&u8, &u8)| ((u16::from(*a) + u16::from(*b)) / 2) as u8;
    let expected = frame.as_raw().iter().zip(painting.as_raw()).map(mean).collect();
    // The mean is rounded twice here and once there.
    let expected = RgbImage::from_raw(frame.width(), frame.height(), expected).expect("as many pixels");
    assert!(largest_difference(&half, &expected) <= 1);
}
