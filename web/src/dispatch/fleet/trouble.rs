//! What is remembered of runners that ended before they had painted anything: the next one is started later each time.

use std::time::{Duration, Instant};

use livewebcam_jobs::Failure;

/// After this many in a row, frames are told at once that nobody can paint them.
const HOPELESS: u32 = 2;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct Trouble {
    failures: u32,
    until: Instant,
    failure: Failure,
}

impl Trouble {
    pub(super) fn new(now: Instant, failure: Failure) -> Self {
        let mut trouble = Self { failures: 0, until: now, failure: failure.clone() };
        trouble.again(now, failure);
        trouble
    }

    /// One more failure: the pause doubles, from two seconds to a minute.
    pub(super) fn again(&mut self, now: Instant, failure: Failure) {
        self.failures += 1;
        let pause = Duration::from_secs(1 << self.failures.min(6));
        self.until = now + pause.min(LONGEST_PAUSE);
        self.failure = failure;
    }

    /// No runner is to be started now.
    pub(super) fn pauses(&self, now: Instant) -> bool {
        now < self.until
    }

    /// What frames are told, if there is no hope left for them.
    pub(super) fn hopeless(&self) -> Option<&Failure> {
        (self.failures >= HOPELESS).then_some(&self.failure)
    }

    /// In one sentence.
    pub(super) fn reason(&self) -> &str {
        &self.failure.reason
    }
}

#[cfg(test)]
mod tests {
    use livewebcam_jobs::Stage;

    use super::*;

    #[test]
    fn the_pause_grows_and_one_failure_is_no_reason_to_give_up() {
        let now = Instant::now();
        let failure = || Failure::new(Stage::Wait, "no runner stays", "");
        let mut trouble = Trouble::new(now, failure());
        assert!(trouble.pauses(now + Duration::from_secs(1)) && !trouble.pauses(now + Duration::from_secs(2)));
        assert_eq!(trouble.hopeless(), None);
        trouble.again(now, failure());
        assert!(trouble.pauses(now + Duration::from_secs(3)));
        assert_eq!(trouble.hopeless().map(|failure| failure.reason.as_str()), Some("no runner stays"));
        for _ in 0..100 {
            trouble.again(now, failure());
        }
        assert!(!trouble.pauses(now + LONGEST_PAUSE));
    }
}
