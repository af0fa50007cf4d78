//! `heartbeat.json`, written by a thread of its own, so that a long painting does not look like a dead runner.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use livewebcam_jobs::{Author, Heartbeat, RunnerDir, RunnerFile, RunnerState, local};

use crate::log::Log;

/// The pause between two beats when nothing changes.
const EVERY: Duration = Duration::from_secs(2);
/// The pause between two beats when something does: changes that come faster are told together.
const APART: Duration = Duration::from_millis(400);

/// Tells the tree that the runner lives. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    changed: Condvar,
    writer: Mutex<Writer>,
}

/// What is known of the runner.
#[derive(Debug)]
struct Known {
    heartbeat: Heartbeat,
    /// Whether the file lags behind.
    news: bool,
}

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    sequence: u64,
    left: bool,
    complained: bool,
    log: Log,
}

impl Pulse {
    /// The pulse of a runner that does not beat yet.
    pub(super) fn new(dir: &RunnerDir, author: Author, log: Log) -> Self {
        let path = dir.file(RunnerFile::Heartbeat);
        let state = RunnerState::Idle;
        let heartbeat = Heartbeat { sequence: 0, author, state, model: None, device: None, painted: 0 };
        Self(Arc::new(Shared {
            known: Mutex::new(Known { heartbeat, news: false }),
            changed: Condvar::new(),
            writer: Mutex::new(Writer { path, sequence: 0, left: false, complained: false, log }),
        }))
    }

    /// Writes the first beat and starts the thread for all others.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(&self) -> io::Result<()> {
        self.beat();
        let beating = self.clone();
        let beat = move || {
            loop {
                beating.rest();
                if !beating.beat() {
                    break;
                }
            }
        };
        thread::Builder::new().name("heartbeat".to_owned()).spawn(beat).map(drop)
    }

    /// Changes what is known of the runner; the tree is told soon.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Heartbeat)) {
        let mut known = lock(&self.0.known);
        let before = known.heartbeat.clone();
        change(&mut known.heartbeat);
        if known.heartbeat != before {
            known.news = true;
            self.0.changed.notify_one();
        }
    }

    /// The last beat. Whatever is told later stays untold.
    pub(super) fn leave(&self, why: &str) {
        let mut writer = lock(&self.0.writer);
        if !writer.left {
            self.tell(|heartbeat| heartbeat.state = RunnerState::Left { why: why.to_owned() });
            writer.write(&self.0.known);
            writer.left = true;
        }
    }

    /// `false` after the last one.
    fn beat(&self) -> bool {
        let mut writer = lock(&self.0.writer);
        if !writer.left {
            writer.write(&self.0.known);
        }
        !writer.left
    }

    /// Until the next beat is due.
    fn rest(&self) {
        thread::sleep(APART);
        let known = lock(&self.0.known);
        // Whether it was woken or has waited long enough, it beats.
        drop(self.0.changed.wait_timeout_while(known, EVERY - APART, |known| !known.news));
    }
}

impl Writer {
    fn write(&mut self, known: &Mutex<Known>) {
        self.sequence += 1;
        let mut heartbeat = {
            let mut known = lock(known);
            known.news = false;
            known.heartbeat.clone()
        };
        heartbeat.sequence = self.sequence;
        if let Err(error) = local::replace(&self.path, &local::to_json(&heartbeat))
            && !self.complained
        {
            self.complained = true;
            self.log.line(format_args!(
                "the heartbeat cannot be written, and the frontend may take this runner for dead: {error}"
            ));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use livewebcam_jobs::{JobId, Root, RunnerId};

    use super::super::place::Place;
    use super::*;
    use crate::job::this_process;

    struct Beating {
        _folder: tempfile::TempDir,
        path: PathBuf,
        pulse: Pulse,
    }

    impl Beating {
        fn start() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let id = RunnerId::new();
            let place = Place::new(&Root::new(folder.path()), id).expect("a place");
            let log = Log::since(Instant::now());
            let pulse = Pulse::new(place.dir(), this_process(Some(id)), log);
            pulse.start().expect("a thread");
            Self { _folder: folder, path: place.dir().file(RunnerFile::Heartbeat), pulse }
        }

        fn read(&self) -> Heartbeat {
            local::read_json(&self.path).expect("readable").expect("a heartbeat")
        }

        /// The first beat after this one.
        fn next(&self, sequence: u64) -> Heartbeat {
            let patience = Instant::now() + Duration::from_secs(60);
            loop {
                let heartbeat = self.read();
                if heartbeat.sequence > sequence {
                    return heartbeat;
                }
                assert!(Instant::now() < patience, "the heart stands still");
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    #[test]
    fn it_beats_at_once_and_again_without_news() {
        let beating = Beating::start();
        let first = beating.read();
        assert_eq!((first.sequence, &first.state, first.painted), (1, &RunnerState::Idle, 0));
        assert_eq!(beating.next(1), Heartbeat { sequence: 2, ..first });
    }

    #[test]
    fn quick_changes_are_told_together() {
        let beating = Beating::start();
        for painted in 1..=1000 {
            beating.pulse.tell(|heartbeat| {
                heartbeat.painted = painted;
                heartbeat.state = RunnerState::Painting { job: JobId::new() };
            });
        }
        let mut heartbeat = beating.read();
        while heartbeat.painted < 1000 {
            heartbeat = beating.next(heartbeat.sequence);
        }
        assert!(heartbeat.sequence < 100, "{heartbeat:?}");
    }

    #[test]
    fn nothing_follows_the_last_beat() {
        let beating = Beating::start();
        beating.pulse.leave("idle for 1 s");
        beating.pulse.leave("signal 15");
        beating.pulse.tell(|heartbeat| heartbeat.painted = 7);
        assert!(!beating.pulse.beat());
        let last = beating.read();
        let left = RunnerState::Left { why: "idle for 1 s".to_owned() };
        assert_eq!((last.sequence, last.state, last.painted), (2, left, 0));
    }

    #[test]
    fn a_beat_that_cannot_be_written_ends_nothing() {
        let beating = Beating::start();
        std::fs::remove_dir_all(beating.path.parent().expect("a directory")).expect("removed");
        assert!(beating.pulse.beat() && beating.pulse.beat());
        assert!(lock(&beating.pulse.0.writer).complained);
    }
}
