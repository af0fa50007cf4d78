//! Numbers as vectors: the timestep, the guidance scale, the sizes of SDXL.

use candle_core::Result;

use crate::nn::activation::Activation;
use crate::nn::linear::Linear;
use crate::nn::tokens::{Shape, Tokens};
use crate::nn::weights::{Placement, Weights, WeightsError};

/// Two linear layers (diffusers' `TimestepEmbedding`).
pub(super) struct Embedder {
    linear1: Linear,
    linear2: Linear,
    condition: Option<Linear>,
    activation: Activation,
}

impl Embedder {
    /// `condition` is the width of a second vector that is added to the first.
    pub(super) fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        condition: Option<usize>,
        activation: Activation,
    ) -> std::result::Result<Self, WeightsError> {
        let condition = condition.map(|width| Linear::load_without_bias(&weights.at("cond_proj"), width, inputs));
        Ok(Self {
            linear1: Linear::load(&weights.at("linear_1"), inputs, outputs)?,
            linear2: Linear::load(&weights.at("linear_2"), outputs, outputs)?,
            condition: condition.transpose()?,
            activation,
        })
    }

    pub(super) fn forward(&self, x: &Tokens, condition: Option<&Tokens>) -> Result<Tokens> {
        let x = match (&self.condition, condition) {
            (Some(layer), Some(condition)) => layer.forward_plus(condition, x)?,
            _ => x.clone(),
        };
        self.linear2.forward(&self.linear1.forward_activated(&x, self.activation, self.linear2.format())?)
    }
}

/// Sines and cosines of each value at `width / 2` frequencies, behind each other. `flip` puts the cosines first.
pub(super) fn sinusoids(values: &[f32], width: usize, flip: bool, shift: f64) -> Vec<f32> {
    let half = width / 2;
    let spread = -(10_000_f64.ln()) as f32;
    let frequency = |i: usize| f64::from(spread * i as f32 / (half as f64 - shift) as f32).exp() as f32;
    let frequencies: Vec<f32> = (0..half).map(frequency).collect();
    waves(values, &frequencies, width, flip)
}

/// The vector of a guidance scale for models that were distilled with one.
///
/// # Errors
/// A failure of the device.
pub(crate) fn guidance_embedding(scale: f64, width: usize, placement: &Placement) -> Result<Tokens> {
    let half = width / 2;
    let spread = 10_000_f32.ln() / (half as f32 - 1.0);
    let frequencies: Vec<f32> = (0..half).map(|i| f64::from(i as f32 * -spread).exp() as f32).collect();
    let value = (scale - 1.0) as f32 * 1000.0;
    let shape = Shape { batch: 1, rows: 1, width };
    Tokens::new(waves(&[value], &frequencies, width, false), shape, placement)
}

fn waves(values: &[f32], frequencies: &[f32], width: usize, flip: bool) -> Vec<f32> {
    let mut waves = Vec::with_capacity(values.len() * width);
    for value in values {
        let angles = frequencies.iter().map(|frequency| value * frequency);
        let (sines, cosines) = (angles.clone().map(f32::sin), angles.map(f32::cos));
        if flip {
            waves.extend(cosines.chain(sines));
        } else {
            waves.extend(sines.chain(cosines));
        }
        waves.extend((2 * frequencies.len()..width).map(|_| 0.0));
    }
    waves
}
