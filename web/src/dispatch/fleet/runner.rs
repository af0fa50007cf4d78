//! What the fleet knows of one warm runner.

use std::time::{Duration, Instant};

use livewebcam_jobs::{Heartbeat, RunnerState};

use crate::scheduler::Sight;

/// Successful questions in a row that a runner must be missing from before it counts as dead.
const MISSING: u32 = 2;
/// A runner whose heartbeats stand still for so long, on this clock, is dead or cut off: some fifteen beats.
const SILENCE: Duration = Duration::from_secs(30);
/// A runner that the scheduler has started, but that has not beaten once after so long, will not.
const STARTING: Duration = Duration::from_secs(300);
/// After a gap between two looks at its heartbeat, a runner gets the time for new beats before it counts as silent.
const GAP: Duration = Duration::from_secs(15);
/// How long a runner that waits in the scheduler's queue is kept although nobody wants it.
const UNWANTED: Duration = Duration::from_secs(10);

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
    /// When its heartbeat was last read.
    heard: Instant,
    /// When the scheduler was first seen to have started it.
    started: Option<Instant>,
    unwanted: Option<Instant>,
    missing: u32,
}

/// Why there is a runner less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It said so itself, after it had concluded its frame.
    Left(String),
    /// It said nothing; how it ended, in words.
    Died(String),
    /// The scheduler thinks that it runs, but it gives no sign of life; for how long, in words.
    Silent(String),
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
            heard: now,
            started: None,
            unwanted: None,
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
            _ if self.leaving => "leaving",
            Some(Heartbeat { state: RunnerState::Idle, .. }) => "idle",
            Some(Heartbeat { state: RunnerState::Painting { .. }, .. }) => "painting",
            Some(Heartbeat { state: RunnerState::Left { .. }, .. }) => "leaving",
            None if self.running => "starting",
            None => "pending",
        }
    }

    /// Whether it only waits in the scheduler's queue, and nobody has wanted it for a while.
    pub(super) fn is_idle_wish(&mut self, wanted: bool, now: Instant) -> bool {
        if wanted || self.running || self.stays || !self.submitted {
            self.unwanted = None;
            return false;
        }
        now.duration_since(*self.unwanted.get_or_insert(now)) > UNWANTED
    }

    /// Takes in what its directory says.
    pub(super) fn heard(&mut self, heartbeat: Heartbeat, now: Instant) -> Option<End> {
        let moved = self.heartbeat.as_ref().is_none_or(|last| last.sequence != heartbeat.sequence);
        if moved || now.duration_since(self.heard) > GAP {
            self.moved = now;
        }
        self.heard = now;
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
                if self.running {
                    self.started.get_or_insert(now);
                }
                let after = |limit: Duration, words: &str| {
                    let since = if self.heartbeat.is_some() { Some(self.moved) } else { self.started };
                    let silent = since.is_some_and(|since| now.duration_since(since) > limit);
                    silent.then(|| End::Silent(format!("{words} for {} s", limit.as_secs())))
                };
                match &self.heartbeat {
                    // Only what was read just now tells that nothing has moved.
                    Some(_) if now.duration_since(self.heard) > GAP => None,
                    Some(_) => after(SILENCE, "it gave no sign of life"),
                    None => after(STARTING, "it ran without a sign of life"),
                }
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
        let mut at = later;
        let mut end = None;
        while end.is_none() {
            at += Duration::from_secs(5);
            assert_eq!(runner.heard(beat(2, RunnerState::Idle), at), None);
            end = runner.seen(Some(&alive()), at);
        }
        assert_eq!(at - later, SILENCE + Duration::from_secs(5));
        assert_eq!(end, Some(End::Silent("it gave no sign of life for 30 s".to_owned())));
    }

    #[test]
    fn what_could_not_be_read_is_no_silence() {
        let start = Instant::now();
        let mut runner = Runner::new("starter", false, start);
        runner.heard(beat(1, RunnerState::Idle), start);
        let after = start + 2 * SILENCE;
        assert_eq!(runner.seen(Some(&alive()), after), None, "its heartbeat was not read");
        assert_eq!((runner.heard(beat(1, RunnerState::Idle), after), runner.seen(Some(&alive()), after)), (None, None));
    }

    #[test]
    fn a_start_without_end_is_given_up() {
        let start = Instant::now();
        let mut runner = Runner::new("starter", false, start);
        assert_eq!(runner.seen(Some(&alive()), start), None);
        let end = runner.seen(Some(&alive()), start + STARTING + Duration::from_secs(1));
        assert!(matches!(end, Some(End::Silent(_))), "{end:?}");
    }

    #[test]
    fn a_runner_that_waits_for_nobody_is_an_idle_wish_after_a_while() {
        let start = Instant::now();
        let mut runner = Runner::new("starter", false, start);
        runner.submitted = true;
        let late = start + UNWANTED + Duration::from_secs(1);
        assert!(
            !runner.is_idle_wish(false, start) && !runner.is_idle_wish(true, late) && !runner.is_idle_wish(false, late)
        );
        assert!(runner.is_idle_wish(false, late + UNWANTED + Duration::from_secs(1)));
        runner.running = true;
        assert!(!runner.is_idle_wish(false, late + 9 * UNWANTED));
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
