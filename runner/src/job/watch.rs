//! Watching a painting for its job.

use std::fs;
use std::time::{Duration, Instant};

use livewebcam_jobs::{JobDir, JobFile, Phase, Progress, Stage};

use super::Seat;
use crate::model::{Interrupted, Watch};

/// Writes `progress.json` and looks for `cancel`.
pub(super) struct JobWatch<'a> {
    dir: &'a JobDir,
    seat: &'a Seat,
    looked: Option<Instant>,
}

impl<'a> JobWatch<'a> {
    /// How long a look for `cancel` holds. A look is a listing of the directory, which on NFS asks the server.
    const LOOK_EVERY: Duration = Duration::from_millis(200);

    pub(super) fn new(dir: &'a JobDir, seat: &'a Seat) -> Self {
        Self { dir, seat, looked: None }
    }

    /// The directory is listed: an NFS client may remember for long that a single name was missing.
    fn look(&mut self) -> Result<(), Interrupted> {
        self.looked = Some(Instant::now());
        let Ok(entries) = fs::read_dir(self.dir.path()) else { return Ok(()) };
        let cancelled = entries.flatten().any(|entry| entry.file_name() == JobFile::Cancel.name());
        if cancelled { Err(Interrupted) } else { Ok(()) }
    }
}

impl Watch for JobWatch<'_> {
    fn progress(&mut self, progress: Progress) -> Result<(), Interrupted> {
        self.seat.job(|job| {
            job.stage = match progress.phase {
                Phase::Load => Stage::Load,
                Phase::Encode | Phase::Paint | Phase::Decode => Stage::Paint,
                Phase::Write => Stage::Write,
            };
            job.write_progress(&progress);
        });
        self.look()
    }

    fn check(&mut self) -> Result<(), Interrupted> {
        if self.looked.is_some_and(|looked| looked.elapsed() < Self::LOOK_EVERY) { Ok(()) } else { self.look() }
    }
}
