//! What a pipeline makes of unusual requests, and what a folder says of itself.

use std::ops::ControlFlow;

use image::imageops::{FilterType, resize};
use livewebcam_jobs::{Bounds, Phase};
use livewebcam_runner::sd::{
    Choice, DeviceChoice, Folder, Img2Img, LoadOptions, PaintError, Pipeline, Precision, describe, needed_tensors,
};
use serde_json::json;

use super::copy::Copy;
use super::small::{case, fixtures, load, picture, request};

fn pipeline(model: &str) -> Pipeline {
    load(&fixtures().join(model), false, Precision::F32).expect("a model")
}

fn go_on(_: livewebcam_jobs::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn too_little_strength_for_the_steps_takes_more_steps() {
    let (pipeline, case) = (pipeline("sdturbo"), case("sdturbo", "one"));
    let image = picture(&fixtures().join("input.png"));
    let cases =
        [(1, 0.5, 2, 0.5), (2, 0.3, 4, 0.3), (1, 1.0 / 49.0, 50, 1.0 / 49.0), (2, -1.0, 100, 0.01), (3, 7.0, 3, 1.0)];
    for (steps, strength, used_steps, used_strength) in cases {
        let request = Img2Img { steps, strength, ..request(&case, &image) };
        let painting = pipeline.img2img(&request, &mut go_on).expect("a painting");
        assert_eq!((painting.steps, painting.strength), (used_steps, used_strength), "{steps} at {strength}");
        assert_eq!(painting.clamped.iter().any(|clamped| clamped.field == "steps"), steps != used_steps);
        assert_eq!(painting.clamped.iter().any(|clamped| clamped.field == "strength"), strength != used_strength);
    }
}

#[test]
fn consistency_models_make_no_more_steps_than_they_were_distilled_with() {
    let (pipeline, case) = (pipeline("lcm"), case("lcm", "four"));
    let image = picture(&fixtures().join("input.png"));
    let request = Img2Img { strength: 0.05, ..request(&case, &image) };
    let painting = pipeline.img2img(&request, &mut go_on).expect("a painting");
    assert_eq!(painting.steps, 2);
    assert_eq!(painting.clamped[0].to_string(), "steps=4->2");
    let request = Img2Img { scheduler: "ddim".parse().ok(), ..request };
    let error = pipeline.img2img(&request, &mut go_on).expect_err("only lcm");
    assert_eq!(error.to_string(), "scheduler: a latent consistency model paints only with `lcm`");
}

#[test]
fn progress_is_told_and_a_painting_can_be_cancelled_between_steps() {
    let (pipeline, case) = (pipeline("sdturbo"), case("sdturbo", "two"));
    let image = picture(&fixtures().join("input.png"));
    let request = request(&case, &image);
    let mut seen = Vec::new();
    let painting = pipeline.img2img(&request, &mut |progress| {
        seen.push((progress.phase, progress.step, progress.steps));
        ControlFlow::Continue(())
    });
    painting.expect("a painting");
    let expected = [(Phase::Encode, 0), (Phase::Paint, 0), (Phase::Paint, 1), (Phase::Paint, 2), (Phase::Decode, 2)];
    assert_eq!(seen, expected.map(|(phase, step)| (phase, step, 2)));
    let cancelled = pipeline.img2img(&request, &mut |progress| {
        if progress.step == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(cancelled, Err(PaintError::Cancelled)));
}

#[test]
fn a_frame_whose_sides_are_no_multiples_of_eight_is_refused() {
    let (pipeline, case) = (pipeline("sd15"), case("sd15", "ddim"));
    let image = picture(&fixtures().join("input.png"));
    let odd = resize(&image, 100, 64, FilterType::Triangle);
    let error = pipeline.img2img(&request(&case, &odd), &mut go_on).expect_err("a width of 100");
    assert_eq!(
        error.to_string(),
        "the frame is 100×64, but this model paints only sizes that are multiples of 8; crop it to 96×64"
    );
    let wide = resize(&image, 104, 72, FilterType::Triangle);
    let painting = pipeline.img2img(&request(&case, &wide), &mut go_on).expect("multiples of 8");
    assert_eq!(painting.image.dimensions(), (104, 72));
}

#[test]
fn a_prompt_that_is_cut_is_a_warning() {
    let (pipeline, case) = (pipeline("sdturbo"), case("sdturbo", "one"));
    let image = picture(&fixtures().join("input.png"));
    let prompt = "word ".repeat(80);
    let request = Img2Img { prompt: &prompt, ..request(&case, &image) };
    let painting = pipeline.img2img(&request, &mut go_on).expect("a painting");
    assert_eq!(painting.warnings, ["the prompt is too long: its last 5 tokens were left out"]);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    if !cfg!(feature = "cuda") {
        let options = LoadOptions { device: DeviceChoice::Cuda, ..LoadOptions::default() };
        let error =
            Pipeline::load(&Folder::new(fixtures().join("sd15")), options).err().expect("no such device").to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}

#[test]
fn a_scheduler_that_does_not_go_with_the_model_is_named() {
    let copy = Copy::of("sd15");
    copy.edit_json("model_index.json", |index| index["scheduler"] = json!(["diffusers", "DDIMScheduler"]));
    copy.edit_json("scheduler/scheduler_config.json", |config| config["prediction_type"] = json!("sample"));
    let (pipeline, case) = (copy.load().expect("a model"), case("sd15", "default"));
    let image = picture(&fixtures().join("input.png"));
    let request = Img2Img { scheduler: "euler_a_trailing".parse().ok(), ..request(&case, &image) };
    let error = pipeline.img2img(&request, &mut go_on).expect_err("no such prediction");
    assert_eq!(
        error.to_string(),
        "this model cannot be painted with the noise scheduler `euler_a_trailing`; choose another one \
         (scheduler/scheduler_config.json: `prediction_type` is \"sample\"; supported by this scheduler: \"epsilon\", \
         \"v_prediction\")"
    );
}

#[test]
fn unknown_schedulers_are_refused_with_the_known_ones() {
    for name in ["heun", "", "lcm_trailing", "trailing"] {
        let error = name.parse::<Choice>().expect_err(name).to_string();
        assert!(error.contains("pndm, ddim, ddpm, euler, euler_a, unipc, dpmpp_2m, deis, lcm"), "{error}");
    }
}

#[test]
fn every_family_says_what_it_takes() {
    let cases = [
        ("sd15", "stable-diffusion", (1, 150, 20), Some(7.5), true, "pndm"),
        ("sd21v", "stable-diffusion", (1, 150, 20), Some(7.5), true, "ddim"),
        ("sdturbo", "stable-diffusion-turbo", (1, 4, 2), None, false, "euler"),
        ("lcm", "latent-consistency", (4, 8, 4), Some(8.5), false, "lcm"),
        ("sdxl", "stable-diffusion-xl", (1, 150, 20), Some(5.0), true, "euler"),
    ];
    for (model, family, (min, max, default), guidance, negative, scheduler) in cases {
        let info = describe(&format!("some/{model}"), &fixtures().join(model)).expect("a description");
        assert_eq!((info.name, info.title), (format!("some/{model}"), model.to_owned()));
        assert_eq!((info.family.as_str(), info.broken), (family, None));
        assert_eq!((info.size.width, info.size.height, info.size.multiple_of), (128, 128, 8));
        assert!(info.bytes > 1_000_000);
        let controls = info.controls;
        assert_eq!(controls.steps, Some(Bounds { min, max, default }));
        assert_eq!(controls.guidance_scale.map(|bounds| bounds.default), guidance);
        assert_eq!(controls.negative_prompt, negative);
        assert_eq!(controls.schedulers[0], scheduler);
        assert!(controls.schedulers.iter().all(|name| name.parse::<Choice>().is_ok()));
    }
}

#[test]
fn the_tensors_that_a_model_needs_are_those_of_its_files() {
    // A text encoder's names may have this prefix or not.
    let plain = |name: String| name.trim_start_matches("text_model.").to_owned();
    for model in ["sd15", "sd21v", "sdturbo", "lcm", "sdxl"] {
        let folder = fixtures().join(model);
        for (component, needed) in needed_tensors(&folder).expect("configurations") {
            let stem = if component.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
            let file = folder.join(component).join(format!("{stem}.safetensors"));
            let tensors = candle_core::safetensors::load(file, &candle_core::Device::Cpu).expect("tensors");
            let mut found: Vec<(String, Vec<usize>)> =
                tensors.into_iter().map(|(name, tensor)| (plain(name), tensor.dims().to_vec())).collect();
            found.sort();
            let mut needed: Vec<_> = needed.into_iter().map(|needed| (plain(needed.name), needed.shape)).collect();
            needed.sort();
            assert_eq!(needed, found, "{model}/{component}");
        }
    }
}
