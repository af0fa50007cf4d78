//! `DPMSolverMultistepScheduler`: Lu et al., "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
//! models" (2022), and its predecessor.

use super::super::config::Config;
use super::super::rng::Generator;
use super::betas::{Schedule, USUAL};
use super::multistep::{Level, Multistep, Placement};
use super::numbers::{mix, zip};
use super::sigmas::ends_at_zero;
use super::{NoiseScheduler, Prediction, Result};

pub(super) struct DpmSolver {
    state: Multistep,
    /// Whether the solver follows the picture (`dpmsolver++`) or the noise (`dpmsolver`).
    follows_picture: bool,
    /// Whether it solves the stochastic equation.
    stochastic: bool,
    heun: bool,
    first_order_at_end: bool,
}

impl DpmSolver {
    pub(super) fn new(config: &Config, steps: usize, skipped: usize) -> Result<Self> {
        config.only("variance_type", &[])?;
        let schedule = Schedule::read(config, USUAL)?;
        let (follows_picture, stochastic) = match config.text_or("algorithm_type", "dpmsolver++")?.as_str() {
            "dpmsolver++" | "deis" => (true, false),
            "sde-dpmsolver++" => (true, true),
            "dpmsolver" => (false, false),
            "sde-dpmsolver" => (false, true),
            other => {
                let supported = "\"dpmsolver++\", \"sde-dpmsolver++\", \"dpmsolver\", \"sde-dpmsolver\"";
                return Err(config.error("algorithm_type", format!("is {other:?}; supported: {supported}")));
            }
        };
        let heun = match config.text_or("solver_type", "midpoint")?.as_str() {
            "midpoint" | "logrho" | "bh1" | "bh2" => false,
            "heun" => true,
            other => {
                let problem = format!("is {other:?}; supported: \"midpoint\", \"heun\"");
                return Err(config.error("solver_type", problem));
            }
        };
        let to_zero = ends_at_zero(config)?;
        if to_zero && !follows_picture {
            let problem = "is \"zero\"; `algorithm_type` \"dpmsolver\" needs \"sigma_min\"".to_owned();
            return Err(config.error("final_sigmas_type", problem));
        }
        let last = if to_zero { 0.0 } else { schedule.sigmas()[0] };
        let placement = Placement {
            lu: true,
            noisiest: noisiest(config, &schedule)?,
            last,
            last_elsewhere: Some(last),
            rounds: schedule.name != "squaredcos_cap_v2",
        };
        let state = Multistep::new(config, &schedule, &placement, steps, skipped)?;
        if stochastic && !follows_picture && state.order == 3 {
            let problem = "is 3; `algorithm_type` \"sde-dpmsolver\" supports 1 and 2".to_owned();
            return Err(config.error("solver_order", problem));
        }
        let first_order_at_end = config.or("euler_at_final", false)? || to_zero;
        Ok(Self { state, follows_picture, stochastic, heun, first_order_at_end })
    }

    /// The picture, or the noise, in the network's output.
    fn followed(&self, output: &[f32], latents: &[f32]) -> Vec<f32> {
        let state = &self.state;
        if self.follows_picture {
            return state.picture(output, latents);
        }
        let Level { alpha, sigma, .. } = state.level(0);
        let noise = match state.prediction {
            Prediction::Epsilon => output.to_vec(),
            Prediction::Sample => zip(latents, output, |x, p| (x - alpha * p) / sigma),
            Prediction::Velocity => mix(alpha, output, sigma, latents),
        };
        let picture = state.clip.apply(zip(latents, &noise, |x, e| (x - sigma * e) / alpha));
        if state.clip.is_none() { noise } else { zip(latents, &picture, |x, p| (x - alpha * p) / sigma) }
    }

    /// The change of what is followed: its first and second differences, scaled as the paper's D₁ and D₂.
    fn differences(&self, order: usize, h: f32) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
        let state = &self.state;
        if order < 2 {
            return (None, None);
        }
        let r0 = (state.level(0).lambda - state.level(1).lambda) / h;
        let first = zip(state.output(0), state.output(1), |a, b| 1.0 / r0 * (a - b));
        if order < 3 {
            return (Some(first), None);
        }
        let r1 = (state.level(1).lambda - state.level(2).lambda) / h;
        let second = zip(state.output(1), state.output(2), |a, b| 1.0 / r1 * (a - b));
        let d1 = zip(&first, &second, |a, b| a + r0 / (r0 + r1) * (a - b));
        (Some(d1), Some(zip(&first, &second, |a, b| 1.0 / (r0 + r1) * (a - b))))
    }
}

/// Where `lambda_min_clipped` cuts the timesteps off.
fn noisiest(config: &Config, schedule: &Schedule) -> Result<usize> {
    let lowest = config.or("lambda_min_clipped", f64::NEG_INFINITY)?;
    let lambda = |alpha: &f32| f64::from(alpha.sqrt().ln() - (1.0 - alpha).sqrt().ln());
    Ok(schedule.bounded_alphas().iter().filter(|alpha| lambda(alpha) >= lowest).count())
}

/// The factors of one step: of the latents, of what is followed, and of its first and second differences.
struct Factors {
    latents: f32,
    followed: f32,
    first: f32,
    second: f32,
    noise: f32,
}

impl DpmSolver {
    fn factors(&self, order: usize, from: Level, to: Level) -> Factors {
        let h = to.lambda - from.lambda;
        let midpoint = order == 2 && !self.heun;
        match (self.follows_picture, self.stochastic) {
            (true, false) => {
                let e = (-h).exp() - 1.0;
                Factors {
                    latents: to.sigma / from.sigma,
                    followed: -to.alpha * e,
                    first: if midpoint { -0.5 * (to.alpha * e) } else { to.alpha * (e / h + 1.0) },
                    second: -to.alpha * ((e + h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            (false, false) => {
                let e = h.exp() - 1.0;
                Factors {
                    latents: to.alpha / from.alpha,
                    followed: -to.sigma * e,
                    first: if midpoint { -0.5 * (to.sigma * e) } else { -to.sigma * (e / h - 1.0) },
                    second: -to.sigma * ((e - h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            (true, true) => {
                let e = 1.0 - (-2.0 * h).exp();
                Factors {
                    latents: to.sigma / from.sigma * (-h).exp(),
                    followed: to.alpha * e,
                    first: if midpoint { 0.5 * (to.alpha * e) } else { to.alpha * (e / (-2.0 * h) + 1.0) },
                    second: to.alpha * ((e - 2.0 * h) / (2.0 * h).powi(2) - 0.5),
                    noise: to.sigma * e.sqrt(),
                }
            }
            (false, true) => {
                let e = h.exp() - 1.0;
                Factors {
                    latents: to.alpha / from.alpha,
                    followed: -2.0 * (to.sigma * e),
                    first: if midpoint { -(to.sigma * e) } else { -2.0 * (to.sigma * (e / h - 1.0)) },
                    second: 0.0,
                    noise: to.sigma * ((2.0 * h).exp() - 1.0).sqrt(),
                }
            }
        }
    }
}

impl NoiseScheduler for DpmSolver {
    fn timesteps(&self) -> &[f32] {
        &self.state.timesteps
    }

    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32> {
        self.state.add_noise(latents, noise)
    }

    fn step(&mut self, output: &[f32], latents: &[f32], random: &mut Generator) -> Vec<f32> {
        let followed = self.followed(output, latents);
        self.state.remember(followed);
        let order = self.state.lowered_order(self.first_order_at_end);
        let (from, to) = (self.state.level(0), self.state.next_level());
        let factors = self.factors(order, from, to);
        let (first, second) = self.differences(order, to.lambda - from.lambda);
        let mut next = mix(factors.latents, latents, factors.followed, self.state.output(0));
        for (factor, difference) in [(factors.first, first), (factors.second, second)] {
            if let Some(difference) = difference {
                next.iter_mut().zip(difference).for_each(|(x, d)| *x += factor * d);
            }
        }
        if self.stochastic {
            let noise = random.randn(next.len());
            next.iter_mut().zip(noise).for_each(|(x, e)| *x += factors.noise * e);
        }
        self.state.advance();
        next
    }
}
