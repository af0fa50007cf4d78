//! Contenders that take turns.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::child::Contender;

/// A contender that takes this long does not run again and again: its median comes from fewer runs.
const PATIENCE_MS: f64 = 30_000.0;

/// Threads of the one before may go on looking for work for a while.
const PAUSE: Duration = Duration::from_millis(50);

/// Median milliseconds of each contender. They take turns, so that a noisy minute hits all of them.
pub(crate) fn race(contenders: &mut [Contender], rounds: u32) -> Result<Vec<f64>> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            thread::sleep(PAUSE);
            if samples.first().is_none_or(|first| *first < PATIENCE_MS) {
                samples.push(contender.run()?);
            }
        }
    }
    Ok(samples.into_iter().map(median).collect())
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => samples[middle],
        _ => (samples[middle - 1] + samples[middle]) / 2.0,
    }
}
