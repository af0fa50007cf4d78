//! What a canvas, a video or an image of the page shows, coarsely: enough to tell pictures apart.

use serde::Deserialize;

/// A picture as the page shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Picture {
    /// Its own size in pixels, not that of its box on the page.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 48 × 36 pixels of it, red, green and blue.
    samples: Vec<u8>,
}

impl Picture {
    pub(crate) fn aspect(&self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// The mean absolute difference of the samples, 0 to 255.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        assert_eq!(self.samples.len(), other.samples.len());
        let pairs = self.samples.iter().zip(&other.samples);
        pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / self.samples.len() as f64
    }

    /// The standard deviation of the brightness, 0 to 128: 0 for a picture of one colour.
    pub(crate) fn contrast(&self) -> f64 {
        let centred = self.centred_brightness();
        (dot(&centred, &centred) / centred.len() as f64).sqrt()
    }

    /// How alike light and dark are spread in both, -1 to 1.
    pub(crate) fn likeness(&self, other: &Self) -> f64 {
        let (a, b) = (self.centred_brightness(), other.centred_brightness());
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    fn centred_brightness(&self) -> Vec<f64> {
        let sum = |pixel: &[u8]| pixel.iter().map(|value| f64::from(*value)).sum::<f64>() / 3.0;
        let brightness: Vec<f64> = self.samples.chunks_exact(3).map(sum).collect();
        let mean = brightness.iter().sum::<f64>() / brightness.len() as f64;
        brightness.into_iter().map(|value| value - mean).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
