//! What the fleet knows of one warm runner.

use std::time::{Duration, Instant};

use livewebcam_jobs::{Heartbeat, RunnerState};

use crate::scheduler::Sight;

/// Successful questions in a row that a runner must be missing from before it counts as dead.
const MISSING: u32 = 2;
/// A runner whose heartbeats stand still for so long, on this clock, is dead or cut off: some fifteen beats.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// A runner, from the wish for it to its end.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub(super) model: String,
    /// It stays although nobody watches.
    pub(super) stays: bool,
    /// The scheduler has taken it.
    pub(super) submitted: bool,
    /// The scheduler has started it.
    pub(super) running: bool,
    /// Why it waits, in plain words.
    pub(super) waits: Option<&'static str>,
    /// It was told to leave.
    pub(super) leaving: bool,
    pub(super) heartbeat: Option<Heartbeat>,
    /// When its heartbeats last moved.
    moved: Instant,
    missing: u32,
}

/// Why there is a runner less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It said so itself, after it had concluded its frame.
    Left(String),
    /// It said nothing; how it ended, in words.
    Died(String),
    /// The scheduler thinks that it runs, but it gives no sign of life.
    Silent,
}

impl Runner {
    pub(super) fn new(model: &str, stays: bool, now: Instant) -> Self {
        Self {
            model: model.to_owned(),
            stays,
            submitted: false,
            running: false,
            waits: None,
            leaving: false,
            heartbeat: None,
            moved: now,
            missing: 0,
        }
    }

    /// Frames that it has painted.
    pub(super) fn painted(&self) -> u64 {
        self.heartbeat.as_ref().map_or(0, |heartbeat| heartbeat.painted)
    }

    /// Whether it has no frame, as far as it has said.
    pub(super) fn is_idle(&self) -> bool {
        self.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.state == RunnerState::Idle)
    }

    /// In a word.
    pub(super) fn state(&self) -> &'static str {
        match &self.heartbeat {
            Some(Heartbeat { state: RunnerState::Idle, .. }) => "idle",
            Some(Heartbeat { state: RunnerState::Painting { .. }, .. }) => "painting",
            Some(Heartbeat { state: RunnerState::Left { .. }, .. }) => "leaving",
            None if self.running => "starting",
            None => "pending",
        }
    }

    /// Takes in what its directory says.
    pub(super) fn heard(&mut self, heartbeat: Heartbeat, now: Instant) -> Option<End> {
        if self.heartbeat.as_ref().is_none_or(|last| last.sequence != heartbeat.sequence) {
            self.moved = now;
        }
        let left = match &heartbeat.state {
            RunnerState::Left { why } => Some(End::Left(why.clone())),
            RunnerState::Idle | RunnerState::Painting { .. } => None,
        };
        self.running = true;
        self.heartbeat = Some(heartbeat);
        left
    }

    /// Takes in what the scheduler says of it. Its directory was read after that.
    pub(super) fn seen(&mut self, sight: Option<&Sight>, now: Instant) -> Option<End> {
        match sight {
            Some(Sight::Alive { waits, .. }) => {
                self.missing = 0;
                self.waits = *waits;
                self.running |= waits.is_none();
                let silent = self.heartbeat.is_some() && now.duration_since(self.moved) > SILENCE;
                silent.then_some(End::Silent)
            }
            Some(Sight::Ended(words)) => Some(End::Died(words.clone())),
            None => {
                self.missing += 1;
                let gone = self.missing >= MISSING;
                gone.then(|| End::Died("the scheduler no longer knows it".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use livewebcam_jobs::{Author, RunnerId};

    use super::*;

    fn beat(sequence: u64, state: RunnerState) -> Heartbeat {
        let author =
            Author::Runner { host: "node7".to_owned(), pid: 1, slurm_job_id: None, runner: Some(RunnerId::new()) };
        Heartbeat { sequence, author, state, model: None, device: None, painted: 0 }
    }

    fn alive() -> Sight {
        Sight::Alive { words: "running".to_owned(), waits: None }
    }

    #[test]
    fn only_a_heartbeat_that_stands_still_is_silence() {
        let start = Instant::now();
        let mut runner = Runner::new("starter", false, start);
        let late = start + SILENCE + Duration::from_secs(1);
        assert_eq!(runner.seen(Some(&alive()), late), None, "it may take long to start");
        assert_eq!(runner.heard(beat(1, RunnerState::Idle), late), None);
        let later = late + SILENCE;
        assert_eq!((runner.heard(beat(2, RunnerState::Idle), later), runner.seen(Some(&alive()), later)), (None, None));
        let still = later + SILENCE + Duration::from_secs(1);
        assert_eq!(runner.heard(beat(2, RunnerState::Idle), still), None);
        assert_eq!(runner.seen(Some(&alive()), still), Some(End::Silent));
    }

    #[test]
    fn the_scheduler_must_miss_it_twice() {
        let now = Instant::now();
        let mut runner = Runner::new("starter", false, now);
        assert_eq!(runner.seen(None, now), None);
        assert_eq!(runner.seen(Some(&alive()), now), None);
        assert_eq!(runner.seen(None, now), None);
        assert!(matches!(runner.seen(None, now), Some(End::Died(_))));
        assert_eq!(runner.state(), "starting");
    }

    #[test]
    fn it_says_itself_that_it_leaves() {
        let now = Instant::now();
        let mut runner = Runner::new("starter", false, now);
        let left = RunnerState::Left { why: "idle".to_owned() };
        assert_eq!(runner.heard(beat(9, left), now), Some(End::Left("idle".to_owned())));
    }
}
