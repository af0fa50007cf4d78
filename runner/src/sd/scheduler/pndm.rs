//! `PNDMScheduler`: Liu et al., "Pseudo numerical methods for diffusion models on manifolds" (2022).

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Defaults, Schedule, USUAL};
use super::numbers::{mix, zip};
use super::spacing::{Spacing, check};
use super::{NoiseScheduler, Prediction, Result};

/// Runge–Kutta takes four evaluations for each of its steps.
const ORDER: usize = 4;

pub(super) struct Pndm {
    schedule: Schedule,
    prediction: Prediction,
    final_alpha: f32,
    /// Between two steps, in training timesteps.
    ratio: i64,
    /// Those of the Runge–Kutta warm-up; empty where it is skipped.
    warm_up: Vec<i64>,
    timesteps: Vec<f32>,
    done: usize,
    outputs: Vec<Vec<f32>>,
    /// The weighted sum of a warm-up step's evaluations.
    sum: Option<Vec<f32>>,
    kept: Option<Vec<f32>>,
}

impl Pndm {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        let schedule = Schedule::read(config, Defaults { rescales: false, ..USUAL })?;
        let prediction = Prediction::read(config, &[Prediction::Epsilon, Prediction::Velocity])?;
        let final_alpha = if config.or("set_alpha_to_one", false)? { 1.0 } else { schedule.alphas[0] };
        let ratio = schedule.len() / steps;
        let falling = Spacing::read(config, "leading")?.timesteps(config, schedule.len(), steps)?;
        check(config, &falling, schedule.len())?;
        let falling: Vec<i64> = falling.into_iter().map(|t| t as i64).collect();
        let (warm_up, rest) = if config.or("skip_prk_steps", false)? {
            // The second timestep is evaluated twice: the multistep method begins with an improved Euler step.
            let twice = falling.get(1).copied();
            let rest = falling.iter().take(1).copied().chain(twice).chain(falling.iter().skip(1).copied());
            (Vec::new(), rest.collect::<Vec<i64>>())
        } else if steps < ORDER {
            return Err(config.error("skip_prk_steps", format!("is false; pndm then needs {ORDER} steps or more")));
        } else {
            (warm_up(&falling[..ORDER], ratio as i64 / 2), falling[ORDER - 1..].to_vec())
        };
        let timesteps = warm_up.iter().chain(&rest).skip(skipped).map(|&t| t as f32).collect();
        Ok(Self {
            schedule,
            prediction,
            final_alpha,
            ratio: ratio as i64,
            warm_up,
            timesteps,
            done: 0,
            outputs: Vec::new(),
            sum: None,
            kept: None,
        })
    }

    fn alpha(&self, timestep: i64) -> f32 {
        match usize::try_from(timestep) {
            Ok(t) => self.schedule.alphas[t.min(self.schedule.len() - 1)],
            Err(_) => self.final_alpha,
        }
    }

    /// Equation (9) of the paper, from one timestep to another.
    fn transfer(&self, latents: &[f32], from: i64, to: i64, output: &[f32]) -> Vec<f32> {
        let (alpha, alpha_to) = (self.alpha(from), self.alpha(to));
        let (beta, beta_to) = (1.0 - alpha, 1.0 - alpha_to);
        let noise = match self.prediction {
            Prediction::Velocity => mix(alpha.sqrt(), output, beta.sqrt(), latents),
            _ => output.to_vec(),
        };
        let scale = (alpha_to / alpha).sqrt();
        let denominator = alpha * beta_to.sqrt() + (alpha * beta * alpha_to).sqrt();
        zip(latents, &noise, |x, e| scale * x - (alpha_to - alpha) * e / denominator)
    }

    fn warm_up_step(&mut self, timestep: i64, output: &[f32], latents: &[f32]) -> Vec<f32> {
        let back = if self.done % 2 == 1 { 0 } else { self.ratio / 2 };
        let from = self.warm_up[self.done / ORDER * ORDER];
        let share = if matches!(self.done % ORDER, 0 | 3) { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let share: Vec<f32> = output.iter().map(|e| share * e).collect();
        let sum = match self.sum.take() {
            Some(sum) => zip(&sum, &share, |a, b| a + b),
            None => share,
        };
        let slope = match self.done % ORDER {
            0 => {
                self.outputs.push(output.to_vec());
                self.kept = Some(latents.to_vec());
                self.sum = Some(sum);
                output.to_vec()
            }
            1 | 2 => {
                self.sum = Some(sum);
                output.to_vec()
            }
            _ => sum,
        };
        let start = self.kept.clone().unwrap_or_else(|| latents.to_vec());
        self.transfer(&start, from, timestep - back, &slope)
    }

    fn multistep(&mut self, timestep: i64, output: &[f32], latents: &[f32]) -> Vec<f32> {
        let (mut from, mut to) = (timestep, timestep - self.ratio);
        if self.done == 1 {
            (from, to) = (timestep + self.ratio, timestep);
        } else {
            let old = self.outputs.len().saturating_sub(3);
            self.outputs.drain(..old);
            self.outputs.push(output.to_vec());
        }
        let mut start = latents.to_vec();
        let e = &self.outputs;
        let slope: Vec<f32> = match e.len() {
            1 if self.done == 0 => {
                self.kept = Some(latents.to_vec());
                output.to_vec()
            }
            1 => {
                start = self.kept.take().unwrap_or(start);
                zip(output, &e[0], |new, old| (new + old) / 2.0)
            }
            2 => zip(&e[1], &e[0], |a, b| (3.0 * a - b) / 2.0),
            3 => (0..output.len()).map(|i| (23.0 * e[2][i] - 16.0 * e[1][i] + 5.0 * e[0][i]) / 12.0).collect(),
            _ => {
                let term = |i: usize| 55.0 * e[3][i] - 59.0 * e[2][i] + 37.0 * e[1][i] - 9.0 * e[0][i];
                (0..output.len()).map(|i| 1.0 / 24.0 * term(i)).collect()
            }
        };
        self.transfer(&start, from, to, &slope)
    }
}

/// Twelve evaluations: for each of three steps one at its start, two in its middle, one at its end.
fn warm_up(falling: &[i64], half: i64) -> Vec<i64> {
    let mut rising: Vec<i64> = falling.iter().rev().flat_map(|&t| [t, t + half]).collect();
    rising.pop();
    let doubled: Vec<i64> = rising.into_iter().flat_map(|t| [t, t]).collect();
    doubled[1..doubled.len() - 1].iter().rev().copied().collect()
}

impl NoiseScheduler for Pndm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        let alpha = self.alpha(self.timesteps[0] as i64);
        mix(alpha.sqrt(), latents, (1.0 - alpha).sqrt(), noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], _: &mut Generator) -> Vec<f32> {
        let timestep = self.timesteps[self.done] as i64;
        let next = if self.done < self.warm_up.len() {
            self.warm_up_step(timestep, output, latents)
        } else {
            self.multistep(timestep, output, latents)
        };
        self.done += 1;
        next
    }
}
