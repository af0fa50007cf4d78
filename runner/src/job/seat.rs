//! The one place that holds the job which this process is painting, so that a signal can conclude it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::Ended;
use super::claimed::{Claimed, Painted};
use super::error::{JobError, PanicMessage, Signal};
use crate::log::Log;

/// Holds the job that is being painted. Clones share it.
///
/// Claiming and concluding happen under its lock, so a signal arrives before or after them and never in between.
#[derive(Clone, Debug, Default)]
pub struct Seat(Arc<Mutex<Option<Claimed>>>);

impl Seat {
    /// An empty seat, and a thread that on SIGTERM and SIGINT concludes the job in it, says its `last_words` and ends the process.
    ///
    /// A file that reaches the size limit (SIGXFSZ) becomes an error of the write instead of the end of the process.
    ///
    /// # Errors
    /// The signals cannot be watched.
    pub fn with_signals(log: Log, last_words: impl FnOnce(Signal) + Send + 'static) -> io::Result<Self> {
        let seat = Self::default();
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let at_signal = seat.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                at_signal.stop(Signal(signal), log, last_words);
            }
        })?;
        Ok(seat)
    }

    fn stop(&self, signal: Signal, log: Log, last_words: impl FnOnce(Signal)) -> ! {
        let mut seat = self.lock();
        match seat.take() {
            None => log.line(format_args!("{signal}: the runner ends")),
            Some(job) => {
                let stopped = JobError::Stopped { stage: job.stage, signal };
                if let Err(error) = job.conclude(Err(stopped)) {
                    log.line(format_args!("the job could not be concluded: {error}"));
                }
            }
        }
        last_words(signal);
        // Still under the lock: nothing else is to be claimed or concluded by this process.
        process::exit(128 + signal.0)
    }

    /// Claims a job by `claim` and seats it. `false` where there is none.
    pub(super) fn take(&self, claim: impl FnOnce() -> io::Result<Option<Claimed>>) -> io::Result<bool> {
        let mut seat = self.lock();
        *seat = claim()?;
        Ok(seat.is_some())
    }

    /// Looks at the seated job or changes what is known of it.
    ///
    /// # Panics
    /// The seat is empty.
    pub(super) fn job<T>(&self, look: impl FnOnce(&mut Claimed) -> T) -> T {
        look(self.lock().as_mut().expect("a job stays seated until it is concluded"))
    }

    /// Works on the seated job and concludes it, whatever happens in `work`.
    ///
    /// # Errors
    /// The result cannot be written.
    pub(super) fn conclude(&self, work: impl FnOnce(&Self) -> Result<Painted, JobError>) -> io::Result<Ended> {
        let ended = catch_unwind(AssertUnwindSafe(|| work(self)));
        let mut seat = self.lock();
        let job = seat.take().expect("a job stays seated until it is concluded");
        let ended = ended.unwrap_or_else(|panic| {
            Err(JobError::Panic { stage: job.stage, message: PanicMessage(panic_text(panic.as_ref())) })
        });
        job.conclude(ended)
    }

    /// A panic under the lock leaves the job as it was known before, which is still the truth.
    fn lock(&self) -> MutexGuard<'_, Option<Claimed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use livewebcam_jobs::{JobDir, JobFile, JobId, Outcome, Stage, Status, local};

    use super::super::{Ending, Task, this_process};
    use super::*;

    /// Concludes a claimed job with this work and gives its result.
    fn concluded(work: impl FnOnce(&Seat) -> Result<Painted, JobError>) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = JobDir::at(folder.path());
        let started = Instant::now();
        let seat = Seat::default();
        let task = Task { dir: dir.clone(), id: JobId::new(), queue: None, started };
        let claim = || Claimed::claim(&task, this_process(None), Log::since(started));
        assert!(seat.take(claim).expect("no error"));
        assert_eq!(seat.conclude(work).expect("a result").ending, Ending::Failed);
        assert!(!dir.file(JobFile::Output).exists());
        local::read_json(&dir.file(JobFile::Outcome)).expect("readable").expect("a result")
    }

    #[test]
    fn a_panic_ends_in_a_failed_result() {
        let outcome = concluded(|seat| {
            seat.job(|job| job.stage = Stage::Paint);
            panic!("layer {} is missing", 7)
        });
        let failure = outcome.failure.expect("a failure");
        assert_eq!((outcome.status, failure.stage), (Status::Failed, Stage::Paint));
        assert_eq!(failure.reason, "the runner broke down; this is a fault in it");
        assert_eq!(failure.detail, format!("{}: panic: layer 7 is missing", failure.reason));
    }

    #[test]
    fn a_panic_under_the_lock_and_one_in_another_thread_do_too() {
        let under_the_lock = concluded(|seat| seat.job(|_| panic!("poison")));
        assert_eq!(under_the_lock.failure.map(|failure| failure.stage), Some(Stage::Read));
        let elsewhere = concluded(|_| {
            rayon::join(|| panic!("in a band"), || ());
            unreachable!("rayon hands the panic on")
        });
        assert!(elsewhere.failure.is_some_and(|failure| failure.detail.ends_with("panic: in a band")));
    }
}
