//! Weights at the points.

use std::ops::Range;

use super::transform::{Lanes, REACH, ZEROS, weight};
use crate::Packed;
use crate::gemm::{PANEL, pairs, widened};
use crate::packed::Values;
use crate::simd::{Simd, Task};

/// Transforms some channels of one panel of weights.
pub(super) struct Weights<'a> {
    pub(super) weight: &'a Packed,
    pub(super) panel: usize,
    pub(super) channels: Range<usize>,
    /// For each point `[channels][16]`.
    pub(super) to: &'a mut [f32],
    /// From one point to the next.
    pub(super) stride: usize,
}

impl Task for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let length = self.weight.panel_length();
        let panel = self.panel * length..(self.panel + 1) * length;
        match self.weight.values() {
            Values::F32(values) => {
                let values = values[panel].as_chunks::<PANEL>().0;
                self.each(simd, |k| values[k]);
            }
            Values::Bf16(values) => {
                let pairs = pairs(&values[panel]);
                self.each(simd, |k| {
                    let mut lanes = ZEROS;
                    for (lane, pair) in lanes.iter_mut().zip(&pairs[k / 2]) {
                        *lane = widened(*pair, k % 2);
                    }
                    lanes
                });
            }
        }
    }
}

impl Weights<'_> {
    #[inline(always)]
    fn each<S: Simd>(self, simd: S, at: impl Fn(usize) -> Lanes) {
        let channels = self.weight.shape().channels;
        // Outside the loop, so that it is not set to zeros for each channel.
        let mut columns = [[ZEROS; REACH]; 3];
        for (index, channel) in self.channels.enumerate() {
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
                    self.to[(i * REACH + j) * self.stride + index * PANEL..][..PANEL].copy_from_slice(point);
                }
            }
        }
    }
}
