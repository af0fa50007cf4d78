//! A bound on submissions in a minute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);

/// Counts submissions over a sliding minute.
pub(super) struct Pace {
    submits: Mutex<VecDeque<Instant>>,
    per_minute: usize,
}

impl Pace {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { submits: Mutex::default(), per_minute: per_minute as usize }
    }

    /// Counts one more, unless the minute is full: then how long until one may go.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), Duration> {
        let mut submits = self.submits.lock().unwrap_or_else(PoisonError::into_inner);
        while submits.front().is_some_and(|oldest| now.duration_since(*oldest) >= WINDOW) {
            submits.pop_front();
        }
        if submits.len() >= self.per_minute {
            let waited = submits.front().map_or(Duration::ZERO, |oldest| now.duration_since(*oldest));
            return Err(WINDOW.saturating_sub(waited));
        }
        submits.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_counted_over_a_sliding_minute() {
        let pace = Pace::new(2);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.take_at(start), Ok(()));
        assert_eq!(pace.take_at(after(30)), Ok(()));
        assert_eq!(pace.take_at(after(50)), Err(Duration::from_secs(10)));
        assert_eq!(pace.take_at(after(61)), Ok(()), "the first has left the window");
    }
}
