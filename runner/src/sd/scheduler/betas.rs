//! How noisy each training timestep is.

use super::super::config::Config;
use super::Result;
use super::numbers::linspace_f32;

/// The schedule of noise that a model was trained with.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The share of the picture in the variance at each training timestep: diffusers' `alphas_cumprod`.
    pub(super) alphas: Vec<f32>,
    /// Whether the last timestep is pure noise.
    pub(super) zero_snr: bool,
    /// Its name in the configuration.
    pub(super) name: String,
}

/// What differs between the classes in how they read their schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// `beta_start`.
    pub(super) start: f64,
    /// `beta_end`.
    pub(super) end: f64,
    /// `beta_schedule`.
    pub(super) schedule: &'static str,
    /// Whether the class knows `rescale_betas_zero_snr`.
    pub(super) rescales: bool,
    /// Whether the class knows the schedules `sigmoid` and `laplace`.
    pub(super) more: bool,
}

/// The defaults of most classes.
pub(super) const USUAL: Defaults =
    Defaults { start: 0.0001, end: 0.02, schedule: "linear", rescales: true, more: false };

impl Schedule {
    pub(super) fn read(config: &Config, defaults: Defaults) -> Result<Self> {
        let count = config.or("num_train_timesteps", 1000_usize)?;
        let (start, end) = (config.or("beta_start", defaults.start)?, config.or("beta_end", defaults.end)?);
        let name = config.text_or("beta_schedule", defaults.schedule)?;
        let trained: Option<Vec<f32>> = config.optional("trained_betas")?;
        if count < 2 {
            return Err(config.error("num_train_timesteps", format!("is {count}; it must be 2 or more")));
        }
        let mut betas = match (trained, name.as_str()) {
            (Some(betas), _) if betas.len() != count => {
                let problem = format!("has {} entries for {count} timesteps", betas.len());
                return Err(config.error("trained_betas", problem));
            }
            (Some(betas), _) => betas,
            (None, "linear") => linspace_f32(start as f32, end as f32, count),
            (None, "scaled_linear") => linspace_f32(start.sqrt() as f32, end.sqrt() as f32, count)
                .into_iter()
                .map(|root| root * root)
                .collect(),
            (None, "squaredcos_cap_v2") => from_alpha_bar(count, cosine),
            (None, "laplace") if defaults.more => from_alpha_bar(count, laplace),
            (None, "sigmoid") if defaults.more => {
                let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
                let (start, width) = (start as f32, (end - start) as f32);
                linspace_f32(-6.0, 6.0, count).into_iter().map(|x| sigmoid(x) * width + start).collect()
            }
            (None, _) => {
                let more = if defaults.more { ", \"sigmoid\", \"laplace\"" } else { "" };
                let supported = format!("\"linear\", \"scaled_linear\", \"squaredcos_cap_v2\"{more}");
                return Err(config.error("beta_schedule", format!("is {name:?}; supported: {supported}")));
            }
        };
        let zero_snr = defaults.rescales && config.or("rescale_betas_zero_snr", false)?;
        if zero_snr {
            betas = rescale_to_zero_snr(&betas);
        }
        Ok(Self { alphas: cumulative(betas.iter().map(|beta| 1.0 - beta)), zero_snr, name })
    }

    /// The number of training timesteps.
    pub(super) fn len(&self) -> usize {
        self.alphas.len()
    }

    /// The noise over the picture at each timestep. Where the last one is pure noise, it is taken for a little less.
    pub(super) fn sigmas(&self) -> Vec<f32> {
        self.bounded_alphas().into_iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
    }

    /// `alphas` where none is zero.
    pub(super) fn bounded_alphas(&self) -> Vec<f32> {
        let mut alphas = self.alphas.clone();
        if let (true, Some(last)) = (self.zero_snr, alphas.last_mut()) {
            *last = 2_f32.powi(-24);
        }
        alphas
    }
}

/// The running product; torch multiplies in f64.
fn cumulative(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let product = |product: &mut f64, value: f32| {
        *product *= f64::from(value);
        Some(*product as f32)
    };
    values.scan(1.0_f64, product).collect()
}

/// Algorithm 1 of Lin et al., "Common diffusion noise schedules and sample steps are flawed" (2024).
fn rescale_to_zero_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumulative(betas.iter().map(|beta| 1.0 - beta)).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let stretch = first / (first - last);
    let bars: Vec<f32> = roots.iter().map(|root| ((root - last) * stretch).powi(2)).collect();
    let alphas = std::iter::once(bars[0]).chain(bars.windows(2).map(|pair| pair[1] / pair[0]));
    alphas.map(|alpha| 1.0 - alpha).collect()
}

fn from_alpha_bar(count: usize, alpha_bar: fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / count as f64);
    (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

fn cosine(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2)
}

fn laplace(t: f64) -> f64 {
    let lambda = -0.5 * 1_f64.copysign(0.5 - t) * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
    let snr = lambda.exp();
    (snr / (1.0 + snr)).sqrt()
}
