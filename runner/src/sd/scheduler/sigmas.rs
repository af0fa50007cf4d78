//! Noise levels ("sigmas") and the timesteps that belong to them, where a configuration asks for another spacing than that
//! of the timesteps: Karras et al., "Elucidating the design space of diffusion-based generative models" (2022), and others.

use super::super::config::Config;
use super::Result;
use super::numbers::linspace;

/// A spacing of noise levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Levels {
    /// Those of the timesteps.
    OfTimesteps,
    /// `use_karras_sigmas`.
    Karras,
    /// `use_exponential_sigmas`.
    Exponential,
    /// `use_lu_lambdas`.
    Lu,
}

impl Levels {
    /// Reads which one is asked for. `lu` is whether the class knows `use_lu_lambdas`.
    pub(super) fn read(config: &Config, lu: bool) -> Result<Self> {
        for key in ["use_beta_sigmas", "use_flow_sigmas", "use_dynamic_shifting"] {
            config.only(key, &[false.into()])?;
        }
        let asked = [
            ("use_karras_sigmas", Self::Karras, true),
            ("use_exponential_sigmas", Self::Exponential, true),
            ("use_lu_lambdas", Self::Lu, lu),
        ];
        let mut levels = Self::OfTimesteps;
        for (key, value, known) in asked {
            if known && config.or(key, false)? {
                if levels != Self::OfTimesteps && value != Self::Lu {
                    return Err(config.error(key, "is true, and so is another spacing; only one can be".to_owned()));
                }
                // Karras' sigmas win over Lu's, Lu's over exponential ones.
                if levels != Self::Karras {
                    levels = value;
                }
            }
        }
        Ok(levels)
    }

    /// `steps` noise levels between the bounds in the configuration, or else those of `sigmas`, which ascend.
    pub(super) fn between(self, config: &Config, steps: usize, lowest: f32, highest: f32) -> Result<Vec<f64>> {
        let low: f64 = config.or("sigma_min", f64::from(lowest))?;
        let high: f64 = config.or("sigma_max", f64::from(highest))?;
        Ok(match self {
            Self::OfTimesteps => Vec::new(),
            Self::Karras => {
                const RHO: f64 = 7.0;
                let (low, high) = (low.powf(1.0 / RHO), high.powf(1.0 / RHO));
                linspace(0.0, 1.0, steps).into_iter().map(|ramp| (high + ramp * (low - high)).powf(RHO)).collect()
            }
            Self::Exponential => linspace(high.ln(), low.ln(), steps).into_iter().map(f64::exp).collect(),
            Self::Lu => {
                let (low, high) = (f64::from(lowest.ln()), f64::from(highest.ln()));
                linspace(0.0, 1.0, steps).into_iter().map(|ramp| (high + ramp * (low - high)).exp()).collect()
            }
        })
    }
}

/// The timestep, with a fraction, at which the noise level is `sigma`. `sigmas` ascends.
pub(super) fn timestep_of(sigma: f64, sigmas: &[f32]) -> f64 {
    let log = sigma.max(1e-10).ln();
    let at = |i: usize| f64::from(sigmas[i].ln());
    let low = sigmas.iter().rposition(|level| log >= f64::from(level.ln())).unwrap_or(0).min(sigmas.len() - 2);
    let share = ((at(low) - log) / (at(low) - at(low + 1))).clamp(0.0, 1.0);
    (1.0 - share) * low as f64 + share * (low + 1) as f64
}

/// The noise level after the last step: `final_sigmas_type`.
pub(super) fn ends_at_zero(config: &Config) -> Result<bool> {
    match config.text_or("final_sigmas_type", "zero")?.as_str() {
        "zero" => Ok(true),
        "sigma_min" => Ok(false),
        other => Err(config.error("final_sigmas_type", format!("is {other:?}; supported: \"zero\", \"sigma_min\""))),
    }
}
