//! What a model's folder says of itself, from its small files alone.

use std::fs;
use std::path::Path;

use livewebcam_jobs::{Bounds, Controls, FrameSize, LoadChoices, ModelInfo};

use super::device::built_for;
use super::error::LoadError;
use super::folder::Folder;
use super::index::{Family, Index, scheduler_config};
use super::scheduler::Kind;
use super::unet::UnetConfig;
use super::vae;

/// How a model was made to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Training {
    /// In many steps, with guidance.
    Usual,
    /// Adversarially distilled: in few steps, without guidance.
    Turbo,
    /// Distilled for consistency: in few steps, with guidance built in.
    Consistency,
}

/// What the model in `folder` is and takes. `name` is what it is called among the installed models.
///
/// A model that is incomplete or not supported is described as far as it goes, with the reason in `broken`.
///
/// # Errors
/// A folder whose `model_index.json` is none of a supported pipeline.
pub fn describe(name: &str, folder: &Path) -> Result<ModelInfo, LoadError> {
    let folder = Folder::new(folder);
    let index = Index::read(&folder)?;
    let mut broken = None;
    let unet = keep(&mut broken, folder.config("unet/config.json").and_then(|config| UnetConfig::read(&config)));
    let shape = keep(&mut broken, folder.config("vae/config.json").and_then(|config| vae::Shape::read(&config)));
    let scheduler = keep(&mut broken, scheduler_config(&folder, index.family, false));
    let mut bytes = 0;
    for component in index.weights() {
        let files = keep(&mut broken, folder.weights(component)).unwrap_or_default();
        bytes += files.iter().filter_map(|(path, _)| fs::metadata(path).ok()).map(|file| file.len()).sum::<u64>();
    }
    for (_, tokenizer) in index.encoders() {
        if !folder.has(&format!("{tokenizer}/tokenizer.json")) {
            for file in ["vocab.json", "merges.txt"] {
                keep(&mut broken, folder.text(&format!("{tokenizer}/{file}")));
            }
        }
    }

    let factor = shape.map_or(8, |shape| shape.factor as u32);
    let sample_size = unet.as_ref().and_then(|unet| unet.sample_size).unwrap_or(64) as u32;
    let trained_lcm = unet.as_ref().is_some_and(|unet| unet.guidance_width.is_some());
    let trailing = scheduler.as_ref().is_some_and(|config| {
        config.value("timestep_spacing").is_some_and(|spacing| spacing == "trailing")
            && config.value("prediction_type").is_none_or(|prediction| prediction == "epsilon")
            && config.value("rescale_betas_zero_snr").is_none_or(|rescales| rescales == false)
    });
    let training = if index.family == Family::Lcm || trained_lcm || index.scheduler == Kind::Lcm {
        Training::Consistency
    } else if trailing && matches!(index.scheduler, Kind::Euler | Kind::EulerAncestral) {
        // Nothing else in the files tells a Turbo model.
        Training::Turbo
    } else {
        Training::Usual
    };
    Ok(ModelInfo {
        name: name.to_owned(),
        title: name.rsplit('/').next().unwrap_or(name).to_owned(),
        family: family_name(index.family, training).to_owned(),
        size: FrameSize {
            width: sample_size * factor,
            height: sample_size * factor,
            multiple_of: factor,
            keep_aspect: false,
        },
        controls: controls(index.family, training, trained_lcm, index.scheduler),
        loading: Some(LoadChoices { devices: built_for(), taesd: vae::find_tiny(&folder, index.family).is_some() }),
        bytes,
        commit: None,
        broken,
    })
}

/// The value, or else its error as the reason why the model is broken; the first reason stays.
fn keep<T>(broken: &mut Option<String>, result: Result<T, LoadError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            broken.get_or_insert_with(|| error.to_string());
            None
        }
    }
}

fn family_name(family: Family, training: Training) -> &'static str {
    match (family, training) {
        (Family::Xl, Training::Usual) => "stable-diffusion-xl",
        (Family::Xl, Training::Turbo) => "stable-diffusion-xl-turbo",
        (_, Training::Consistency) => "latent-consistency",
        (_, Training::Turbo) => "stable-diffusion-turbo",
        (_, Training::Usual) => "stable-diffusion",
    }
}

fn controls(family: Family, training: Training, built_in_guidance: bool, own: Kind) -> Controls {
    let steps = match training {
        Training::Usual => Bounds { min: 1, max: 150, default: 20 },
        Training::Turbo => Bounds { min: 1, max: 4, default: 2 },
        Training::Consistency => Bounds { min: 4, max: 8, default: 4 },
    };
    let guidance = match training {
        Training::Usual if family == Family::Xl => Some(5.0),
        Training::Usual => Some(7.5),
        Training::Turbo => None,
        Training::Consistency if built_in_guidance => Some(8.5),
        Training::Consistency => Some(1.0),
    };
    let others = Kind::ALL.into_iter().filter(|kind| *kind != own && family != Family::Lcm);
    let mut schedulers: Vec<String> = std::iter::once(own).chain(others).map(|kind| kind.name().to_owned()).collect();
    if family != Family::Lcm {
        schedulers.extend(["euler_trailing", "euler_a_trailing"].map(str::to_owned));
    }
    Controls {
        prompt: true,
        negative_prompt: training != Training::Turbo && !built_in_guidance,
        steps: Some(steps),
        guidance_scale: guidance.map(|default| Bounds { min: 0.0, max: 30.0, default }),
        strength: Some(Bounds { min: 0.01, max: 1.0, default: 0.5 }),
        seed: true,
        schedulers,
        ..Controls::default()
    }
}
