//! Weights at the points.

use std::ops::Range;

use super::points::Points;
use super::store::Operand;
use super::transform::{Lanes, REACH, ZEROS, weight};
use crate::Packed;
use crate::element::Values;
use crate::gemm::{PANEL, pairs, widened};
use crate::simd::{Simd, Task};

/// Some channels of one panel of weights.
pub(super) struct Weights<'a> {
    pub(super) weight: &'a Packed,
    pub(super) panel: usize,
    pub(super) channels: Range<usize>,
}

/// Transforms them, to panel `index` at each point.
pub(super) struct Transform<'a, 'b, P: Points> {
    pub(super) points: P,
    pub(super) weights: Weights<'a>,
    pub(super) index: usize,
    pub(super) values: &'a mut [f32],
    pub(super) to: &'a mut Operand<'b, P::Number>,
}

impl<P: Points> Task for Transform<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.points.weights(simd, &self.weights, self.index, self.values, self.to);
    }
}

impl Weights<'_> {
    /// How many numbers they are at a point.
    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        self.channels.len() * PANEL
    }

    /// Writes `[channels][16]` at each point; from one point to the next are `stride` numbers.
    #[inline(always)]
    pub(super) fn transform<S: Simd>(&self, simd: S, to: &mut [f32], stride: usize) {
        let length = self.weight.panel_length();
        let panel = self.panel * length..(self.panel + 1) * length;
        match self.weight.values() {
            Values::F32(values) => {
                let values = values[panel].as_chunks::<PANEL>().0;
                self.each(simd, to, stride, |k| values[k]);
            }
            Values::Bf16(values) => {
                let pairs = pairs(&values[panel]);
                self.each(simd, to, stride, |k| {
                    let mut lanes = ZEROS;
                    for (lane, pair) in lanes.iter_mut().zip(&pairs[k / 2]) {
                        *lane = widened(*pair, k % 2);
                    }
                    lanes
                });
            }
        }
    }

    #[inline(always)]
    fn each<S: Simd>(&self, simd: S, to: &mut [f32], stride: usize, at: impl Fn(usize) -> Lanes) {
        let channels = self.weight.shape().channels;
        // Outside the loop, so that it is not set to zeros for each channel.
        let mut columns = [[ZEROS; REACH]; 3];
        for (index, channel) in self.channels.clone().enumerate() {
            for (tap, column) in columns.iter_mut().enumerate() {
                let taps = [
                    at(tap * channels + channel),
                    at((tap + 3) * channels + channel),
                    at((tap + 6) * channels + channel),
                ];
                *column = weight(simd, [&taps[0], &taps[1], &taps[2]]);
            }
            let [a, b, c] = &columns;
            for i in 0..REACH {
                let row = weight(simd, [&a[i], &b[i], &c[i]]);
                for (j, point) in row.iter().enumerate() {
                    to[(i * REACH + j) * stride + index * PANEL..][..PANEL].copy_from_slice(point);
                }
            }
        }
    }
}
