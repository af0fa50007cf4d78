//! Group normalisation.

use candle_core::{Result, Tensor};
use livewebcam_kernels::{self as kernels, Format};

use super::activation::{self, Activation};
use super::data::{Data, cpu};
use super::map::Map;
use super::profile::{Kind, layer};
use super::standardise::standardise;
use super::weights::{Vector, Weights, WeightsError};

/// Normalises each picture's channels in groups, over all their pixels.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Vector,
    bias: Vector,
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
        let (weight, bias) = (weights.vector("weight", channels)?, weights.vector("bias", channels)?);
        Ok(Self { weight, bias, groups, eps })
    }

    /// Of these scales and shifts, one each for every channel, for the processor.
    #[must_use]
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, groups: usize, eps: f64) -> Self {
        Self { weight: Vector::Host(weight.into()), bias: Vector::Host(bias.into()), groups, eps }
    }

    /// The map normalised.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward(&self, x: &Map) -> Result<Map> {
        self.run(x, None, Format::F32)
    }

    /// The map normalised, whose pixels are to be multiplied with weights of `format` only.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward_for(&self, x: &Map, format: Format) -> Result<Map> {
        self.run(x, None, format)
    }

    /// The map normalised, and then the activation.
    ///
    /// # Errors
    /// Another number of channels, or a failure of the device.
    pub fn forward_activated(&self, x: &Map, activation: Activation) -> Result<Map> {
        self.run(x, Some(activation), Format::F32)
    }

    fn run(&self, x: &Map, activation: Option<Activation>, format: Format) -> Result<Map> {
        let _noted = layer(Kind::Norm, || 0);
        let size = x.size();
        let data = match x.data() {
            Data::Candle(x) => Data::Candle(activation::by_candle(activation, self.by_candle(x)?)?),
            x => {
                let (x, norm) = (x.host()?, self.of_kernels(activation)?);
                Data::filled_for(format, size.values(), |y| cpu().group_norm(x, size.batch, norm, y))
            }
        };
        Ok(Map::of(size, data))
    }

    /// As the kernels take it.
    pub(super) fn of_kernels(&self, activation: Option<Activation>) -> Result<kernels::GroupNorm<'_>> {
        Ok(kernels::GroupNorm {
            weight: self.weight.host()?,
            bias: self.bias.host()?,
            groups: self.groups,
            eps: self.eps,
            activation: activation::kernel(activation),
        })
    }

    fn by_candle(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let runs = x.reshape((batch * self.groups, channels / self.groups * height * width))?;
        let normal = standardise(&runs, self.eps)?.reshape(x.shape())?;
        let of_channels = |vector: &Vector| vector.candle()?.reshape((1, channels, 1, 1));
        normal.broadcast_mul(&of_channels(&self.weight)?)?.broadcast_add(&of_channels(&self.bias)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::MapSize;
    use super::super::testing::{assert_close, places, random, vectors};
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let size = MapSize { batch: 2, height: 4, width: 5, channels: 6 };
        for activation in [None, Some(Activation::Silu)] {
            let norms = vectors(1, 6).into_iter().zip(vectors(2, 6)).zip(places());
            let found: Vec<Vec<f32>> = norms
                .map(|((weight, bias), placement)| {
                    let x = Map::from_planes(random(3, size.values()), size, &placement).expect("a map");
                    let norm = GroupNorm { weight, bias, groups: 3, eps: 1e-5 };
                    norm.run(&x, activation, Format::F32).and_then(|y| y.planes()).expect("a map")
                })
                .collect();
            assert_close(&found[0], &found[1]);
        }
    }
}
