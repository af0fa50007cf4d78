//! Putting feature maps together.

use rayon::prelude::*;

use crate::{Cpu, MapSize};

impl Cpu {
    /// The channels of `a` and then those of `b`, for each pixel. `channels` are those of `a` and of `b`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn concat(self, a: &[f32], b: &[f32], channels: [usize; 2], y: &mut [f32]) {
        let [of_a, of_b] = channels;
        let pixels = y.len() / (of_a + of_b);
        assert_eq!((a.len(), b.len(), y.len()), (pixels * of_a, pixels * of_b, pixels * (of_a + of_b)));
        let pieces = y.par_chunks_mut(PIXELS * (of_a + of_b));
        pieces.zip(a.par_chunks(PIXELS * of_a)).zip(b.par_chunks(PIXELS * of_b)).for_each(|((y, a), b)| {
            let pixels = y.chunks_exact_mut(of_a + of_b);
            for ((y, a), b) in pixels.zip(a.chunks_exact(of_a)).zip(b.chunks_exact(of_b)) {
                y[..of_a].copy_from_slice(a);
                y[of_a..].copy_from_slice(b);
            }
        });
    }

    /// `a + b`
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn add(self, a: &[f32], b: &[f32], y: &mut [f32]) {
        assert_eq!((a.len(), b.len()), (y.len(), y.len()));
        y.par_chunks_mut(VALUES).zip(a.par_chunks(VALUES)).zip(b.par_chunks(VALUES)).for_each(|((y, a), b)| {
            y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = a + b);
        });
    }

    /// `x`, of `size`, as a map of another height and width, whose pixels are the nearest ones: torch's `nearest`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn resize(self, x: &[f32], size: MapSize, height: usize, width: usize, y: &mut [f32]) {
        let out = MapSize { height, width, ..size };
        assert_eq!((x.len(), y.len()), (size.values(), out.values()));
        y.par_chunks_exact_mut(width * size.channels).enumerate().for_each(|(row, y)| {
            let (picture, row) = (row / height, row % height * size.height / height);
            let x = &x[(picture * size.height + row) * size.width * size.channels..][..size.width * size.channels];
            for (column, y) in y.chunks_exact_mut(size.channels).enumerate() {
                y.copy_from_slice(&x[column * size.width / width * size.channels..][..size.channels]);
            }
        });
    }
}

/// How many pixels one task moves.
const PIXELS: usize = 64;

/// How many values one task adds.
const VALUES: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_stand_behind_each_other_at_each_pixel() {
        let (a, b): (Vec<f32>, Vec<f32>) = ((0..3 * 100).map(|n| n as f32).collect(), vec![-1.0; 100]);
        let mut y = vec![0.0; 400];
        Cpu::detect().concat(&a, &b, [3, 1], &mut y);
        assert_eq!(y[396..], [297.0, 298.0, 299.0, -1.0]);
        assert_eq!(y[..8], [0.0, 1.0, 2.0, -1.0, 3.0, 4.0, 5.0, -1.0]);
    }

    #[test]
    fn values_are_added_one_by_one() {
        let a: Vec<f32> = (0..40_000).map(|n| n as f32).collect();
        let mut y = vec![0.0; a.len()];
        Cpu::detect().add(&a, &vec![0.5; a.len()], &mut y);
        assert!(y.iter().zip(&a).all(|(y, a)| *y == a + 0.5));
    }

    #[test]
    fn a_larger_map_repeats_pixels_and_a_smaller_one_leaves_some_out() {
        let x: Vec<f32> = (0..2 * 2 * 2 * 2).map(|n| n as f32).collect();
        let size = MapSize { batch: 2, height: 2, width: 2, channels: 2 };
        let mut y = vec![0.0; 2 * 3 * 4 * 2];
        Cpu::detect().resize(&x, size, 3, 4, &mut y);
        assert_eq!(y[..8], [0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 3.0]);
        assert_eq!(y[8..16], y[..8]);
        assert_eq!(y[40..], [12.0, 13.0, 12.0, 13.0, 14.0, 15.0, 14.0, 15.0]);
        let mut small = vec![0.0; 2 * 2];
        Cpu::detect().resize(&x, size, 1, 1, &mut small);
        assert_eq!(small, [0.0, 1.0, 8.0, 9.0]);
    }
}
