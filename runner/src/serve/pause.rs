//! How long an idle runner waits between two looks into the queue.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// The pause after a look that found nothing, when the last frame was `idle` ago.
///
/// It grows with the gap: a frame that comes after a gap waits at most a twentieth of that gap for the look that finds it, so
/// visitors notice nothing, and yet a runner makes only some 130 looks until, after twenty seconds, it looks once a second.
pub(super) fn pause(idle: Duration) -> Duration {
    (idle / 20).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks fall between these two times since the last frame.
    fn looks(from: Duration, to: Duration) -> usize {
        let mut at = Duration::ZERO;
        let mut looks = 0;
        while at < to {
            looks += usize::from(at >= from);
            at += pause(at);
        }
        looks
    }

    #[test]
    fn a_gap_is_made_a_twentieth_longer_at_most() {
        for milliseconds in (100..20_000).step_by(37) {
            let idle = Duration::from_millis(milliseconds);
            assert_eq!(pause(idle), idle / 20);
        }
    }

    #[test]
    fn looks_become_rare() {
        assert_eq!(pause(Duration::ZERO), SHORTEST);
        assert_eq!(pause(Duration::MAX), LONGEST);
        let seconds = Duration::from_secs;
        assert!(looks(Duration::ZERO, seconds(20)) < 140);
        assert_eq!(looks(seconds(30), seconds(90)), 60);
    }
}
