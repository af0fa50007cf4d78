//! `DEISMultistepScheduler`: Zhang and Chen, "Fast sampling of diffusion models with exponential integrator" (2023), with
//! polynomials in log ρ.

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Defaults, Schedule, USUAL};
use super::multistep::{Level, Multistep, Placement};
use super::numbers::{mix, zip};
use super::{NoiseScheduler, Result};

pub(super) struct Deis {
    state: Multistep,
}

impl Deis {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        config.only("algorithm_type", &["deis".into(), "dpmsolver".into(), "dpmsolver++".into()])?;
        let solvers = ["logrho", "midpoint", "heun", "bh1", "bh2"].map(serde_json::Value::from);
        config.only("solver_type", &solvers)?;
        let schedule = Schedule::read(config, Defaults { rescales: false, ..USUAL })?;
        let placement = Placement {
            lu: false,
            noisiest: schedule.len(),
            last: schedule.sigmas()[0],
            last_elsewhere: None,
            rounds: true,
        };
        Ok(Self { state: Multistep::new(config, &schedule, &placement, steps, skipped)? })
    }

    /// How much each of the last two or three outputs weighs, the newest first: the integral of the polynomial that is 1
    /// at its noise level and 0 at the others.
    fn weights(&self, order: usize, to: Level) -> Vec<f32> {
        let rho = |level: Level| level.sigma / level.alpha;
        let (end, start) = (rho(to), rho(self.state.level(0)));
        let logs: Vec<f32> = (0..order).map(|ago| rho(self.state.level(ago)).ln()).collect();
        let integral = |t: f32, of: usize| {
            let others: Vec<f32> = (1..order).map(|step| logs[(of + step) % order]).collect();
            let log = t.ln();
            match others.as_slice() {
                [c] => t * (-c + log - 1.0) / (logs[of] - c),
                [c, d] => {
                    let numerator = t * (c * (d - log + 1.0) - d * log + d + log.powi(2) - 2.0 * log + 2.0);
                    numerator / ((logs[of] - c) * (logs[of] - d))
                }
                _ => t,
            }
        };
        (0..order).map(|of| integral(end, of) - integral(start, of)).collect()
    }
}

impl NoiseScheduler for Deis {
    fn timesteps(&self) -> &[f32] {
        &self.state.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        self.state.add_noise(latents, noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], _: &mut Generator) -> Vec<f32> {
        let (from, to) = (self.state.level(0), self.state.next_level());
        let picture = self.state.picture(output, latents);
        let noise = zip(latents, &picture, |x, p| (x - from.alpha * p) / from.sigma);
        self.state.remember(noise);
        let order = self.state.lowered_order(false);
        let next = if order == 1 {
            let h = to.lambda - from.lambda;
            mix(to.alpha / from.alpha, latents, -to.sigma * (h.exp() - 1.0), self.state.output(0))
        } else {
            let weights = self.weights(order, to);
            let sum = |i: usize| {
                let weighted = weights.iter().enumerate().map(|(ago, weight)| weight * self.state.output(ago)[i]);
                to.alpha * weighted.fold(latents[i] / from.alpha, |sum, term| sum + term)
            };
            (0..latents.len()).map(sum).collect()
        };
        self.state.advance();
        next
    }
}
