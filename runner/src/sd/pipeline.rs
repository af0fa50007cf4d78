//! Image to image, as diffusers' `StableDiffusionImg2ImgPipeline`, `StableDiffusionXLImg2ImgPipeline` and
//! `LatentConsistencyModelImg2ImgPipeline` do it.

mod rehearsal;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use livewebcam_jobs::{Clamped, LoadOptions, Phase, Progress, Timings};

pub use self::rehearsal::{Part, Rehearsal};
use super::conditioning::{Prompt, TextConfigs, TextEncoders, stack};
use super::config::Config;
use super::device::{open, placement, try_out};
use super::error::{LoadError, PaintError, SchedulerError};
use super::folder::Folder;
use super::index::{Family, Index, scheduler_config};
use super::rng::Generator;
use super::scheduler::{Choice, Course, Kind, NoiseScheduler, begin, lcm};
use super::unet::{Conditioning, Unet, UnetConfig, guidance_embedding};
use super::vae::{self, Autoencoder};
use crate::nn::map::MapSize;
use crate::nn::weights::{self, Placement, Weights};
use crate::threads::computing;

/// The smallest strength: one step of a hundred.
const LEAST_STRENGTH: f64 = 0.01;

/// What to paint.
#[derive(Clone, Debug)]
pub struct Img2Img<'a> {
    /// The frame; its size is the painting's.
    pub image: &'a RgbImage,
    /// What the painting should show.
    pub prompt: &'a str,
    /// What it should not show. SDXL takes none for something else than an empty one, as diffusers does.
    pub negative_prompt: Option<&'a str>,
    /// Steps from pure noise, of which `strength` decides how many are made.
    pub steps: u32,
    /// Scale of classifier-free guidance; there is none up to 1, nor in a model that was distilled with guidance.
    pub guidance_scale: f64,
    /// How far the painting may leave the frame, 0 to 1.
    pub strength: f64,
    /// Seed of the random numbers, those of torch on the CPU.
    pub seed: u64,
    /// The noise scheduler; the model's own where it is `None`.
    pub scheduler: Option<Choice>,
    /// Whether the latents after each step are kept.
    pub trace: bool,
}

/// A painting and how it came about.
#[derive(Clone, Debug)]
pub struct Painting {
    /// The painting.
    pub image: RgbImage,
    /// What the visitor should know.
    pub warnings: Vec<String>,
    /// Numbers that were changed because nothing would have been painted with them.
    pub clamped: Vec<Clamped>,
    /// Steps, as used.
    pub steps: u32,
    /// Strength, as used.
    pub strength: f64,
    /// `encode_ms`, `paint_ms` and `decode_ms`.
    pub timings: Timings,
    /// The latents after each step, if they were asked for.
    pub trace: Option<Trace>,
}

/// Latents after each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// One list of numbers a step.
    pub steps: Vec<Vec<f32>>,
}

impl Trace {
    /// Writes a safetensors file with a tensor `latents_<i>` `[1, channels, height, width]` for each step.
    ///
    /// # Errors
    /// Any error of the filesystem.
    pub fn save(&self, path: &Path) -> candle_core::Result<()> {
        let [channels, height, width] = self.shape;
        let tensor = |(index, latents): (usize, &Vec<f32>)| {
            let tensor = Tensor::from_slice(latents, (1, channels, height, width), &Device::Cpu)?;
            Ok((format!("latents_{index}"), tensor))
        };
        let tensors: HashMap<String, Tensor> =
            self.steps.iter().enumerate().map(tensor).collect::<candle_core::Result<_>>()?;
        candle_core::safetensors::save(&tensors, path)
    }
}

/// A loaded model.
pub struct Pipeline {
    folder: Folder,
    index: Index,
    text: TextEncoders,
    unet: Unet,
    unet_config: UnetConfig,
    vae: Autoencoder,
    placement: Placement,
}

impl Pipeline {
    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// See [`LoadError`]; all configurations are read before anything is painted, and all weights but the text encoders', which
    /// are not needed for a prompt whose embedding is kept.
    pub fn load(folder: &Folder, options: LoadOptions) -> Result<Self, LoadError> {
        let device = open(options.device)?;
        Self::load_to(folder, placement(&device, options.precision)?, options.taesd)
    }

    /// Loads the model in `folder` to wherever it is to compute: also to candle's layers on the processor, which shows without
    /// a GPU what they make of a model.
    ///
    /// # Errors
    /// See [`Pipeline::load`].
    pub fn load_to(folder: &Folder, placement: Placement, taesd: bool) -> Result<Self, LoadError> {
        let index = Index::read(folder)?;
        try_out(&placement)?;
        check_scheduler(folder, &index)?;
        let unet_file = folder.config("unet/config.json")?;
        let unet_config = UnetConfig::read(&unet_file)?;
        let text = TextConfigs::read(folder, &index)?;
        let (vae_folder, vae_component) = vae::find(folder, index.family, taesd)?;
        let vae_config = vae_folder.config(&format!("{vae_component}/config.json"))?;
        check_fit(&unet_file, &unet_config, &index, &text, vae_config.or("latent_channels", 4)?)?;

        // The largest component first, while nothing else takes memory.
        let (files, shelf) = (folder.weights("unet")?, folder.shelf("unet"));
        let unet = |weights: &Weights| Unet::load(weights, &unet_config);
        let unet = weights::load(&files, &placement, shelf.as_ref(), unet)?;
        let text = TextEncoders::find(folder, &index, text, &placement)?;
        let mut vae_placement = placement.clone();
        if let Placement::Candle { storage, compute: compute @ DType::F16, .. } = &mut vae_placement
            && vae_config.or("force_upcast", true)?
        {
            (*storage, *compute) = (DType::F32, DType::F32);
        }
        let vae = Autoencoder::load(&vae_folder, &vae_component, vae_placement)?;
        Ok(Self { folder: folder.clone(), index, text, unet, unet_config, vae, placement })
    }

    /// Paints. `on_progress` is told of each part before it begins and of each step after it; where it breaks, the painting
    /// is cancelled.
    ///
    /// # Errors
    /// See [`PaintError`].
    pub fn img2img(
        &self,
        request: &Img2Img<'_>,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Painting, PaintError> {
        let mut clamped = Vec::new();
        let (width, height) = self.check_size(request.image)?;
        let plan = self.plan(request, &mut clamped)?;
        let mut scheduler = plan.scheduler;
        let steps = scheduler.timesteps().len() as u32;
        let mut report = |phase, step| match on_progress(Progress { phase, step, steps }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PaintError::Cancelled),
        };

        report(Phase::Encode, 0)?;
        let started = Instant::now();
        let mut warnings = Vec::new();
        let guided = request.guidance_scale > 1.0 && self.unet_config.guidance_width.is_none();
        let conditioning = self.conditioning(request, guided, width, height, &mut warnings)?;
        let mut random = Generator::new(request.seed);
        let (mut latents, shape) = self.encode(request.image, &mut random)?;
        // The frame's noise is drawn after the autoencoder's own.
        let noise = random.randn(latents.len());
        latents = scheduler.add_noise(&latents, &noise);
        let encode_ms = milliseconds(started);

        let started = Instant::now();
        let mut trace = request.trace.then(|| Trace { shape, steps: Vec::new() });
        for step in 0..steps {
            report(Phase::Paint, step)?;
            let timestep = scheduler.timesteps()[step as usize];
            let seen = scheduler.scale_input(&latents);
            let output =
                self.predict(&seen, shape, timestep, &conditioning, guided.then_some(request.guidance_scale))?;
            latents = scheduler.step(&output, &latents, &mut random);
            if !latents.iter().all(|value| value.is_finite()) {
                return Err(PaintError::NotFinite { stage: "a denoising step" });
            }
            if let Some(trace) = &mut trace {
                trace.steps.push(latents.clone());
            }
        }
        report(Phase::Paint, steps)?;
        let paint_ms = milliseconds(started);

        report(Phase::Decode, steps)?;
        let started = Instant::now();
        let image = self.decode(&latents, shape)?;
        let timings = Timings { encode_ms, paint_ms, decode_ms: milliseconds(started), ..Timings::default() };
        let (steps, strength) = (plan.steps, plan.strength);
        Ok(Painting { image, warnings, clamped, steps, strength, timings, trace })
    }

    fn check_size(&self, image: &RgbImage) -> Result<(usize, usize), PaintError> {
        let (width, height) = image.dimensions();
        let multiple = self.vae.factor as u32;
        if width == 0 || height == 0 || width % multiple != 0 || height % multiple != 0 {
            return Err(PaintError::Size { width, height, multiple });
        }
        Ok((width as usize, height as usize))
    }

    /// Decides on steps and strength, and sets the noise scheduler up.
    fn plan(&self, request: &Img2Img<'_>, clamped: &mut Vec<Clamped>) -> Result<Plan, PaintError> {
        let chosen = request.scheduler;
        if self.index.family == Family::Lcm && chosen.is_some_and(|choice| choice.kind != Kind::Lcm) {
            let problem = "a latent consistency model paints only with `lcm`".to_owned();
            return Err(PaintError::Parameter { field: "scheduler", problem });
        }
        let choice = chosen.unwrap_or(Choice { kind: self.index.scheduler, trailing: false });
        let unsuitable = |problem: LoadError| SchedulerError { scheduler: choice.to_string(), problem: problem.into() };
        let config = scheduler_config(&self.folder, self.index.family, chosen.is_some()).map_err(unsuitable)?;
        let config = choice.configure(&config);

        let mut strength = request.strength;
        if !(LEAST_STRENGTH..=1.0).contains(&strength) {
            strength = if strength > 1.0 { 1.0 } else { LEAST_STRENGTH };
            clamped.push(clamp("strength", request.strength, strength));
        }
        let mut steps = request.steps.max(1) as usize;
        let course = if self.index.family == Family::Lcm {
            let original = lcm::original_steps(&config).map_err(unsuitable)?;
            if original as f64 * strength < 1.0 && original > 0 {
                let least = 1.0 / original as f64;
                clamped.push(clamp("strength", strength, least));
                strength = least;
            }
            steps = steps.min(((original as f64 * strength) as usize).max(1));
            Course::Below { steps, strength }
        } else {
            let made = |steps: usize| (steps as f64 * strength) as usize;
            if made(steps) == 0 {
                steps = (1.0 / strength).ceil() as usize;
                // A product just below 1 is still no step.
                steps += usize::from(made(steps) == 0);
            }
            Course::Skipping { steps, skipped: steps - made(steps).min(steps) }
        };
        if steps != request.steps as usize {
            clamped.push(clamp("steps", request.steps, steps));
        }
        let trained = config.or("num_train_timesteps", 1000).map_err(unsuitable)?;
        if steps > trained {
            let problem = format!("is {steps}, but the model was trained with {trained} timesteps");
            return Err(PaintError::Parameter { field: "steps", problem });
        }
        let scheduler = begin(choice.kind, &config, course).map_err(unsuitable)?;
        if scheduler.timesteps().is_empty() {
            let problem = format!("{steps} at a strength of {strength} leave nothing to do; take more");
            return Err(PaintError::Parameter { field: "steps", problem });
        }
        Ok(Plan { scheduler, steps: steps as u32, strength })
    }

    fn conditioning(
        &self,
        request: &Img2Img<'_>,
        guided: bool,
        width: usize,
        height: usize,
        warnings: &mut Vec<String>,
    ) -> Result<Conditioning, PaintError> {
        let encoding = |source| PaintError::Compute { stage: "encoding the prompt", source };
        let prompt = self.prompt(request.prompt, warnings)?;
        let [sizes, negative_sizes] = self.text.sizes(width, height);
        let (Prompt { text, pooled }, sizes) = if guided {
            let negative = self.computing(|| self.text.negative(request.negative_prompt, &prompt, warnings))?;
            (stack(&negative, &prompt).map_err(encoding)?, vec![negative_sizes, sizes])
        } else {
            (prompt, vec![sizes])
        };
        let guidance = self
            .unet_config
            .guidance_width
            .map(|width| guidance_embedding(request.guidance_scale, width, &self.placement).map_err(encoding));
        let added = self.unet_config.added.map(|_| (pooled, sizes));
        Ok(Conditioning { text, guidance: guidance.transpose()?, added })
    }

    fn prompt(&self, text: &str, warnings: &mut Vec<String>) -> Result<Prompt, PaintError> {
        self.computing(|| self.text.prompt(text, warnings))
    }

    /// Scaled latents of the frame, and their shape.
    fn encode(&self, image: &RgbImage, random: &mut Generator) -> Result<(Vec<f32>, [usize; 3]), PaintError> {
        let stage = "encoding the frame";
        let encoded = self.computing(|| self.vae.encode(image, random));
        let (mut latents, shape) = encoded.map_err(|source| PaintError::Compute { stage, source })?;
        let scaling = self.vae.scaling as f32;
        match self.normal() {
            Some((means, deviations)) => {
                each_channel(&mut latents, shape, |x, channel| (x - means[channel]) * scaling / deviations[channel]);
            }
            None => latents.iter_mut().for_each(|x| *x *= scaling),
        }
        if latents.iter().all(|value| value.is_finite()) {
            Ok((latents, shape))
        } else {
            Err(PaintError::NotFinite { stage })
        }
    }

    /// The UNet's output, with guidance if there is a scale.
    fn predict(
        &self,
        latents: &[f32],
        [channels, height, width]: [usize; 3],
        timestep: f32,
        conditioning: &Conditioning,
        guidance: Option<f64>,
    ) -> Result<Vec<f32>, PaintError> {
        let batch = if guidance.is_some() { 2 } else { 1 };
        let size = MapSize { batch, height, width, channels };
        let output = self.computing(|| self.unet.forward(latents.repeat(batch), size, timestep, conditioning));
        let output = output.map_err(|source| PaintError::Compute { stage: "a denoising step", source })?;
        let Some(scale) = guidance else { return Ok(output) };
        let (without, with) = output.split_at(latents.len());
        Ok(without.iter().zip(with).map(|(without, with)| without + scale as f32 * (with - without)).collect())
    }

    fn decode(&self, latents: &[f32], shape: [usize; 3]) -> Result<RgbImage, PaintError> {
        let stage = "decoding";
        let scaling = self.vae.scaling as f32;
        let mut latents = latents.to_vec();
        match self.normal() {
            Some((means, deviations)) => {
                each_channel(&mut latents, shape, |x, channel| x * deviations[channel] / scaling + means[channel]);
            }
            None => latents.iter_mut().for_each(|x| *x /= scaling),
        }
        let picture = self.computing(|| self.vae.decode(latents, shape));
        let picture = picture.map_err(|source| PaintError::Compute { stage, source })?;
        picture.ok_or(PaintError::NotFinite { stage })
    }

    /// Runs a network. Those of a graphics card have no use for the processor's threads.
    fn computing<R: Send>(&self, network: impl FnOnce() -> R + Send) -> R {
        match &self.placement {
            Placement::Candle { device, .. } if !device.is_cpu() => network(),
            _ => computing(network),
        }
    }

    /// The latents' means and deviations, which only diffusers' SDXL pipelines take into account.
    fn normal(&self) -> Option<&(Vec<f32>, Vec<f32>)> {
        self.vae.normal.as_ref().filter(|_| self.index.family == Family::Xl)
    }
}

/// Refuses a configuration of the model's own noise scheduler that is not supported.
pub(super) fn check_scheduler(folder: &Folder, index: &Index) -> Result<(), LoadError> {
    let config = scheduler_config(folder, index.family, false)?;
    let trial = match index.family {
        Family::Lcm => Course::Below { steps: 1, strength: 1.0 },
        _ => Course::Skipping { steps: 20, skipped: 0 },
    };
    begin(index.scheduler, &config, trial).map(drop)
}

/// Refuses a UNet that does not take what the other components give.
fn check_fit(
    file: &Config,
    unet: &UnetConfig,
    index: &Index,
    text: &TextConfigs,
    latents: usize,
) -> Result<(), LoadError> {
    for (key, channels) in [("in_channels", unet.inputs), ("out_channels", unet.outputs)] {
        if channels != latents {
            let problem = format!("is {channels}, but the autoencoder's latents have {latents} channels");
            return Err(file.error(key, problem));
        }
    }
    if let Some(width) = unet.text_widths.iter().find(|&&width| width != text.width) {
        let problem = format!("is {width}, but the text encoders give {}", text.width);
        return Err(file.error("cross_attention_dim", problem));
    }
    if (index.family == Family::Xl) != unet.added.is_some() {
        let problem = "must be \"text_time\" in SDXL and null in the other families".to_owned();
        return Err(file.error("addition_embed_type", problem));
    }
    match unet.added.map(|added| (added.inputs, added.time_width * index.size_count() + text.pooled_width)) {
        Some((taken, given)) if taken != given => {
            let problem = format!("is {taken}, but prompt and sizes give {given}");
            Err(file.error("projection_class_embeddings_input_dim", problem))
        }
        _ => Ok(()),
    }
}

struct Plan {
    scheduler: Box<dyn NoiseScheduler>,
    steps: u32,
    strength: f64,
}

fn clamp(field: &str, from: impl ToString, to: impl ToString) -> Clamped {
    Clamped { field: field.to_owned(), from: from.to_string(), to: to.to_string() }
}

fn each_channel(latents: &mut [f32], [_, height, width]: [usize; 3], f: impl Fn(f32, usize) -> f32) {
    for (channel, plane) in latents.chunks_mut(height * width).enumerate() {
        plane.iter_mut().for_each(|x| *x = f(*x, channel));
    }
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}
