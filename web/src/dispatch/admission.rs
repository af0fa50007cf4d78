//! Bounds on what reaches the cluster: frames in flight, and submissions in a minute.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const WINDOW: Duration = Duration::from_secs(60);

/// Too many frames; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; try again in {retry_after} s", if *in_flight { "as many frames as allowed are being painted" } else { "as many frames as allowed were submitted in the last minute" })]
pub struct Busy {
    /// Seconds after which a new try makes sense.
    pub retry_after: u64,
    /// Whether the bound on frames in flight was met, rather than that on submissions.
    pub in_flight: bool,
}

pub(super) struct Admission {
    slots: Arc<Semaphore>,
    max_in_flight: usize,
    submits: Mutex<VecDeque<Instant>>,
    per_minute: usize,
}

impl Admission {
    pub(super) fn new(max_in_flight: usize, submits_per_minute: u32) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            submits: Mutex::default(),
            per_minute: submits_per_minute as usize,
        }
    }

    /// A place for one frame, held until the permit is dropped.
    pub(super) fn admit(&self) -> Result<OwnedSemaphorePermit, Busy> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Result<OwnedSemaphorePermit, Busy> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| Busy { retry_after: 1, in_flight: true })?;
        let mut submits = self.submits.lock().unwrap_or_else(PoisonError::into_inner);
        while submits.front().is_some_and(|oldest| now.duration_since(*oldest) >= WINDOW) {
            submits.pop_front();
        }
        if submits.len() >= self.per_minute {
            let waited = submits.front().map_or(WINDOW, |oldest| now.duration_since(*oldest));
            let retry_after = WINDOW.saturating_sub(waited).as_secs() + 1;
            return Err(Busy { retry_after, in_flight: false });
        }
        submits.push_back(now);
        Ok(slot)
    }

    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.max_in_flight - self.slots.available_permits(), self.max_in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_frame_is_done() {
        let admission = Admission::new(2, 100);
        let first = admission.admit().expect("a place");
        let _second = admission.admit().expect("a place");
        assert_eq!(admission.in_flight(), (2, 2));
        assert!(admission.admit().expect_err("full").in_flight);
        drop(first);
        let _third = admission.admit().expect("a place");
    }

    #[test]
    fn submissions_are_counted_over_a_sliding_minute() {
        let admission = Admission::new(10, 2);
        let start = Instant::now();
        let _first = admission.admit_at(start).expect("the first");
        let _second = admission.admit_at(start + Duration::from_secs(30)).expect("the second");
        let busy = admission.admit_at(start + Duration::from_secs(50)).expect_err("the third");
        assert_eq!(busy, Busy { retry_after: 11, in_flight: false });
        let _third = admission.admit_at(start + Duration::from_secs(61)).expect("the first has left the window");
    }
}
