//! Layer normalisation.

use candle_core::Result;
use livewebcam_kernels::{self as kernels, Format};

use super::data::{Data, cpu};
use super::profile::{Kind, layer};
use super::standardise::standardise;
use super::tokens::Tokens;
use super::weights::{Vector, Weights, WeightsError};

/// Normalises each vector.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Vector,
    bias: Vector,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, width: usize, eps: f64) -> std::result::Result<Self, WeightsError> {
        Ok(Self { weight: weights.vector("weight", width)?, bias: weights.vector("bias", width)?, eps })
    }

    /// The vectors normalised.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn forward(&self, x: &Tokens) -> Result<Tokens> {
        self.forward_for(x, Format::F32)
    }

    /// The vectors normalised, to be multiplied with weights of `format` only.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn forward_for(&self, x: &Tokens, format: Format) -> Result<Tokens> {
        let _noted = layer(Kind::Norm, || 0);
        let data = match x.data() {
            Data::Candle(x) => {
                let normal = standardise(x, self.eps)?;
                Data::Candle(normal.broadcast_mul(self.weight.candle()?)?.broadcast_add(self.bias.candle()?)?)
            }
            x => {
                let x = x.host()?;
                let norm = kernels::LayerNorm { weight: self.weight.host()?, bias: self.bias.host()?, eps: self.eps };
                Data::filled_for(format, x.len(), |y| cpu().layer_norm(x, norm, y))
            }
        };
        Ok(Tokens::of(x.shape(), data))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, places, random, vectors};
    use super::super::tokens::Shape;
    use super::*;

    #[test]
    fn kernels_and_candle_agree() {
        let shape = Shape { batch: 2, rows: 3, width: 19 };
        let norms = vectors(1, 19).into_iter().zip(vectors(2, 19)).zip(places());
        let found: Vec<Vec<f32>> = norms
            .map(|((weight, bias), placement)| {
                let x = Tokens::new(random(3, shape.values()), shape, &placement).expect("rows");
                LayerNorm { weight, bias, eps: 1e-5 }.forward(&x).and_then(|y| y.values()).expect("rows")
            })
            .collect();
        assert_close(&found[0], &found[1]);
    }
}
