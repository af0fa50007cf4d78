//! Attention against its definition in `f64`, on every instruction set of this machine.

#[path = "common/pace.rs"]
mod pace;

use half::bf16;
use livewebcam_kernels::{Cpu, Heads, Isa, Mask};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Some roundings of `f32`, relative to the largest value.
const TOLERANCE: f64 = 2e-6;

/// And the rounding of the shares to `bf16`, which has eight bits; they sum to 1, and values are at most 1. Those of AMX are
/// relative to a whole power of two, so that the largest is not exact either, and the 7e-4 of its power count. Whole numbers
/// of shares and values have twelve and thirteen bits, the power errs by 1e-4, and two values are 2 apart.
fn tolerance(isa: Isa) -> f64 {
    let rounding = TOLERANCE + 0.5f64.powi(9);
    match isa {
        Isa::Amx => rounding + 7e-4,
        Isa::Avx512Vnni => TOLERANCE + 0.5f64.powi(10),
        isa if isa.rounds() => rounding,
        _ => TOLERANCE,
    }
}

struct Problem {
    shape: Heads,
    mask: Mask,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Problem {
    /// Queries and keys are between `-size` and `size`.
    fn random(shape: Heads, mask: Mask, size: f32) -> Self {
        let rng = &mut StdRng::seed_from_u64(5);
        let mut noise = |count: usize, size: f32| (0..count).map(|_| rng.random_range(-size..size)).collect();
        let channels = shape.batch * shape.heads * shape.width;
        let q = noise(channels * shape.queries, size);
        Self { shape, mask, q, k: noise(channels * shape.keys, size), v: noise(channels * shape.keys, 1.0) }
    }

    /// The result for one query of one head, of operands as the instruction set takes them.
    fn solve(&self, isa: Isa, picture: usize, query: usize, head: usize) -> Vec<f64> {
        let Heads { queries, keys, heads, width, .. } = self.shape;
        let of = |x: &[f32], row: usize| -> Vec<f64> {
            let rounded = |x: &f32| if isa.rounds() { bf16::from_f32(*x).to_f32() } else { *x };
            x[(row * heads + head) * width..][..width].iter().map(|x| f64::from(rounded(x))).collect()
        };
        // Queries and keys as whole numbers, of which the largest of 64 is `most`.
        let whole = |mut values: Vec<f64>, most: f64| -> Vec<f64> {
            if isa == Isa::Avx512Vnni && keys >= 128 {
                for values in values.chunks_mut(64) {
                    let unit = values.iter().fold(0.0, |largest: f64, x| largest.max(x.abs())) / most;
                    values.iter_mut().filter(|_| unit > 0.0).for_each(|x| *x = (*x / unit).round() * unit);
                }
            }
            values
        };
        let seen = if self.mask == Mask::Causal { query + 1 } else { keys };
        let q = whole(of(&self.q, picture * queries + query), 4095.0);
        let dot = |k: Vec<f64>| q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt();
        let scores: Vec<f64> = (0..seen).map(|key| dot(whole(of(&self.k, picture * keys + key), 8191.0))).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let mut y = vec![0.0; width];
        for (key, score) in scores.iter().enumerate() {
            let share = (score - largest).exp() / sum;
            y.iter_mut().zip(of(&self.v, picture * keys + key)).for_each(|(y, v)| *y += share * v);
        }
        y
    }

    /// Compares every `step`th result.
    fn check(&self, step: usize) {
        let Heads { batch, queries, heads, width, .. } = self.shape;
        for isa in Isa::available() {
            let cpu = Cpu::with(*isa).expect("it is available");
            let mut y = vec![f32::NAN; self.q.len()];
            cpu.attention(&self.q, &self.k, &self.v, self.shape, self.mask, &mut y);
            for index in (0..batch * queries * heads).step_by(step) {
                let wanted = self.solve(*isa, index / (queries * heads), index / heads % queries, index % heads);
                for (found, wanted) in y[index * width..][..width].iter().zip(&wanted) {
                    let error = (f64::from(*found) - wanted).abs();
                    assert!(error <= tolerance(*isa), "{isa}: {:?}: {found}, not {wanted}", self.shape);
                }
            }
        }
    }
}

fn check(batch: usize, queries: usize, keys: usize, heads: usize, width: usize, mask: Mask) {
    let shape = Heads { batch, queries, keys, heads, width };
    Problem::random(shape, mask, 2.0).check(1 + batch * queries * heads * keys / 20_000);
}

#[test]
fn one_key_is_all_there_is() {
    check(1, 1, 1, 1, 1, Mask::None);
    check(2, 3, 1, 2, 5, Mask::None);
    check(1, 1, 1, 3, 64, Mask::Causal);
}

#[test]
fn pictures_attend_to_themselves() {
    check(2, 256, 256, pace::choose(4, 1), 64, Mask::None);
    let many = pace::choose(1024, 270);
    check(1, many, many, 2, 64, Mask::None);
    check(1, 300, 300, 2, 40, Mask::None);
    check(1, 100, 100, 2, 80, Mask::None);
    check(2, 64, 64, 2, 160, Mask::None);
    check(1, 130, 300, 1, 512, Mask::None);
}

#[test]
fn pictures_attend_to_texts() {
    check(2, 256, 77, 5, 64, Mask::None);
    check(1, 97, 77, 8, 40, Mask::None);
    check(1, 95, 154, 2, 64, Mask::None);
}

#[test]
fn texts_look_back() {
    check(2, 77, 77, 12, 64, Mask::Causal);
    check(1, 300, 300, 2, 64, Mask::Causal);
    check(1, 129, 129, 3, 40, Mask::Causal);
}

#[test]
fn any_shape_will_do() {
    let rng = &mut StdRng::seed_from_u64(3);
    let (rounds, most) = pace::choose((60, 200), (15, 120));
    for _ in 0..rounds {
        let (queries, keys) = (rng.random_range(1..most), rng.random_range(1..most * 3 / 2));
        let (batch, heads, width) = (rng.random_range(1..3), rng.random_range(1..4), rng.random_range(1..90));
        check(batch, queries, keys, heads, width, Mask::None);
        check(batch, queries, queries, heads, width, Mask::Causal);
    }
}

#[test]
fn scores_may_be_far_apart() {
    // Scores of some hundreds, of which one outweighs the rest.
    for (queries, keys) in [(50, 77), (100, 400)] {
        let shape = Heads { batch: 1, queries, keys, heads: 2, width: 64 };
        let mut problem = Problem::random(shape, Mask::None, 8.0);
        // Whole numbers, so that the scores are exact.
        problem.q.iter_mut().chain(&mut problem.k).for_each(|x| *x = x.round());
        problem.check(1);
    }
}

#[test]
fn scores_may_rise_all_the_way() {
    for (queries, keys) in [(40, 77), (70, 500)] {
        let shape = Heads { batch: 1, queries, keys, heads: 2, width: 48 };
        let mut problem = Problem::random(shape, Mask::None, 1.0);
        // Those of each key are larger than those of the one before, by a sixteenth on average.
        for (index, row) in problem.k.chunks_exact_mut(48).enumerate() {
            row.fill(0.0);
            row[0] = (index / 2) as f32;
        }
        problem.q.chunks_exact_mut(48).for_each(|row| row[0] = 0.125 * 48f32.sqrt());
        problem.check(1);
    }
}

#[test]
fn scores_may_be_enormous() {
    let shape = Heads { batch: 1, queries: 30, keys: 200, heads: 1, width: 16 };
    let mut problem = Problem::random(shape, Mask::None, 1.0);
    for (index, row) in problem.k.chunks_exact_mut(16).enumerate() {
        row.fill(0.0);
        row[0] = if index == 150 { 2f32.powi(16) } else { index as f32 };
    }
    problem.q.chunks_exact_mut(16).for_each(|row| row[0] = 2f32.powi(16));
    problem.check(1);
}

#[test]
fn what_is_not_a_number_stays_with_its_queries() {
    let shape = Heads { batch: 1, queries: 30, keys: 200, heads: 1, width: 16 };
    let mut problem = Problem::random(shape, Mask::None, 1.0);
    problem.q[7 * 16] = f32::NAN;
    for isa in Isa::available() {
        let mut y = vec![0.0; problem.q.len()];
        let cpu = Cpu::with(*isa).expect("it is available");
        cpu.attention(&problem.q, &problem.k, &problem.v, shape, Mask::None, &mut y);
        for (query, y) in y.chunks_exact(16).enumerate() {
            assert!(y.iter().all(|y| y.is_nan() == (query == 7)), "{isa}: {query}");
        }
    }
}

#[test]
fn a_key_that_is_not_a_number_spoils_all_of_its_head() {
    let shape = Heads { batch: 1, queries: 30, keys: 200, heads: 2, width: 16 };
    let mut problem = Problem::random(shape, Mask::None, 1.0);
    // Of the second head.
    problem.k[90 * 32 + 16] = f32::NAN;
    for isa in Isa::available() {
        let mut y = vec![0.0; problem.q.len()];
        let cpu = Cpu::with(*isa).expect("it is available");
        cpu.attention(&problem.q, &problem.k, &problem.v, shape, Mask::None, &mut y);
        assert!(y.iter().enumerate().all(|(index, y)| y.is_nan() == (index % 32 >= 16)), "{isa}");
    }
}
