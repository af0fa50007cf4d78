//! How many threads the runner computes with.

use std::env;
use std::num::NonZero;
use std::thread::available_parallelism;

/// Makes candle and rayon use the processors that belong to this process, and no others. To be called first in `main`,
/// before any thread exists.
///
/// candle counts the node's physical cores, reading `/proc/cpuinfo` at every matrix product, unless this variable is set:
/// on a shared node it would run a thread for each of them on the few cores of the job.
pub fn limit() {
    let told = |name: &str| env::var(name).ok()?.parse::<NonZero<usize>>().ok().map(NonZero::get);
    let threads = choose(
        told("RAYON_NUM_THREADS"),
        // Without `--cpus-per-task` Slurm sets only the second.
        told("SLURM_CPUS_PER_TASK").or_else(|| told("SLURM_CPUS_ON_NODE")),
        available_parallelism().map_or(1, NonZero::get),
    );
    // SAFETY: no other thread runs yet that could read the environment at the same time.
    #[expect(unsafe_code, reason = "the environment is candle's only setting for this")]
    unsafe {
        env::set_var("RAYON_NUM_THREADS", threads.to_string());
    }
}

/// The operator's word counts; else Slurm's, but never more than the affinity mask and the cgroup give.
fn choose(operator: Option<usize>, slurm: Option<usize>, given: usize) -> usize {
    operator.unwrap_or_else(|| slurm.map_or(given, |slurm| slurm.min(given)))
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn the_operator_counts_before_slurm_and_the_machine_bounds_slurm() {
        assert_eq!(choose(None, None, 8), 8);
        assert_eq!(choose(None, Some(4), 8), 4);
        assert_eq!(choose(None, Some(64), 8), 8);
        assert_eq!(choose(Some(3), Some(4), 8), 3);
    }
}
