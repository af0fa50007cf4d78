//! Group normalisation.

use candle_core::{Result, Tensor};
use livewebcam_kernels as kernels;

use super::activation::{self, Activation};
use super::map::Map;
use super::standardise::standardise;
use super::values::{Values, cpu};
use super::weights::{Weights, WeightsError};

/// Normalises each picture's channels in groups, over all their pixels.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`. `channels` is a multiple of `groups`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(
        weights: &Weights,
        channels: usize,
        groups: usize,
        eps: f64,
    ) -> std::result::Result<Self, WeightsError> {
        let (weight, bias) = (weights.small("weight", channels)?, weights.small("bias", channels)?);
        Ok(Self { weight, bias, groups, eps })
    }

    /// The map normalised.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward(&self, x: &Map) -> Result<Map> {
        self.run(x, None)
    }

    /// The map normalised, and then the activation.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward_activated(&self, x: &Map, activation: Activation) -> Result<Map> {
        self.run(x, Some(activation))
    }

    fn run(&self, x: &Map, activation: Option<Activation>) -> Result<Map> {
        if !x.own().device().is_cpu() {
            return Ok(Map::from_own(self.by_candle(x.own(), activation)?));
        }
        let (weight, bias) = (Values::of(&self.weight)?, Values::of(&self.bias)?);
        let norm = kernels::GroupNorm {
            weight: &weight,
            bias: &bias,
            groups: self.groups,
            eps: self.eps,
            activation: activation::kernel(activation),
        };
        let (size, x) = (x.size(), Values::of(x.own())?);
        Map::filled(size, |y| cpu().group_norm(&x, size.batch, norm, y))
    }

    /// Planes in, planes out.
    fn by_candle(&self, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let runs = x.contiguous()?.reshape((batch * self.groups, channels / self.groups * height * width))?;
        let normal = standardise(&runs, self.eps)?.reshape(x.shape())?;
        let of_channels = |tensor: &Tensor| tensor.reshape((1, channels, 1, 1));
        let y = normal.broadcast_mul(&of_channels(&self.weight)?)?.broadcast_add(&of_channels(&self.bias)?)?;
        activation::by_candle(activation, y)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, random};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let norm = GroupNorm { weight: random(1, &[6]), bias: random(2, &[6]), groups: 3, eps: 1e-5 };
        let x = random(3, &[2, 6, 4, 5]);
        let map = Map::from_planes(&x).expect("a map");
        for activation in [None, Some(Activation::Silu)] {
            let found = norm.run(&map, activation).and_then(|y| y.planes()).expect("a map");
            assert_close(&found, &norm.by_candle(&x, activation).expect("a map"));
        }
    }
}
