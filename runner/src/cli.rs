//! The command line.

use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use livewebcam_jobs::{Blend, DeviceChoice, HubName, LoadOptions, Parameters, Precision, RunnerId};

use crate::fetch;
use crate::serve::{Settings, TimeLimit};

/// Paints the frames of job directories with a candle model.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the runner can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Claim a job, paint it and write its result; exits with 1 if the job failed
    Run {
        /// The job directory
        #[arg(long, value_name = "DIR")]
        job: PathBuf,
    },
    /// Stay and paint one frame after the other, with the model in memory
    Serve(Serve),
    /// Paint a concluded job again, without writing in its directory
    Replay {
        /// The job directory
        #[arg(long, value_name = "DIR")]
        job: PathBuf,
        /// Where to write the picture, a PNG
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Paint a picture of your own
    Img2img(Box<Img2img>),
    /// Download a model from the Hugging Face hub into the shared tree, or what an installed one lacks
    Fetch(Fetch),
    /// List the installed models
    Models {
        /// As JSON, with all their controls
        #[arg(long, conflicts_with = "verify")]
        json: bool,
        /// Read all that is kept of them for a quick start, and all that it was made of; exits with 1 if something is damaged
        #[arg(long)]
        verify: bool,
        /// The shared tree whose models are listed too
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
}

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
It leaves when no frame came for a while, when a file `stop` lies in its directory ROOT/runners/ID, when the directory is gone, \
or when the time limit is near; it exits with 0 then. SIGTERM and SIGINT end it at once: it hands its frame back and exits with \
128 and the signal's number.")]
pub struct Serve {
    /// The shared tree
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// The runner's id, a UUID; without it makes one itself
    #[arg(long, value_name = "ID")]
    pub runner: Option<RunnerId>,
    /// The model whose frames to paint, by its name or its queue's; without, that of the first frame in any queue
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Seconds without a frame after which it leaves, or `never`
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub idle_exit: IdleExit,
    /// The time that its job has, as for Slurm's --time: it leaves before that ends, and takes no frame that might not be finished
    #[arg(long, value_name = "LIMIT", default_value = "UNLIMITED")]
    pub time_limit: TimeLimit,
}

impl Serve {
    /// How the runner is started.
    #[must_use]
    pub fn settings(self) -> Settings {
        let Self { root, runner, model, idle_exit, time_limit } = self;
        let idle_exit = idle_exit.0.map(|seconds| Duration::from_secs(seconds.into()));
        Settings { root, runner, model, idle_exit, time_limit }
    }
}

/// Seconds, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleExit(Option<u32>);

impl FromStr for IdleExit {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        if text == "never" { Ok(Self(None)) } else { text.parse().map(|seconds| Self(Some(seconds))) }
    }
}

/// `img2img`.
#[derive(Debug, Args)]
pub struct Img2img {
    /// Name of an installed model, or a model's folder
    #[arg(long, default_value = "starter")]
    pub model: String,
    /// A PNG, JPEG or WebP file
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where to write the painting, a PNG
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The shared tree whose models can be named too
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// What the picture should show; for a model with styles, a style's name in it chooses that style
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// What the picture should not show
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub negative_prompt: String,
    /// A style, or a blend like `embers:0.3, midnight:0.7`
    #[arg(long)]
    pub style: Option<Blend>,
    /// Number of denoising steps
    #[arg(long)]
    pub steps: Option<u32>,
    /// Scale of classifier-free guidance
    #[arg(long, value_name = "SCALE", value_parser = finite)]
    pub guidance: Option<f64>,
    /// How far the painting may leave the picture, 0 to 1
    #[arg(long, value_parser = finite, allow_negative_numbers = true)]
    pub strength: Option<f64>,
    /// Seed of the random numbers
    #[arg(long)]
    pub seed: Option<u64>,
    /// Name of the noise scheduler
    #[arg(long, value_name = "NAME")]
    pub scheduler: Option<String>,
    /// Paint with the TAESD in the model's folder or beside it, in place of the model's own autoencoder
    #[arg(long)]
    pub taesd: bool,
    /// Where to compute: cpu, cuda or metal
    #[arg(long, default_value = "cpu")]
    pub device: DeviceChoice,
    /// The weights' number format: f32, bf16 or f16
    #[arg(long, default_value = "f32")]
    pub dtype: Precision,
    /// Where to write the latents after each step, as safetensors
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// `fetch`.
#[derive(Debug, Args)]
#[command(
    after_help = "HF_TOKEN (or what `hf auth login` wrote), HF_HOME and HF_ENDPOINT count as for the hub's own tools."
)]
pub struct Fetch {
    /// The model as the hub names it, like stabilityai/sd-turbo
    #[arg(value_name = "ORG/NAME")]
    pub model: HubName,
    /// The shared tree; the model's folder in it is models/ORG/NAME
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// A branch, a tag or a commit instead of the main branch
    #[arg(long, value_name = "REV", value_parser = revision)]
    pub revision: Option<String>,
    /// The weights' number format, half as large as full precision
    #[arg(long, value_parser = ["fp16", "bf16"])]
    pub variant: Option<String>,
    /// Fetch the small autoencoder that fits (TAESD), too
    #[arg(long)]
    pub taesd: bool,
}

impl Fetch {
    /// What is fetched.
    #[must_use]
    pub fn request(self) -> fetch::Request {
        let Self { model, root, revision, variant, taesd } = self;
        fetch::Request { name: model, root, revision, variant, taesd }
    }
}

impl Img2img {
    /// What is asked of the model.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        Parameters {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone(),
            style: self.style.clone(),
            steps: self.steps,
            guidance_scale: self.guidance,
            strength: self.strength,
            seed: self.seed,
            scheduler: self.scheduler.clone(),
        }
    }

    /// How the model is loaded.
    #[must_use]
    pub fn loading(&self) -> LoadOptions {
        LoadOptions { device: self.device, precision: self.dtype, taesd: self.taesd }
    }
}

/// A name that git takes for a branch or a tag, or a commit.
fn revision(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(plain);
    if text.split('/').all(part) { Ok(text.to_owned()) } else { Err("not a branch, tag or commit".to_owned()) }
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("not a number".to_owned()),
    }
}
