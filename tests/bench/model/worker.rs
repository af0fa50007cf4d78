//! Our own contender: the runner's library, with one model loaded.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use image::RgbImage;
use livewebcam_jobs::{LoadOptions, Parameters, Precision};
use livewebcam_runner::log::Log;
use livewebcam_runner::model::{Catalogue, Installed, Model, Painting, Plan, Unwatched};
use livewebcam_runner::nn::profile::{Kind, profile};
use livewebcam_runner::sd::{Folder, Img2Img, Keep, Part, Pipeline};

/// Prompt and seed as in `peers/protocol.py`.
pub(crate) const PROMPT: &str = "a portrait in the style of Van Gogh, thick oil paint";
pub(crate) const SEED: u64 = 33;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// text, encode, denoise, decode or frame, with `-taesd` behind it for TAESD; or starter
    part: String,
    /// f32 or bf16
    dtype: Precision,
    /// The model's folder
    model: PathBuf,
    /// A picture of the size that is painted
    picture: PathBuf,
}

/// Answers until standard input ends.
pub(crate) fn work(options: &Options) -> Result<()> {
    let log = Log::since(Instant::now());
    let image = image::open(&options.picture)?.to_rgb8();
    let (part, taesd) = match options.part.strip_suffix("-taesd") {
        Some(part) => (part, true),
        None => (options.part.as_str(), false),
    };
    let loading = LoadOptions { precision: options.dtype, taesd, ..LoadOptions::default() };
    let part = match part {
        "frame" => return frames(&Installed::in_folder(&options.model)?, loading, &parameters(), &image, log),
        "starter" => {
            let installed = Catalogue::built_in().find("starter")?;
            return frames(&installed, LoadOptions::default(), &Parameters::default(), &image, log);
        }
        "text" => Part::Text,
        "encode" => Part::Encode,
        "denoise" => Part::Denoise,
        "decode" => Part::Decode,
        other => bail!("there is no part {other}"),
    };
    let folder = Folder::new(&options.model);
    // A prompt whose embedding is kept would not be encoded.
    let folder = if part == Part::Text { folder } else { folder.keeping(Keep { cache: None, log }) };
    let pipeline = Pipeline::load(&folder, loading)?;
    rehearse(&pipeline, part, &image)
}

/// The same painting as the peers'.
pub(crate) fn parameters() -> Parameters {
    Parameters {
        prompt: PROMPT.to_owned(),
        steps: Some(2),
        strength: Some(0.5),
        guidance_scale: Some(0.0),
        seed: Some(SEED),
        ..Parameters::default()
    }
}

/// Runs one part alone.
fn rehearse(pipeline: &Pipeline, part: Part, image: &RgbImage) -> Result<()> {
    let request = Img2Img {
        image,
        prompt: PROMPT,
        negative_prompt: None,
        steps: 2,
        guidance_scale: 0.0,
        strength: 0.5,
        seed: SEED,
        scheduler: None,
        trace: false,
    };
    let mut rehearsal = pipeline.rehearse(&request)?;
    rehearsal.run(part)?;
    serve(|line| match line {
        "profile" => {
            let (result, profile) = profile(|| rehearsal.run(part));
            result?;
            let share = |kind| profile.share(kind).time.as_secs_f64() / profile.time.as_secs_f64();
            let shares: Vec<_> = Kind::ALL.into_iter().map(|kind| format!("{:.4}", share(kind))).collect();
            Ok(Some(format!("{} {}", profile.operations(), shares.join(" "))))
        }
        _ => Ok(rehearsal.run(part).map(|()| None)?),
    })
}

/// Paints frame after frame, as a runner does that stays.
fn frames(installed: &Installed, loading: LoadOptions, asked: &Parameters, image: &RgbImage, log: Log) -> Result<()> {
    let model: Model = installed.load(loading, log)?;
    let mut plan = Plan::new(&installed.info, asked)?;
    plan.trace = plan.parameters.steps.is_some();
    let paint = || model.paint(image, &plan, &mut Unwatched);
    let mut painting = paint()?;
    serve(|line| match line.strip_prefix("save ") {
        Some(path) => save(&painting, Path::new(path)).map(|()| None),
        None => {
            painting = paint()?;
            Ok(None)
        }
    })
}

/// Writes the latents and the picture as a peer does: the picture `[3, height, width]` from 0 to 1.
fn save(painting: &Painting, path: &Path) -> Result<()> {
    let trace = painting.trace.as_ref().context("a trace")?;
    let [channels, height, width] = trace.shape;
    let latents = Tensor::from_slice(&trace.steps[0], (1, channels, height, width), &Device::Cpu)?;
    let (width, height) = (painting.picture.width() as usize, painting.picture.height() as usize);
    let picture = Tensor::from_slice(painting.picture.as_raw(), (height, width, 3), &Device::Cpu)?;
    let picture = (picture.to_dtype(candle_core::DType::F32)?.permute((2, 0, 1))?.contiguous()? / 255.0)?;
    let tensors = [("latents_0".to_owned(), latents), ("picture".to_owned(), picture)].into();
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

/// Answers each line with what `answer` has to say, or else the milliseconds that it took.
fn serve(mut answer: impl FnMut(&str) -> Result<Option<String>>) -> Result<()> {
    let mut output = io::stdout();
    writeln!(output, "ready")?;
    for line in io::stdin().lines() {
        let started = Instant::now();
        let said = answer(&line?)?;
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        writeln!(output, "{}", said.unwrap_or_else(|| format!("{milliseconds:.3}")))?;
        output.flush()?;
    }
    Ok(())
}
