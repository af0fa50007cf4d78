//! The threads that the runner computes with.

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

/// Does `work` on one of the threads that compute.
///
/// A layer that is called from there begins at once, and the other threads join in. From any other thread it would be handed to
/// one of them and waited for: two switches of threads, hundreds of times for a picture.
pub fn computing<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// The operator's word counts; else Slurm's, but never more than the affinity mask and the cgroup give.
fn choose(operator: Option<usize>, slurm: Option<usize>, given: usize) -> usize {
    operator.unwrap_or_else(|| slurm.map_or(given, |slurm| slurm.min(given)))
}

#[cfg(test)]
mod tests {
    use super::{choose, computing};

    #[test]
    fn the_operator_counts_before_slurm_and_the_machine_bounds_slurm() {
        assert_eq!(choose(None, None, 8), 8);
        assert_eq!(choose(None, Some(4), 8), 4);
        assert_eq!(choose(None, Some(64), 8), 8);
        assert_eq!(choose(Some(3), Some(4), 8), 3);
    }

    #[test]
    fn what_is_computing_goes_on_where_it_is() {
        let (first, second) = computing(|| (rayon::current_thread_index(), computing(rayon::current_thread_index)));
        assert!(first.is_some() && first == second, "{first:?}, then {second:?}");
    }
}
