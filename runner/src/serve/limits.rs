//! The time that a scheduler gives the runner, and when too little of it is left for another frame.

use std::str::FromStr;
use std::time::Duration;

/// A time limit in Slurm's notation; none where it is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimit(Option<Duration>);

/// A text that is no time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a time limit; write it as for Slurm's --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours, \
     days-hours:minutes, days-hours:minutes:seconds or UNLIMITED"
)]
pub struct InvalidTimeLimit;

impl FromStr for TimeLimit {
    type Err = InvalidTimeLimit;

    fn from_str(text: &str) -> Result<Self, InvalidTimeLimit> {
        if ["UNLIMITED", "INFINITE"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Ok(Self(None));
        }
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(u64::from(number)),
            _ => Err(InvalidTimeLimit),
        };
        let numbers = |text: &str| text.split(':').map(number).collect::<Result<Vec<_>, _>>();
        let (days, clock) = match text.split_once('-') {
            None => (0, numbers(text)?),
            Some((days, clock)) => (number(days)?, numbers(clock)?),
        };
        // What the first number counts depends on whether there are days, and else on how many follow.
        let (hours, minutes, seconds) = match (text.contains('-'), clock.as_slice()) {
            (true, &[hours]) => (hours, 0, 0),
            (true, &[hours, minutes]) => (hours, minutes, 0),
            (false, &[minutes]) => (0, minutes, 0),
            (false, &[minutes, seconds]) => (0, minutes, seconds),
            (_, &[hours, minutes, seconds]) => (hours, minutes, seconds),
            _ => return Err(InvalidTimeLimit),
        };
        let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
        // Slurm's own word for no limit.
        Ok(Self((seconds > 0).then_some(Duration::from_secs(seconds))))
    }
}

/// Tells when the limit is near.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    limit: TimeLimit,
    longest: Duration,
}

impl Limits {
    /// For whatever else a runner does at its end, and for the time that its script took before it.
    const MARGIN: Duration = Duration::from_secs(10);

    pub(super) fn new(limit: TimeLimit) -> Self {
        Self { limit, longest: Duration::ZERO }
    }

    /// A frame took so long, without the loading of its model.
    pub(super) fn count(&mut self, frame: Duration) {
        self.longest = self.longest.max(frame);
    }

    /// Whether another frame may not be finished in time, when the process has run for `elapsed`.
    pub(super) fn near(&self, elapsed: Duration) -> bool {
        let needed = self.longest.saturating_mul(2).saturating_add(Self::MARGIN);
        self.limit.0.is_some_and(|limit| limit.saturating_sub(elapsed) < needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_slurm_reads_them() {
        let (minute, hour, day) = (60, 3600, 86400);
        for (text, seconds) in [
            ("5", 5 * minute),
            ("90", 90 * minute),
            ("5:30", 5 * minute + 30),
            ("00:05:00", 5 * minute),
            ("100:00:01", 100 * hour + 1),
            ("2-0", 2 * day),
            ("1-12", day + 12 * hour),
            ("1-12:30", day + 12 * hour + 30 * minute),
            ("1-12:30:15", day + 12 * hour + 30 * minute + 15),
            ("4294967295-0", 4_294_967_295 * day),
        ] {
            assert_eq!(text.parse(), Ok(TimeLimit(Some(Duration::from_secs(seconds)))), "{text}");
        }
        for text in ["UNLIMITED", "unlimited", "INFINITE", "0", "0:00", "00:00:00", "0-0"] {
            assert_eq!(text.parse(), Ok(TimeLimit(None)), "{text}");
        }
        for text in ["", "-", "-5", "+5", " 5", "5 ", "1:2:3:4", "1-", "1-2:3:4:5", "1-2-3", ":", "5:", "5m", "1.5"] {
            assert_eq!(text.parse::<TimeLimit>(), Err(InvalidTimeLimit), "{text:?}");
        }
    }

    #[test]
    fn a_limit_is_near_when_two_frames_and_ten_seconds_no_longer_fit() {
        let seconds = Duration::from_secs;
        let mut limits = Limits::new(TimeLimit(Some(seconds(300))));
        assert!(!limits.near(seconds(290)) && limits.near(seconds(291)));
        limits.count(seconds(20));
        limits.count(seconds(3));
        assert!(!limits.near(seconds(250)) && limits.near(seconds(251)) && limits.near(seconds(1000)));
        let mut unlimited = Limits::new(TimeLimit::default());
        unlimited.count(Duration::MAX);
        assert!(!unlimited.near(Duration::MAX));
    }
}
