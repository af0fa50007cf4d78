//! `UniPCMultistepScheduler`: Zhao et al., "UniPC: a unified predictor-corrector framework for fast sampling of diffusion
//! models" (2023).

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Schedule, USUAL};
use super::multistep::{Level, Multistep, Placement};
use super::numbers::{mix, solve, zip};
use super::sigmas::ends_at_zero;
use super::{NoiseScheduler, Prediction, Result};

pub(super) struct UniPc {
    state: Multistep,
    /// Whether the solver follows the picture or the noise.
    predicts_picture: bool,
    /// Whether B(h) is eʰ − 1 (`bh2`) or h (`bh1`).
    exponential: bool,
    uncorrected: Vec<usize>,
    /// The latents before the last step and that step's order.
    last: Option<(Vec<f32>, usize)>,
}

impl UniPc {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        config.only("solver_p", &[])?;
        let schedule = Schedule::read(config, USUAL)?;
        let exponential = match config.text_or("solver_type", "bh2")?.as_str() {
            "bh2" | "midpoint" | "heun" | "logrho" => true,
            "bh1" => false,
            other => {
                return Err(config.error("solver_type", format!("is {other:?}; supported: \"bh1\", \"bh2\"")));
            }
        };
        let to_zero = ends_at_zero(config)?;
        let placement = Placement {
            lu: false,
            noisiest: schedule.len(),
            last: if to_zero { 0.0 } else { schedule.sigmas()[0] },
            last_elsewhere: to_zero.then_some(0.0),
            rounds: true,
        };
        Ok(Self {
            state: Multistep::new(config, &schedule, &placement, steps, skipped)?,
            predicts_picture: config.or("predict_x0", true)?,
            exponential,
            uncorrected: config.or("disable_corrector", Vec::new())?,
            last: None,
        })
    }

    fn followed(&self, output: &[f32], latents: &[f32]) -> Vec<f32> {
        if self.predicts_picture {
            return self.state.picture(output, latents);
        }
        let Level { alpha, sigma, .. } = self.state.level(0);
        match self.state.prediction {
            Prediction::Epsilon => output.to_vec(),
            Prediction::Sample => zip(latents, output, |x, p| (x - alpha * p) / sigma),
            Prediction::Velocity => mix(alpha, output, sigma, latents),
        }
    }

    /// One step between two levels. `before` are the levels and outputs of steps before `from`, the nearest first; `newest`
    /// is the output at `to`, which only the corrector has.
    fn update(&self, latents: &[f32], from: Level, to: Level, past: &Past, newest: Option<&[f32]>) -> Vec<f32> {
        let h = to.lambda - from.lambda;
        let h = if self.predicts_picture { -h } else { h };
        let growth = h.exp_m1();
        let b = if self.exponential { growth } else { h };
        let (keep, scale) =
            if self.predicts_picture { (to.sigma / from.sigma, to.alpha) } else { (to.alpha / from.alpha, to.sigma) };
        let mut next = mix(keep, latents, -scale * growth, past.newest);

        let step = to.lambda - from.lambda;
        let mut ratios: Vec<f32> = past.earlier.iter().map(|(level, _)| (level.lambda - from.lambda) / step).collect();
        let mut differences: Vec<Vec<f32>> = past
            .earlier
            .iter()
            .zip(&ratios)
            .map(|((_, output), ratio)| zip(output, past.newest, |old, new| (old - new) / ratio))
            .collect();
        ratios.push(1.0);
        let order = ratios.len();
        let mut right = Vec::with_capacity(order);
        let (mut phi, mut factorial) = (growth / h - 1.0, 1.0_f32);
        for i in 1..=order {
            right.push(phi * factorial / b);
            factorial *= (i + 1) as f32;
            phi = phi / h - 1.0 / factorial;
        }
        let count = if newest.is_some() { order } else { order - 1 };
        let weights = match (newest.is_some(), order) {
            (true, 1) | (false, 2) => vec![0.5],
            (false, 1) => Vec::new(),
            _ => {
                let row = |power: usize| ratios[..count].iter().map(|ratio| ratio.powi(power as i32)).collect();
                solve((0..count).map(row).collect(), right[..count].to_vec())
            }
        };
        if let Some(newest) = newest {
            differences.push(zip(newest, past.newest, |new, old| new - old));
        }
        for (weight, difference) in weights.iter().zip(&differences) {
            let factor = scale * b * weight;
            next.iter_mut().zip(difference).for_each(|(x, d)| *x -= factor * d);
        }
        next
    }
}

/// What a step is made of.
struct Past<'a> {
    newest: &'a [f32],
    earlier: Vec<(Level, &'a [f32])>,
}

impl NoiseScheduler for UniPc {
    fn timesteps(&self) -> &[f32] {
        &self.state.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        self.state.add_noise(latents, noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], _: &mut Generator) -> Vec<f32> {
        let followed = self.followed(output, latents);
        let index = self.state.skipped + self.state.done;
        let corrects = index > 0 && !self.uncorrected.contains(&(index - 1));
        let latents = match &self.last {
            Some((before, order)) if corrects => {
                let state = &self.state;
                let earlier = (1..*order).map(|ago| (state.level(ago + 1), state.output(ago))).collect();
                let past = Past { newest: state.output(0), earlier };
                self.update(before, state.level(1), state.level(0), &past, Some(&followed))
            }
            _ => latents.to_vec(),
        };
        self.state.remember(followed);
        let order = self.state.bounded_order();
        let state = &self.state;
        let earlier = (1..order).map(|ago| (state.level(ago), state.output(ago))).collect();
        let past = Past { newest: state.output(0), earlier };
        let next = self.update(&latents, state.level(0), state.next_level(), &past, None);
        self.last = Some((latents, order));
        self.state.advance();
        next
    }
}
