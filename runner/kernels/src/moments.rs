//! Means and variances, with all sums in `f64`.
//!
//! An `f32` and its square are exact in `f64`, so that sums of squares lose nothing that matters, however far the mean is
//! from 0. The order of additions depends on the shape alone, not on the number of threads.

use rayon::prelude::*;

use crate::Cpu;
use crate::memory::prefetch;
use crate::simd::{Simd, Task};

/// How many rows are added up before the sums are written.
const ROWS: usize = 8;

/// How many such blocks are fetched ahead.
const AHEAD: usize = 2;

/// Independent sums of one row.
const LANES: usize = 16;

/// A task takes at least so many values.
const TASK: usize = 1 << 16;

/// The most tasks of one picture, each of which has sums of its own.
const TASKS: usize = 256;

/// A mean and the reciprocal deviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: f64,
    /// `1 ÷ √(variance + eps)`
    pub(crate) scale: f64,
}

impl Moments {
    fn new(sum: f64, squares: f64, count: usize, eps: f64) -> Self {
        let mean = sum / count as f64;
        let variance = (squares / count as f64 - mean * mean).max(0.0);
        Self { mean, scale: 1.0 / (variance + eps).sqrt() }
    }

    /// Of one row.
    #[inline(always)]
    pub(crate) fn of_row(row: &[f32], eps: f64) -> Self {
        let (chunks, rest) = row.as_chunks::<LANES>();
        let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for chunk in chunks {
            for lane in 0..LANES {
                let x = f64::from(chunk[lane]);
                sums[lane] += x;
                squares[lane] += x * x;
            }
        }
        for (lane, x) in rest.iter().enumerate() {
            let x = f64::from(*x);
            sums[lane] += x;
            squares[lane] += x * x;
        }
        Self::new(sums.iter().sum(), squares.iter().sum(), row.len(), eps)
    }

    /// Of the groups of the channels of a picture, of which each `row` values are some pixels.
    pub(crate) fn of_groups(cpu: Cpu, x: &[f32], row: usize, channels: usize, groups: usize, eps: f64) -> Vec<Self> {
        let rows = x.len().div_ceil(TASKS).max(TASK).div_ceil(row).next_multiple_of(ROWS);
        let parts: Vec<Sums> = x.par_chunks(rows * row).map(|x| cpu.run(SumColumns { x, row })).collect();
        let mut totals = vec![(0.0, 0.0); groups];
        for Sums { sums, squares } in &parts {
            for (sums, squares) in sums.chunks_exact(channels).zip(squares.chunks_exact(channels)) {
                let of_group = sums.chunks_exact(channels / groups).zip(squares.chunks_exact(channels / groups));
                for (total, (sums, squares)) in totals.iter_mut().zip(of_group) {
                    total.0 += sums.iter().sum::<f64>();
                    total.1 += squares.iter().sum::<f64>();
                }
            }
        }
        let count = x.len() / groups;
        totals.into_iter().map(|(sum, squares)| Self::new(sum, squares, count, eps)).collect()
    }
}

/// The sums of values and of their squares.
struct Sums {
    sums: Vec<f64>,
    squares: Vec<f64>,
}

/// Adds up each of `row` columns. The last row may be shorter.
struct SumColumns<'a> {
    x: &'a [f32],
    row: usize,
}

impl Task for SumColumns<'_> {
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Sums {
        let Self { x, row } = self;
        let mut totals = Sums { sums: vec![0.0; row], squares: vec![0.0; row] };
        let (sums, squares) = (&mut totals.sums[..row], &mut totals.squares[..row]);
        let mut blocks = x.chunks_exact(ROWS * row);
        let mut ahead = blocks.clone().skip(AHEAD);
        for block in &mut blocks {
            // Rows are read side by side, which the processor does not foresee.
            prefetch(ahead.next().unwrap_or_default());
            let rows: [&[f32]; ROWS] = std::array::from_fn(|index| &block[index * row..][..row]);
            for column in 0..row {
                let (mut sum, mut square) = (0.0, 0.0);
                for row in rows {
                    let x = f64::from(row[column]);
                    sum += x;
                    square += x * x;
                }
                sums[column] += sum;
                squares[column] += square;
            }
        }
        for row in blocks.remainder().chunks(row) {
            for ((x, sum), square) in row.iter().zip(&mut *sums).zip(&mut *squares) {
                let x = f64::from(*x);
                *sum += x;
                *square += x * x;
            }
        }
        totals
    }
}
