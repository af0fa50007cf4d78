//! What the multistep solvers share: noise levels, timesteps, and the memory of earlier outputs.

use super::super::config::Config;
use super::Prediction;
use super::Result;
use super::betas::Schedule;
use super::clip::Clip;
use super::numbers::{interpolate, mix};
use super::sigmas::{Levels, timestep_of};
use super::spacing::Spacing;

/// The state of a multistep solver during one painting.
pub(super) struct Multistep {
    pub(super) prediction: Prediction,
    pub(super) clip: Clip,
    /// `solver_order`: of how many outputs a step is made, at most.
    pub(super) order: usize,
    lower_order_final: bool,
    /// One more than there are timesteps.
    sigmas: Vec<f32>,
    pub(super) timesteps: Vec<f32>,
    /// Timesteps that the frame took the place of.
    pub(super) skipped: usize,
    pub(super) done: usize,
    /// The outputs of the last steps, as each solver wants them, the newest last.
    pub(super) outputs: Vec<Vec<f32>>,
    /// How many steps were made, up to `order`.
    warmed: usize,
}

/// A noise level in the form that the solvers compute with: latents are `alpha` times the picture and `sigma` times noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) alpha: f32,
    pub(super) sigma: f32,
    /// Half the logarithm of the signal-to-noise ratio.
    pub(super) lambda: f32,
}

impl Level {
    pub(super) fn of(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}

/// What differs between the solvers in how they place their noise levels.
pub(super) struct Placement {
    /// Whether the class knows `use_lu_lambdas`.
    pub(super) lu: bool,
    /// Where the timesteps begin.
    pub(super) noisiest: usize,
    /// The level after the last step where levels are those of timesteps.
    pub(super) last: f32,
    /// The level after the last step elsewhere; `None` repeats the last one.
    pub(super) last_elsewhere: Option<f32>,
    /// Whether Karras' levels belong to whole timesteps.
    pub(super) rounds: bool,
}

impl Multistep {
    pub(super) fn new(
        config: &Config,
        schedule: &Schedule,
        placement: &Placement,
        steps: usize,
        skipped: usize,
    ) -> Result<Self> {
        let trained = schedule.sigmas();
        let levels = Levels::read(config, placement.lu)?;
        let (sigmas, timesteps) = if levels == Levels::OfTimesteps {
            let spacing = Spacing::read(config, "linspace")?;
            let timesteps = spacing.multistep_timesteps(config, schedule.len(), placement.noisiest, steps)?;
            let sigmas = timesteps.iter().map(|&t| interpolate(t, &trained)).collect();
            (sigmas, timesteps)
        } else {
            let sigmas: Vec<f64> = levels.between(config, steps, trained[0], trained[trained.len() - 1])?;
            let rounds = placement.rounds && levels != Levels::Exponential;
            let round = |t: f64| if rounds { t.round_ties_even() } else { t };
            let timesteps: Vec<f64> = sigmas.iter().map(|&sigma| round(timestep_of(sigma, &trained))).collect();
            (sigmas, timesteps)
        };
        let last = match levels {
            Levels::OfTimesteps => Some(placement.last),
            _ => placement.last_elsewhere,
        };
        let mut sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).collect();
        sigmas.push(last.unwrap_or(sigmas[sigmas.len() - 1]));
        let order = config.or("solver_order", 2_usize)?;
        if !(1..=3).contains(&order) {
            return Err(config.error("solver_order", format!("is {order}; supported: 1, 2, 3")));
        }
        Ok(Self {
            prediction: Prediction::read(config, &Prediction::ALL)?,
            clip: Clip::dynamic(config)?,
            order,
            lower_order_final: config.or("lower_order_final", true)?,
            sigmas: sigmas[skipped..].to_vec(),
            timesteps: timesteps.iter().skip(skipped).map(|t| t.trunc() as f32).collect(),
            skipped,
            done: 0,
            outputs: Vec::new(),
            warmed: 0,
        })
    }

    /// Latents at the level of the first timestep.
    pub(super) fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        let Level { alpha, sigma, .. } = Level::of(self.sigmas[0]);
        mix(alpha, latents, sigma, noise)
    }

    /// Where `ago` is 0, the level of the present step; where it is 1, that of the step before.
    pub(super) fn level(&self, ago: usize) -> Level {
        Level::of(self.sigmas[self.done - ago])
    }

    /// The level after the present step.
    pub(super) fn next_level(&self) -> Level {
        Level::of(self.sigmas[self.done + 1])
    }

    /// The output `ago` steps before the newest.
    pub(super) fn output(&self, ago: usize) -> &[f32] {
        &self.outputs[self.outputs.len() - 1 - ago]
    }

    /// The picture in the network's output at the present step.
    pub(super) fn picture(&self, output: &[f32], latents: &[f32]) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.level(0);
        self.clip.apply(self.prediction.picture(alpha, sigma, output, latents))
    }

    pub(super) fn remember(&mut self, output: Vec<f32>) {
        if self.outputs.len() == self.order {
            self.outputs.remove(0);
        }
        self.outputs.push(output);
    }

    /// Goes on to the next step.
    pub(super) fn advance(&mut self) {
        self.warmed = (self.warmed + 1).min(self.order);
        self.done += 1;
    }

    /// How many steps of the present one and later there are.
    pub(super) fn left(&self) -> usize {
        self.timesteps.len() - self.done
    }

    /// The order of the present step in UniPC: not more than there are steps before and after.
    pub(super) fn bounded_order(&self) -> usize {
        let most = if self.lower_order_final { self.order.min(self.left()) } else { self.order };
        most.min(self.warmed + 1)
    }

    /// The order of the present step in DPM-Solver and DEIS: few steps end with lower orders. `first` is whether the last
    /// step is of first order in any case.
    pub(super) fn lowered_order(&self, first: bool) -> usize {
        let short = self.lower_order_final && self.skipped + self.timesteps.len() < 15;
        let most = match self.left() {
            1 if short || first => 1,
            2 if short => 2,
            _ => self.order,
        };
        most.min(self.order).min(self.warmed + 1)
    }
}
