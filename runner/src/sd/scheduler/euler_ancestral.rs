//! `EulerAncestralDiscreteScheduler`: Euler's method that takes more noise away than the step needs and puts some back.

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Schedule, USUAL};
use super::euler::{fractional_timesteps, picture};
use super::numbers::{interpolate, zip};
use super::{NoiseScheduler, Prediction, Result};

pub(super) struct EulerAncestral {
    prediction: Prediction,
    /// One more than there are timesteps.
    sigmas: Vec<f32>,
    timesteps: Vec<f32>,
    done: usize,
}

impl EulerAncestral {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        let schedule = Schedule::read(config, USUAL)?;
        let trained = schedule.sigmas();
        let timesteps = fractional_timesteps(config, schedule.len(), steps)?.split_off(skipped);
        let sigmas = timesteps.iter().map(|&t| interpolate(f64::from(t), &trained) as f32).chain([0.0]).collect();
        let prediction = Prediction::read(config, &[Prediction::Epsilon, Prediction::Velocity])?;
        Ok(Self { prediction, sigmas, timesteps, done: 0 })
    }
}

impl NoiseScheduler for EulerAncestral {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        zip(latents, noise, |x, e| x + e * self.sigmas[0])
    }

    fn scale_input(&self, latents: &[f32]) -> Vec<f32> {
        let size = (self.sigmas[self.done].powi(2) + 1.0).sqrt();
        latents.iter().map(|x| x / size).collect()
    }

    fn step(&mut self, output: &[f32], latents: &[f32], random: &mut Generator) -> Vec<f32> {
        let (from, to) = (self.sigmas[self.done], self.sigmas[self.done + 1]);
        self.done += 1;
        let picture = picture(self.prediction, from, output, latents);
        let up = (to.powi(2) * (from.powi(2) - to.powi(2)) / from.powi(2)).sqrt();
        let down = (to.powi(2) - up.powi(2)).sqrt();
        let next = zip(latents, &picture, |x, p| x + (x - p) / from * (down - from));
        zip(&next, &random.randn(next.len()), |x, e| x + e * up)
    }
}
