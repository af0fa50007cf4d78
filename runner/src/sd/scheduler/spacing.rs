//! Which of the training timesteps a painting goes through.

use super::super::config::Config;
use super::Result;
use super::numbers::{count_down, linspace};

/// How timesteps are spread over the training timesteps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spacing {
    /// From the first to the last.
    Linspace,
    /// Multiples of a whole ratio, counted from the first.
    Leading,
    /// Counted from the last.
    Trailing,
}

impl Spacing {
    pub(super) fn read(config: &Config, default: &str) -> Result<Self> {
        match config.text_or("timestep_spacing", default)?.as_str() {
            "linspace" => Ok(Self::Linspace),
            "leading" => Ok(Self::Leading),
            "trailing" => Ok(Self::Trailing),
            other => {
                let problem = format!("is {other:?}; supported: \"linspace\", \"leading\", \"trailing\"");
                Err(config.error("timestep_spacing", problem))
            }
        }
    }

    /// `steps` timesteps of `trained`, the noisiest first.
    pub(super) fn timesteps(self, config: &Config, trained: usize, steps: usize) -> Result<Vec<f64>> {
        Ok(match self {
            Self::Linspace => {
                linspace(0.0, (trained - 1) as f64, steps).into_iter().rev().map(f64::round_ties_even).collect()
            }
            Self::Leading => leading(trained / steps.max(1), steps, offset(config)?),
            Self::Trailing => trailing(trained, trained, steps),
        })
    }

    /// Like [`Spacing::timesteps`] for the multistep solvers, which end one step before the first timestep. `noisiest` is
    /// where they begin.
    pub(super) fn multistep_timesteps(
        self,
        config: &Config,
        trained: usize,
        noisiest: usize,
        steps: usize,
    ) -> Result<Vec<f64>> {
        Ok(match self {
            Self::Linspace => {
                let all = linspace(0.0, noisiest as f64 - 1.0, steps + 1);
                all.into_iter().skip(1).rev().map(f64::round_ties_even).collect()
            }
            Self::Leading => {
                let mut all = leading(noisiest / (steps + 1), steps + 1, offset(config)?);
                all.pop();
                all
            }
            Self::Trailing => trailing(trained, noisiest, steps),
        })
    }
}

pub(super) fn offset(config: &Config) -> Result<f64> {
    config.or("steps_offset", 0.0)
}

fn leading(ratio: usize, steps: usize, offset: f64) -> Vec<f64> {
    (0..steps).rev().map(|i| (i * ratio) as f64 + offset).collect()
}

fn trailing(trained: usize, noisiest: usize, steps: usize) -> Vec<f64> {
    let all = count_down(noisiest as f64, trained as f64 / steps as f64);
    all.into_iter().map(|t| t.round_ties_even() - 1.0).collect()
}

/// Refuses more steps than there are timesteps, and a timestep outside the training.
pub(super) fn check(config: &Config, timesteps: &[f64], trained: usize) -> Result<()> {
    match timesteps.iter().find(|&&t| t < 0.0 || t > (trained - 1) as f64) {
        Some(t) => {
            let problem = format!("gives the timestep {t}, but the model was trained with {trained}");
            Err(config.error("steps_offset", problem))
        }
        None => Ok(()),
    }
}
