//! What diffusers made of small models on the CPU, and whether this runner makes the same: every case of `tests/parity`.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use livewebcam_runner::nn::weights::Placement;
use livewebcam_runner::sd::{Folder, Generator, Painting, Pipeline, Precision, Tokenizer};
use serde::Deserialize;

use super::small::{case, cases, compare, fixtures, load, paint, picture};

/// The largest difference over the largest value that two right implementations in f32 may have.
pub(crate) const LATENTS: f32 = 1e-4;

/// The largest difference over the largest value, at the worst step.
pub(crate) fn latent_error(painting: &Painting, expected: &HashMap<String, Tensor>) -> f32 {
    let trace = painting.trace.as_ref().expect("a trace");
    assert_eq!(trace.steps.len(), expected.len(), "steps");
    let error = |(index, latents): (usize, &Vec<f32>)| {
        let expected: Vec<f32> =
            expected[&format!("latents_{index}")].flatten_all().and_then(|t| t.to_vec1()).expect("latents");
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let differences = latents.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        differences.fold(0.0_f32, f32::max) / largest
    };
    trace.steps.iter().enumerate().map(error).fold(0.0, f32::max)
}

fn check(model: &str) {
    let folder = fixtures().join(model);
    let cases = cases(model);
    let mut failures = Vec::new();
    for taesd in [false, true] {
        if !cases.iter().any(|case| case.taesd == taesd) {
            continue;
        }
        let pipeline = load(&folder, taesd, Precision::F32).expect("a model");
        for case in cases.iter().filter(|case| case.taesd == taesd) {
            let painting = paint(&pipeline, case);
            let expected = folder.join(format!("{}.safetensors", case.name));
            let expected = candle_core::safetensors::load(expected, &Device::Cpu).expect("latents");
            let error = latent_error(&painting, &expected);
            let (psnr, worst) = compare(&painting.image, &picture(&folder.join(format!("{}.png", case.name))));
            let line = format!("{model}/{}: {psnr:.1} dB, worst pixel {worst}, latents {error:.1e}", case.name);
            println!("{line}");
            if psnr < 50.0 || worst > 2 || error.is_nan() || error > LATENTS {
                failures.push(line);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The layers that serve GPUs, on the processor. One case for each way to paint: candle's convolutions take their time here.
#[test]
fn candles_layers_paint_the_same() {
    let cases = [("sd15", "taesd"), ("sdturbo", "one"), ("sdxl", "turbo"), ("lcm", "four")];
    for (model, name) in cases {
        let case = case(model, name);
        let (device, folder) = (Device::Cpu, fixtures().join(model));
        let placement = Placement::Candle { device, storage: DType::F32, compute: DType::F32 };
        let pipeline = Pipeline::load_to(&Folder::new(&folder), placement, case.taesd).expect("a model");
        let painting = paint(&pipeline, &case);
        let (psnr, worst) = compare(&painting.image, &picture(&folder.join(format!("{name}.png"))));
        assert!(psnr >= 50.0 && worst <= 2, "{model}/{name}: {psnr:.1} dB, worst pixel {worst}");
    }
}

#[test]
fn stable_diffusion_1_with_every_scheduler() {
    check("sd15");
}

#[test]
fn stable_diffusion_2_with_velocity_prediction() {
    check("sd21v");
}

#[test]
fn sd_turbo() {
    check("sdturbo");
}

#[test]
fn latent_consistency_models() {
    check("lcm");
}

#[test]
fn stable_diffusion_xl() {
    check("sdxl");
}

#[derive(Deserialize)]
struct Draw {
    seed: u64,
    n: usize,
    first: Vec<f32>,
    last: Vec<f32>,
    sum: f64,
    next16: Vec<f32>,
}

#[test]
fn random_numbers_are_torchs() {
    let draws = std::fs::read(fixtures().join("rng.json")).expect("draws");
    let draws: Vec<Draw> = serde_json::from_slice(&draws).expect("draws");
    for draw in draws {
        let mut random = Generator::new(draw.seed);
        let numbers = random.randn(draw.n);
        let next = random.randn(16);
        let (first, last) = (&numbers[..draw.first.len()], &numbers[draw.n - draw.last.len()..]);
        for (ours, torchs) in [(first, &draw.first), (last, &draw.last), (&next, &draw.next16)] {
            let close = ours.iter().zip(torchs).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(close, "seed {}, n {}: {ours:?} for {torchs:?}", draw.seed, draw.n);
        }
        let sum: f64 = numbers.iter().map(|&number| f64::from(number)).sum();
        assert!((sum - draw.sum).abs() < 1e-6 * draw.n as f64, "seed {}, n {}: {sum}", draw.seed, draw.n);
    }
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn token_ids_are_those_of_transformers() {
    let texts = std::fs::read(fixtures().join("tokens.json")).expect("texts");
    let texts: Vec<Text> = serde_json::from_slice(&texts).expect("texts");
    let tokenizer = Tokenizer::load(&Folder::new(fixtures().join("sd15")), "tokenizer", 77).expect("a tokenizer");
    for Text { text, ids } in texts {
        assert_eq!(tokenizer.encode(&text).expect("tokens").ids, ids, "{text:?}");
    }
}
