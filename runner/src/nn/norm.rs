//! Conditional instance normalisation (Dumoulin, Shlens, Kudlur: A Learned Representation for Artistic Style, 2016).

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::iter::ParallelIterator;

use super::bands::{PLAIN_VALUES, bands, map_of_bands};

/// Scales and shifts of several styles, `[styles, channels]` each.
#[derive(Debug)]
pub struct StyleNorm {
    gamma: Tensor,
    beta: Tensor,
}

/// A normalisation in one style: every channel gets mean 0 and variance 1 over the pixels, then a scale and a shift.
#[derive(Debug)]
pub struct InstanceNorm {
    /// `[channels]`
    scale: Tensor,
    /// `[channels]`
    shift: Tensor,
}

/// What is done to every value last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(0, x)
    Relu,
    /// 1 ÷ (1 + exp(-x))
    Sigmoid,
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
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let shape = x.dims3()?;
        let Moments { mean, squares, count } = Moments::of(x)?;
        let deviation = squares.iter().map(|squares| (squares / count + Self::EPSILON).sqrt() as f32).collect();
        let mean = mean.iter().map(|mean| *mean as f32).collect();
        let scale = (&self.scale / Tensor::from_vec(deviation, shape.2, x.device())?)?;
        let shift = (&self.shift - (Tensor::from_vec(mean, shape.2, x.device())? * &scale)?)?;
        map_of_bands(shape, shape.1 * shape.2, PLAIN_VALUES, x.device(), |rows| {
            let x = x.narrow(0, rows.start, rows.len())?.broadcast_mul(&scale)?.broadcast_add(&shift)?;
            match activation {
                Activation::None => Ok(x),
                Activation::Relu => x.relu(),
                Activation::Sigmoid => (x.neg()?.exp()? + 1.0)?.recip(),
            }
        })
    }
}

/// Mean and sum of squared deviations of every channel over `count` pixels.
struct Moments {
    mean: Vec<f64>,
    squares: Vec<f64>,
    count: f64,
}

impl Moments {
    /// Of a whole map: bands in 32 bits, put together in 64, so that a large frame's sums stay exact enough.
    fn of(x: &Tensor) -> Result<Self> {
        let (height, width, channels) = x.dims3()?;
        let parts: Result<Vec<Self>> =
            bands(height, width * channels, PLAIN_VALUES).map(|rows| Self::of_rows(x, rows)).collect();
        let none = Self { mean: vec![0.0; channels], squares: vec![0.0; channels], count: 0.0 };
        Ok(parts?.into_iter().fold(none, Self::and))
    }

    fn of_rows(x: &Tensor, rows: Range<usize>) -> Result<Self> {
        let (_, width, channels) = x.dims3()?;
        let count = rows.len() * width;
        let x = x.narrow(0, rows.start, rows.len())?.reshape((count, channels))?;
        // A row of ones times the pixels is their sum.
        let ones = Tensor::ones((1, count), x.dtype(), x.device())?;
        let mean = (ones.matmul(&x)? / count as f64)?;
        let squares = ones.matmul(&x.broadcast_sub(&mean)?.sqr()?)?;
        let values = |row: Tensor| row.flatten_all()?.to_vec1::<f32>();
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        Ok(Self { mean: wide(values(mean)?), squares: wide(values(squares)?), count: count as f64 })
    }

    /// Of the pixels of both (Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample
    /// Variances, 1979).
    fn and(mut self, other: Self) -> Self {
        let count = self.count + other.count;
        let channels = self.mean.iter_mut().zip(&mut self.squares).zip(other.mean.iter().zip(&other.squares));
        for ((mean, squares), (other_mean, other_squares)) in channels {
            let apart = other_mean - *mean;
            *mean += apart * other.count / count;
            *squares += other_squares + apart * apart * self.count * other.count / count;
        }
        Self { count, ..self }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn every_channel_gets_the_styles_mean_and_deviation() {
        // Channel 0 is far from 0 with a small deviation, where a variance from plain sums of squares would be lost.
        let (height, width) = (37, 5000);
        let value = |n: usize| if n.is_multiple_of(2) { 1000.0 + (n % 7) as f32 } else { (n % 5) as f32 };
        let values: Vec<f32> = (0..height * width * 2).map(value).collect();
        let x = Tensor::from_vec(values, (height, width, 2), &Device::Cpu).expect("a map");
        let gamma = Tensor::new(&[[9f32, 9.], [2., 3.]], &Device::Cpu).expect("scales");
        let beta = Tensor::new(&[[9f32, 9.], [5., -1.]], &Device::Cpu).expect("shifts");
        let shares = Tensor::new(&[[0f32], [1.]], &Device::Cpu).expect("shares");
        let norm = StyleNorm::new(gamma, beta).blend(&shares).expect("a norm");
        let found = norm.forward(&x, Activation::None).and_then(|x| Moments::of(&x)).expect("moments");
        for (channel, (mean, deviation)) in [(5.0, 2.0), (-1.0, 3.0)].into_iter().enumerate() {
            assert!((found.mean[channel] - mean).abs() < 1e-2, "{}", found.mean[channel]);
            assert!(((found.squares[channel] / found.count).sqrt() - deviation).abs() < 1e-2);
        }
    }

    #[test]
    fn one_pixel_becomes_the_shift() {
        let one = |value: f32| Tensor::new(&[value], &Device::Cpu).expect("one value");
        let norm = InstanceNorm { scale: one(2.0), shift: one(-0.5) };
        let pixel = one(7.0).reshape((1, 1, 1)).expect("a map");
        let value = |activation| {
            norm.forward(&pixel, activation).and_then(|x| x.flatten_all()?.to_vec1::<f32>()).expect("a value")[0]
        };
        assert!((value(Activation::None) + 0.5).abs() < 1e-6);
        assert!(value(Activation::Relu).abs() < 1e-6);
        assert!((value(Activation::Sigmoid) - 0.377_540_67).abs() < 1e-6);
    }
}
