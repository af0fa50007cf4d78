//! Group and layer normalisation.

use rayon::prelude::*;

use crate::{Activation, Cpu};

/// Normalises each picture's channels in groups, over all their pixels.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm<'a> {
    /// `[channels]`
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: &'a [f32],
    /// How many groups; they divide the channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Applied last.
    pub activation: Activation,
}

/// Normalises each row.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `[width]`
    pub weight: &'a [f32],
    /// `[width]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
}

impl Cpu {
    /// `x` and `y` are `[batch, pixels, channels]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn group_norm(self, x: &[f32], batch: usize, norm: GroupNorm<'_>, y: &mut [f32]) {
        let channels = norm.weight.len();
        assert_eq!((norm.bias.len(), x.len(), channels % norm.groups), (channels, y.len(), 0));
        assert_eq!(x.len() % (batch * channels), 0, "the input is not whole pixels");
        let width = channels / norm.groups;
        let picture = x.len() / batch;
        for (x, y) in x.chunks_exact(picture).zip(y.chunks_exact_mut(picture)) {
            let moments: Vec<(f64, f64)> = (0..norm.groups)
                .into_par_iter()
                .map(|group| {
                    let values = || x.chunks_exact(channels).flat_map(|x| &x[group * width..][..width]);
                    moments(values, picture / norm.groups)
                })
                .collect();
            y.par_chunks_exact_mut(channels).zip(x.par_chunks_exact(channels)).for_each(|(y, x)| {
                for channel in 0..channels {
                    let (mean, variance) = moments[channel / width];
                    let scale = norm.weight[channel] * (1.0 / (variance + norm.eps).sqrt()) as f32;
                    let value = (x[channel] - mean as f32) * scale + norm.bias[channel];
                    y[channel] = norm.activation.of(value);
                }
            });
        }
    }

    /// `x` and `y` are `[rows, width]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn layer_norm(self, x: &[f32], norm: LayerNorm<'_>, y: &mut [f32]) {
        let width = norm.weight.len();
        assert_eq!((norm.bias.len(), x.len(), x.len() % width), (width, y.len(), 0));
        y.par_chunks_exact_mut(width).zip(x.par_chunks_exact(width)).for_each(|(y, x)| {
            let (mean, variance) = moments(|| x.iter(), width);
            let scale = (1.0 / (variance + norm.eps).sqrt()) as f32;
            for (index, y) in y.iter_mut().enumerate() {
                *y = (x[index] - mean as f32) * scale * norm.weight[index] + norm.bias[index];
            }
        });
    }
}

/// Mean and variance.
fn moments<'a, I: Iterator<Item = &'a f32>>(values: impl Fn() -> I, count: usize) -> (f64, f64) {
    let mean = values().map(|&x| f64::from(x)).sum::<f64>() / count as f64;
    (mean, values().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count as f64)
}
