//! `LCMScheduler`: Luo et al., "Latent consistency models" (2023).

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Defaults, Schedule};
use super::clip::Clip;
use super::numbers::mix;
use super::{NoiseScheduler, Prediction, Result};

/// The defaults of the schedule: those of Stable Diffusion.
const DEFAULTS: Defaults =
    Defaults { start: 0.00085, end: 0.012, schedule: "scaled_linear", rescales: true, more: false };
/// The deviation of the data that the boundary condition supposes.
const SIGMA_DATA: f32 = 0.5;

pub(super) struct Lcm {
    schedule: Schedule,
    prediction: Prediction,
    clip: Clip,
    scaling: f32,
    timesteps: Vec<f32>,
    done: usize,
}

/// The number of timesteps that the model was distilled with.
///
/// # Errors
/// A value that is no such number.
pub(in super::super) fn original_steps(config: &Config) -> Result<usize> {
    config.or("original_inference_steps", 50)
}

impl Lcm {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize, strength: f64) -> Result<Self> {
        let schedule = Schedule::read(config, DEFAULTS)?;
        let original = original_steps(config)?;
        if original == 0 || original > schedule.len() {
            let problem = format!("is {original}; it must be 1 to {}", schedule.len());
            return Err(config.error("original_inference_steps", problem));
        }
        let ratio = schedule.len() / original;
        let count = (original as f64 * strength) as usize;
        if count < steps {
            let problem = format!("is {original}; at a strength of {strength} that leaves no {steps} steps");
            return Err(config.error("original_inference_steps", problem));
        }
        let distilled: Vec<usize> = (1..=count).rev().map(|i| i * ratio - 1).collect();
        let interval = count as f64 / steps as f64;
        let timesteps = (0..steps).map(|i| distilled[(i as f64 * interval).floor() as usize] as f32).skip(skipped);
        Ok(Self {
            prediction: Prediction::read(config, &Prediction::ALL)?,
            clip: Clip::read(config, false)?,
            scaling: config.or("timestep_scaling", 10.0)?,
            timesteps: timesteps.collect(),
            schedule,
            done: 0,
        })
    }
}

impl NoiseScheduler for Lcm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        let alpha = self.schedule.alphas[self.timesteps[0] as usize];
        mix(alpha.sqrt(), latents, (1.0 - alpha).sqrt(), noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], random: &mut Generator) -> Vec<f32> {
        let timestep = self.timesteps[self.done];
        self.done += 1;
        let alpha = self.schedule.alphas[timestep as usize];
        let picture = self.prediction.picture(alpha.sqrt(), (1.0 - alpha).sqrt(), output, latents);
        let scaled = (timestep * self.scaling).powi(2) + SIGMA_DATA.powi(2);
        let (skip, out) = (SIGMA_DATA.powi(2) / scaled, timestep * self.scaling / scaled.sqrt());
        let picture = mix(out, &self.clip.apply(picture), skip, latents);
        match self.timesteps.get(self.done) {
            Some(&next) => {
                let alpha = self.schedule.alphas[next as usize];
                mix(alpha.sqrt(), &picture, (1.0 - alpha).sqrt(), &random.randn(picture.len()))
            }
            None => picture,
        }
    }
}
