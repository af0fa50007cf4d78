//! Conditional instance normalisation (Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style, 2016).

use candle_core::{Result, Tensor};

/// Scales and shifts of several styles, `[styles, channels]` each.
#[derive(Debug)]
pub struct StyleNorm {
    gamma: Tensor,
    beta: Tensor,
}

/// A normalisation in one style: each channel gets mean 0 and variance 1 over the pixels, then a scale and a shift.
#[derive(Debug)]
pub struct InstanceNorm {
    scale: Tensor,
    shift: Tensor,
}

impl StyleNorm {
    /// `gamma` and `beta` are `[styles, channels]`.
    pub fn new(gamma: Tensor, beta: Tensor) -> Self {
        Self { gamma, beta }
    }

    /// The normalisation for a blend: `shares` is `[styles, 1]` and sums to 1.
    ///
    /// # Errors
    /// Another number of styles.
    pub fn blend(&self, shares: &Tensor) -> Result<InstanceNorm> {
        let mix = |styles: &Tensor| styles.broadcast_mul(shares)?.sum(0);
        Ok(InstanceNorm { scale: mix(&self.gamma)?, shift: mix(&self.beta)? })
    }
}

impl InstanceNorm {
    const EPSILON: f64 = 1e-5;

    /// `[height, width, channels]` → the same shape.
    ///
    /// # Errors
    /// The input's channels are not those of the scale.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mean = channel_means(x)?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = channel_means(&centred.sqr()?)?;
        let scale = (&self.scale / (variance + Self::EPSILON)?.sqrt()?)?;
        centred.broadcast_mul(&scale)?.broadcast_add(&self.shift)
    }
}

/// The mean of every channel, `[channels]`. First along each row and then over the rows, so that a large frame's sum
/// stays exact enough in 32 bits.
fn channel_means(x: &Tensor) -> Result<Tensor> {
    let (height, width, channels) = x.dims3()?;
    let ones = Tensor::full(1f32 / width as f32, (1, 1, width), x.device())?.broadcast_as((height, 1, width))?;
    let rows = ones.matmul(x)?.reshape((height, channels))?;
    rows.mean(0)
}
