//! The softmax of scores that come in blocks.

use std::f32::consts::LOG2_E;

use crate::gemm::{Kernel, PANEL, Scratch, bytes_of};
use crate::math::{self, fold};
use crate::simd::{Simd, Task};

/// What is known of each row after the blocks so far. Scores are counted in powers of two: multiplied by `scale`.
pub(super) struct Shares<'a> {
    scale: f32,
    largest: &'a mut [f32],
    /// The sums of the shares, which are relative to the largest score.
    totals: &'a mut [f32],
    /// By what the last block made the shares before it smaller.
    keep: &'a mut [f32],
}

impl<'a> Shares<'a> {
    /// How much scratch memory it takes.
    pub(super) fn bytes(rows: usize) -> usize {
        3 * bytes_of::<f32>(rows)
    }

    /// For heads of `width` channels.
    pub(super) fn new(scratch: &mut Scratch<'a>, rows: usize, width: usize) -> Self {
        let [largest, totals, keep] = [(); 3].map(|()| scratch.take::<f32>(rows));
        largest.fill(f32::NEG_INFINITY);
        totals.fill(0.0);
        let scale = (f64::from(LOG2_E) / (width as f64).sqrt()) as f32;
        Self { scale, largest, totals, keep }
    }

    pub(super) fn totals(&self) -> &[f32] {
        self.totals
    }

    pub(super) fn keep(&self) -> &[f32] {
        self.keep
    }

    /// Makes shares, rows of `stride`, of a block of scores, `[panels][rows][16]`.
    pub(super) fn take<K: Kernel>(&mut self, kernel: K, scores: &[f32], stride: usize, shares: &mut [K::Element]) {
        let scores = scores.as_chunks().0;
        kernel.simd().run(Take { state: self, kernel, scores, stride, shares });
    }
}

struct Take<'a, 'b, K: Kernel> {
    state: &'a mut Shares<'b>,
    kernel: K,
    scores: &'a [[f32; PANEL]],
    stride: usize,
    shares: &'a mut [K::Element],
}

impl<K: Kernel> Task for Take<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { state: Shares { scale, largest, totals, keep }, kernel, scores, stride, shares } = self;
        let (scale, rows) = (*scale, largest.len());
        for (row, largest) in largest.iter_mut().enumerate() {
            let mut lanes = [f32::NEG_INFINITY; PANEL];
            for scores in scores[row..].iter().step_by(rows) {
                for lane in 0..PANEL {
                    lanes[lane] = math::at_least(lanes[lane], scores[lane]);
                }
            }
            let before = *largest;
            *largest = math::at_least(before, fold(lanes, math::at_least) * scale);
            keep[row] = math::exp2_to_one(simd, before - *largest);
        }
        for (row, shares) in shares.chunks_exact_mut(stride).enumerate() {
            let (largest, mut lanes) = (largest[row], [0.0; PANEL]);
            for (scores, shares) in scores[row..].iter().step_by(rows).zip(shares.as_chunks_mut::<PANEL>().0) {
                let mut values = *scores;
                for lane in 0..PANEL {
                    values[lane] = math::exp2_to_one(simd, simd.mul_add(values[lane], scale, -largest));
                    lanes[lane] += values[lane];
                }
                kernel.copy(&values, shares);
            }
            totals[row] = simd.mul_add(totals[row], keep[row], fold(lanes, |a, b| a + b));
        }
    }
}
