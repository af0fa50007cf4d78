//! `DDIMScheduler` with η = 0: Song et al., "Denoising diffusion implicit models" (2021).

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Schedule, USUAL};
use super::clip::Clip;
use super::numbers::{mix, zip};
use super::spacing::{Spacing, check};
use super::{NoiseScheduler, Prediction, Result};

pub(super) struct Ddim {
    schedule: Schedule,
    prediction: Prediction,
    clip: Clip,
    final_alpha: f32,
    ratio: i64,
    timesteps: Vec<f32>,
    done: usize,
}

impl Ddim {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        let schedule = Schedule::read(config, USUAL)?;
        let timesteps = Spacing::read(config, "leading")?.timesteps(config, schedule.len(), steps)?;
        check(config, &timesteps, schedule.len())?;
        let final_alpha = if config.or("set_alpha_to_one", true)? { 1.0 } else { schedule.alphas[0] };
        Ok(Self {
            prediction: Prediction::read(config, &Prediction::ALL)?,
            clip: Clip::read(config, true)?,
            final_alpha,
            ratio: (schedule.len() / steps) as i64,
            timesteps: timesteps.into_iter().skip(skipped).map(|t| t as f32).collect(),
            schedule,
            done: 0,
        })
    }
}

impl NoiseScheduler for Ddim {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        let alpha = self.schedule.alphas[self.timesteps[0] as usize];
        mix(alpha.sqrt(), latents, (1.0 - alpha).sqrt(), noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], _: &mut Generator) -> Vec<f32> {
        let timestep = self.timesteps[self.done] as i64;
        self.done += 1;
        let alpha = self.schedule.alphas[timestep as usize];
        let next = usize::try_from(timestep - self.ratio);
        let alpha_next = next.map_or(self.final_alpha, |next| self.schedule.alphas[next]);
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let picture = self.clip.apply(self.prediction.picture(signal, noise, output, latents));
        let epsilon = match self.prediction {
            Prediction::Epsilon => output.to_vec(),
            Prediction::Sample => zip(latents, output, |x, p| (x - signal * p) / noise),
            Prediction::Velocity => mix(signal, output, noise, latents),
        };
        mix(alpha_next.sqrt(), &picture, (1.0 - alpha_next).sqrt(), &epsilon)
    }
}
