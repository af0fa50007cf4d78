//! Lines for people, on standard error: in a job that is `slurm.log`.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Writes lines that begin with the seconds since the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    started: Instant,
}

impl Log {
    /// A log whose clock began at `started`.
    #[must_use]
    pub fn since(started: Instant) -> Self {
        Self { started }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes one line, with nothing in it that moves a terminal's cursor: a style's name may be a visitor's text.
    ///
    /// A log that cannot be written (a full disk) must not end the work that it tells of, as `eprintln!` would, so errors
    /// are dropped.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        let text = text.to_string().replace(|c: char| c.is_control(), "\u{fffd}");
        let line = format!("{:8.3} {text}\n", self.elapsed().as_secs_f64());
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
