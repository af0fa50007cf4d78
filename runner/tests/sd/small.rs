//! Small models of every family, and paintings of them. What diffusers made of them is in `tests/parity`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::RgbImage;
use livewebcam_runner::sd::{Folder, Img2Img, LoadError, LoadOptions, Painting, Pipeline, Precision};
use serde::Deserialize;

/// One call of a pipeline.
#[derive(Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) scheduler: Option<String>,
    pub(crate) taesd: bool,
    pub(crate) seed: u64,
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    pub(crate) num_inference_steps: u32,
    pub(crate) strength: f64,
    pub(crate) guidance_scale: f64,
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

pub(crate) fn cases(model: &str) -> Vec<Case> {
    let cases = fs::read(fixtures().join(model).join("cases.json")).expect("cases");
    serde_json::from_slice(&cases).expect("cases")
}

pub(crate) fn case(model: &str, name: &str) -> Case {
    cases(model).into_iter().find(|case| case.name == name).expect("a case")
}

pub(crate) fn picture(path: &Path) -> RgbImage {
    image::open(path).expect("a picture").to_rgb8()
}

pub(crate) fn load(folder: &Path, taesd: bool, precision: Precision) -> Result<Pipeline, LoadError> {
    Pipeline::load(&Folder::new(folder), LoadOptions { precision, taesd, ..LoadOptions::default() })
}

/// Paints a case, and keeps the latents.
pub(crate) fn paint(pipeline: &Pipeline, case: &Case) -> Painting {
    let image = picture(&fixtures().join("input.png"));
    let request = request(case, &image);
    pipeline.img2img(&request, &mut |_| ControlFlow::Continue(())).expect("a painting")
}

pub(crate) fn request<'a>(case: &'a Case, image: &'a RgbImage) -> Img2Img<'a> {
    Img2Img {
        image,
        prompt: &case.prompt,
        negative_prompt: case.negative_prompt.as_deref(),
        steps: case.num_inference_steps,
        guidance_scale: case.guidance_scale,
        strength: case.strength,
        seed: case.seed,
        scheduler: case.scheduler.as_deref().map(|name| name.parse().expect("a scheduler")),
        trace: true,
    }
}

/// PSNR in dB, and the largest difference of one channel of one pixel.
pub(crate) fn compare(painted: &RgbImage, expected: &RgbImage) -> (f64, u8) {
    assert_eq!(painted.dimensions(), expected.dimensions());
    let differences: Vec<u8> = painted.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).collect();
    let squares: f64 = differences.iter().map(|&d| f64::from(d).powi(2)).sum();
    let psnr = 10.0 * (255.0_f64.powi(2) * differences.len() as f64 / squares.max(1e-9)).log10();
    (psnr, differences.into_iter().max().unwrap_or(0))
}
