//! `EulerDiscreteScheduler`: algorithm 2 of Karras et al., "Elucidating the design space of diffusion-based generative
//! models" (2022), without churn.

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Schedule, USUAL};
use super::numbers::{count_down, interpolate, linspace, linspace_f32, zip};
use super::sigmas::{Levels, ends_at_zero, timestep_of};
use super::spacing::{Spacing, offset};
use super::{NoiseScheduler, Prediction, Result};

pub(super) struct Euler {
    prediction: Prediction,
    /// One more than there are timesteps.
    sigmas: Vec<f32>,
    timesteps: Vec<f32>,
    done: usize,
}

impl Euler {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        let schedule = Schedule::read(config, USUAL)?;
        let prediction = match config.text_or("prediction_type", "epsilon")?.as_str() {
            "original_sample" => Prediction::Sample,
            _ => Prediction::read(config, &Prediction::ALL)?,
        };
        let trained = schedule.sigmas();
        let mut timesteps = fractional_timesteps(config, schedule.len(), steps)?;
        let mut sigmas: Vec<f64> = match config.text_or("interpolation_type", "linear")?.as_str() {
            "linear" => timesteps.iter().map(|&t| interpolate(f64::from(t), &trained)).collect(),
            "log_linear" => {
                let (low, high) = (trained[0].ln(), trained[trained.len() - 1].ln());
                linspace_f32(high, low, steps + 1).into_iter().map(|log| f64::from(log.exp())).collect()
            }
            other => {
                let problem = format!("is {other:?}; supported: \"linear\", \"log_linear\"");
                return Err(config.error("interpolation_type", problem));
            }
        };
        let levels = Levels::read(config, false)?;
        if levels != Levels::OfTimesteps {
            let (low, high) = (sigmas[sigmas.len() - 1] as f32, sigmas[0] as f32);
            sigmas = levels.between(config, steps, low, high)?;
            timesteps = sigmas.iter().map(|&sigma| timestep_of(sigma, &trained) as f32).collect();
        }
        sigmas.push(if ends_at_zero(config)? { 0.0 } else { f64::from(trained[0]) });
        let sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).collect();
        match config.text_or("timestep_type", "discrete")?.as_str() {
            "discrete" => {}
            "continuous" if prediction == Prediction::Velocity => {
                timesteps = sigmas[..sigmas.len() - 1].iter().map(|sigma| 0.25 * sigma.ln()).collect();
            }
            "continuous" => {}
            other => {
                let problem = format!("is {other:?}; supported: \"discrete\", \"continuous\"");
                return Err(config.error("timestep_type", problem));
            }
        }
        Ok(Self { prediction, sigmas: sigmas[skipped..].to_vec(), timesteps: timesteps[skipped..].to_vec(), done: 0 })
    }
}

/// Timesteps as the Euler classes space them: `linspace` keeps fractions.
pub(super) fn fractional_timesteps(config: &Config, trained: usize, steps: usize) -> Result<Vec<f32>> {
    let timesteps: Vec<f64> = match Spacing::read(config, "linspace")? {
        Spacing::Linspace => linspace(0.0, (trained - 1) as f64, steps).into_iter().rev().collect(),
        Spacing::Leading => {
            let offset = offset(config)?;
            (0..steps).rev().map(|i| (i * (trained / steps)) as f64 + offset).collect()
        }
        Spacing::Trailing => {
            let all = count_down(trained as f64, trained as f64 / steps as f64);
            all.into_iter().map(|t| t.round_ties_even() - 1.0).collect()
        }
    };
    Ok(timesteps.into_iter().map(|t| t as f32).collect())
}

/// The picture that the Euler classes take from the network's output at a noise level.
pub(super) fn picture(prediction: Prediction, sigma: f32, output: &[f32], latents: &[f32]) -> Vec<f32> {
    match prediction {
        Prediction::Epsilon => zip(latents, output, |x, e| x - sigma * e),
        Prediction::Sample => output.to_vec(),
        Prediction::Velocity => {
            let size = sigma * sigma + 1.0;
            zip(latents, output, |x, v| v * (-sigma / size.sqrt()) + x / size)
        }
    }
}

impl NoiseScheduler for Euler {
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

    fn step(&mut self, output: &[f32], latents: &[f32], _: &mut Generator) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[self.done], self.sigmas[self.done + 1]);
        self.done += 1;
        let picture = picture(self.prediction, sigma, output, latents);
        zip(latents, &picture, |x, p| x + (x - p) / sigma * (next - sigma))
    }
}
