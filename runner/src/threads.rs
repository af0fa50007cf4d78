//! How many threads the runner computes with.

use std::env;
use std::num::NonZero;
use std::thread::available_parallelism;

/// The number of processors that belong to this process: what the operator (`RAYON_NUM_THREADS`) or else Slurm says, and
/// never more than the affinity mask and the cgroup give.
#[must_use]
pub fn available() -> usize {
    let told = |name: &str| env::var(name).ok()?.parse::<NonZero<usize>>().ok().map(NonZero::get);
    let given = available_parallelism().map_or(1, NonZero::get);
    // Without `--cpus-per-task` Slurm sets only the second of its two variables.
    told("RAYON_NUM_THREADS")
        .or_else(|| Some(told("SLURM_CPUS_PER_TASK").or_else(|| told("SLURM_CPUS_ON_NODE"))?.min(given)))
        .unwrap_or(given)
}

/// Makes candle and rayon use [`available`] threads. To be called first in `main`, before any thread exists.
///
/// candle counts the node's physical cores, reading `/proc/cpuinfo` at every matrix product, unless this variable is set:
/// on a shared node it would run a spinning thread for each of them on the few cores of the job.
pub fn limit() {
    let threads = available().to_string();
    // SAFETY: no other thread runs yet that could read the environment at the same time.
    #[expect(unsafe_code, reason = "the environment is candle's only setting for this")]
    unsafe {
        env::set_var("RAYON_NUM_THREADS", threads);
    }
}
