//! The softmax of scores that come in blocks.

use std::f32::consts::LOG2_E;

use crate::gemm::{Kernel, PANEL, Scratch, bytes_of};
use crate::math;
use crate::simd::{Simd, Task};

/// What is known of each row after the blocks so far. Scores are counted in powers of two: multiplied by `scale`.
pub(super) struct Shares<'a> {
    scale: f32,
    largest: &'a mut [f32],
    /// The sums of the shares, which are relative to the largest score.
    totals: &'a mut [f32],
    /// By what the last block made the shares before it smaller.
    keep: &'a mut [f32],
    lanes: &'a mut [[f32; PANEL]],
}

impl<'a> Shares<'a> {
    /// How much scratch memory it takes.
    pub(super) fn bytes(rows: usize) -> usize {
        3 * bytes_of::<f32>(rows) + bytes_of::<f32>(rows * PANEL)
    }

    /// For heads of `width` channels.
    pub(super) fn new(scratch: &mut Scratch<'a>, rows: usize, width: usize) -> Self {
        let [largest, totals, keep] = [(); 3].map(|()| scratch.take::<f32>(rows));
        largest.fill(f32::NEG_INFINITY);
        totals.fill(0.0);
        let scale = (f64::from(LOG2_E) / (width as f64).sqrt()) as f32;
        Self { scale, largest, totals, keep, lanes: scratch.take(rows * PANEL).as_chunks_mut().0 }
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
        kernel.simd().run(Update { state: self, scores });
        kernel.simd().run(Exponentials { state: self, kernel, scores, stride, shares });
    }
}

/// Finds the largest scores.
struct Update<'a, 'b> {
    state: &'a mut Shares<'b>,
    scores: &'a [[f32; PANEL]],
}

impl Task for Update<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Shares { scale, largest, keep, lanes, totals } = self.state;
        let rows = lanes.len();
        lanes.copy_from_slice(&self.scores[..rows]);
        for scores in self.scores[rows..].chunks_exact(rows) {
            for (lanes, scores) in lanes.iter_mut().zip(scores) {
                for (lane, score) in lanes.iter_mut().zip(scores) {
                    *lane = math::at_least(*lane, *score);
                }
            }
        }
        for (row, lanes) in lanes.iter_mut().enumerate() {
            let of_block = fold(*lanes, math::at_least);
            let before = largest[row];
            largest[row] = math::at_least(before, of_block * *scale);
            keep[row] = math::exp2_to_one(simd, before - largest[row]);
            totals[row] *= keep[row];
            *lanes = [0.0; PANEL];
        }
    }
}

struct Exponentials<'a, 'b, K: Kernel> {
    state: &'a mut Shares<'b>,
    kernel: K,
    scores: &'a [[f32; PANEL]],
    stride: usize,
    shares: &'a mut [K::Element],
}

impl<K: Kernel> Task for Exponentials<'_, '_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { state: Shares { scale, largest, lanes, totals, .. }, kernel, scores, stride, shares } = self;
        for (panel, scores) in scores.chunks_exact(lanes.len()).enumerate() {
            let rows = lanes.iter_mut().zip(&**largest).zip(shares.chunks_exact_mut(stride));
            for (scores, ((lanes, largest), shares)) in scores.iter().zip(rows) {
                let mut exponentials = [0.0; PANEL];
                for lane in 0..PANEL {
                    let exponent = simd.mul_add(scores[lane], *scale, -largest);
                    exponentials[lane] = math::exp2_to_one(simd, exponent);
                    lanes[lane] += exponentials[lane];
                }
                kernel.copy(&exponentials, &mut shares[panel * PANEL..][..PANEL]);
            }
        }
        for (total, lanes) in totals.iter_mut().zip(&**lanes) {
            *total += fold(*lanes, |a, b| a + b);
        }
    }
}

/// All of them in one, by halves.
#[inline(always)]
fn fold(mut values: [f32; PANEL], with: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = PANEL / 2;
    while half > 0 {
        for lane in 0..half {
            values[lane] = with(values[lane], values[lane + half]);
        }
        half /= 2;
    }
    values[0]
}
