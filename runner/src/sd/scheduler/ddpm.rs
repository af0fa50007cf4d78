//! `DDPMScheduler`: Ho et al., "Denoising diffusion probabilistic models" (2020).

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Defaults, Schedule, USUAL};
use super::clip::Clip;
use super::numbers::{mix, zip};
use super::spacing::{Spacing, check};
use super::{NoiseScheduler, Prediction, Result};

/// How much noise a step puts back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variance {
    Small,
    SmallLog,
    Large,
    LargeLog,
}

pub(super) struct Ddpm {
    schedule: Schedule,
    prediction: Prediction,
    clip: Clip,
    variance: Variance,
    timesteps: Vec<f32>,
    done: usize,
}

impl Ddpm {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        let schedule = Schedule::read(config, Defaults { more: true, ..USUAL })?;
        let timesteps = Spacing::read(config, "leading")?.timesteps(config, schedule.len(), steps)?;
        check(config, &timesteps, schedule.len())?;
        let variance = match config.text_or("variance_type", "fixed_small")?.as_str() {
            "fixed_small" => Variance::Small,
            "fixed_small_log" => Variance::SmallLog,
            "fixed_large" => Variance::Large,
            "fixed_large_log" => Variance::LargeLog,
            other => {
                let supported = "\"fixed_small\", \"fixed_small_log\", \"fixed_large\", \"fixed_large_log\"";
                return Err(config.error("variance_type", format!("is {other:?}; supported: {supported}")));
            }
        };
        Ok(Self {
            prediction: Prediction::read(config, &Prediction::ALL)?,
            clip: Clip::read(config, true)?,
            variance,
            timesteps: timesteps.into_iter().skip(skipped).map(|t| t as f32).collect(),
            schedule,
            done: 0,
        })
    }
}

impl NoiseScheduler for Ddpm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        let alpha = self.schedule.alphas[self.timesteps[0] as usize];
        mix(alpha.sqrt(), latents, (1.0 - alpha).sqrt(), noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], random: &mut Generator) -> Vec<f32> {
        let timestep = self.timesteps[self.done] as usize;
        self.done += 1;
        let alpha = self.schedule.alphas[timestep];
        let alpha_next = self.timesteps.get(self.done).map_or(1.0, |&next| self.schedule.alphas[next as usize]);
        let (beta, beta_next) = (1.0 - alpha, 1.0 - alpha_next);
        let step_alpha = alpha / alpha_next;
        let step_beta = 1.0 - step_alpha;
        let picture = self.clip.apply(self.prediction.picture(alpha.sqrt(), beta.sqrt(), output, latents));
        let picture_share = alpha_next.sqrt() * step_beta / beta;
        let latent_share = step_alpha.sqrt() * beta_next / beta;
        let mean = mix(picture_share, &picture, latent_share, latents);
        if timestep == 0 {
            return mean;
        }
        let small = (beta_next / beta * step_beta).max(1e-20);
        let deviation = match self.variance {
            Variance::Small => small.sqrt(),
            Variance::SmallLog => (0.5 * small.ln()).exp(),
            Variance::Large => step_beta.sqrt(),
            Variance::LargeLog => step_beta.ln().sqrt(),
        };
        zip(&mean, &random.randn(mean.len()), |mean, noise| mean + deviation * noise)
    }
}
