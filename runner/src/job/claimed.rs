//! A job that is this process's own, from the claim to the result.

use std::fs;
use std::io;
use std::time::Instant;

use livewebcam_jobs::{
    Author, Claim, Clamped, Failure, JobDir, JobFile, JobId, LoadOptions, Outcome, Output, Parameters, Progress, Stage,
    State, Status, Timings, local,
};

use super::error::JobError;
use super::markers::Markers;
use super::{Ended, Ending, Task, has_entry};
use crate::log::Log;
use crate::model::{Interrupted, PaintError, milliseconds};

/// A claimed job, and what is known of it so far.
#[derive(Debug)]
pub(super) struct Claimed {
    dir: JobDir,
    id: JobId,
    author: Author,
    markers: Option<Markers>,
    queue: Option<String>,
    /// Whether the marker is out of its queue.
    marked: bool,
    started: Instant,
    log: Log,
    /// What the runner is at.
    pub(super) stage: Stage,
    /// The model's name, once the request is read.
    pub(super) model: Option<String>,
    pub(super) parameters: Option<Parameters>,
    pub(super) loading: Option<LoadOptions>,
    pub(super) clamped: Vec<Clamped>,
    pub(super) timings: Timings,
    pub(super) warnings: Vec<String>,
}

/// An encoded painting.
#[derive(Debug)]
pub(super) struct Painted {
    pub(super) png: Vec<u8>,
    pub(super) output: Output,
}

impl Claimed {
    /// Claims the job, unless somebody was faster.
    pub(super) fn claim(task: &Task, author: Author, log: Log) -> io::Result<Option<Self>> {
        let Task { dir, id, queue, started } = task.clone();
        let claim = Claim { author: author.clone(), nonce: format!("{:016x}", rand::random::<u64>()) };
        if !local::publish_exclusively(&dir.file(JobFile::Claim), &local::to_json(&claim))? {
            return Ok(None);
        }
        let markers = Markers::of(dir.path(), id, log);
        Ok(Some(Self {
            dir,
            id,
            author,
            markers,
            queue,
            marked: false,
            started,
            log,
            stage: Stage::Read,
            model: None,
            parameters: None,
            loading: None,
            clamped: Vec::new(),
            timings: Timings::default(),
            warnings: Vec::new(),
        }))
    }

    /// Moves the marker to `running/`, from the queue that it was seen in, that of the model, or else from wherever it is. Once.
    pub(super) fn mark_running(&mut self) {
        if let (Some(markers), false) = (&self.markers, self.marked) {
            markers.claimed(self.queue.as_deref().or(self.model.as_deref()));
        }
        self.marked = true;
    }

    /// Writes `progress.json`. A frame is not given up because that fails.
    pub(super) fn write_progress(&self, progress: &Progress) {
        if let Err(error) = local::replace(&self.dir.file(JobFile::Progress), &local::to_json(progress)) {
            self.log.line(format_args!("job {}: its progress cannot be written: {error}", self.id));
        }
    }

    /// Writes `output.png` of a painted job and then, exclusively, `result.json`; the marker follows.
    pub(super) fn conclude(mut self, ended: Result<Painted, JobError>) -> io::Result<Ended> {
        const MEANWHILE: &str = "somebody has concluded it meanwhile; leaving it as it is";
        if has_entry(&self.dir, JobFile::Outcome)? {
            return Ok(self.leave(MEANWHILE));
        }
        let written = ended.and_then(|painted| self.write_output(painted));
        let outcome = self.outcome(written);
        let status = match self.publish(outcome) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(self.leave(MEANWHILE)),
            Err(_) if !self.dir.path().is_dir() => return Ok(self.leave("its directory is gone")),
            Err(error) => return Err(error),
        };
        self.mark_running();
        if let Some(markers) = &self.markers {
            markers.concluded();
        }
        let ending = match status {
            Status::Done => {
                self.log.line(format_args!("job {}: painted in {:.0} ms", self.id, self.timings.total_ms));
                Ending::Painted
            }
            Status::Failed => Ending::Failed,
            Status::Cancelled => Ending::Cancelled,
        };
        Ok(Ended { ending, timings: self.timings })
    }

    /// Publishes the result, or, where that is impossible, a short one that says so. `None` if there is a result already.
    fn publish(&mut self, outcome: Outcome) -> io::Result<Option<Status>> {
        let path = self.dir.file(JobFile::Outcome);
        let error = match local::publish_exclusively(&path, &local::to_json(&outcome)) {
            Ok(published) => return Ok(published.then_some(outcome.status)),
            Err(error) => error,
        };
        self.log.line(format_args!("job {}: its result cannot be written: {error}", self.id));
        // A full disk gets room for a few hundred bytes.
        let _ = fs::remove_file(self.dir.file(JobFile::Progress));
        let _ = fs::remove_file(self.dir.file(JobFile::Output));
        let outcome = if outcome.status == Status::Done { self.outcome(Err(JobError::write(error))) } else { outcome };
        let failure = outcome.failure.map(|failure| Failure { detail: String::new(), ..failure });
        let short = Outcome { failure, parameters: None, clamped: Vec::new(), warnings: Vec::new(), ..outcome };
        let published = local::publish_exclusively(&path, &local::to_json(&short))?;
        Ok(published.then_some(short.status))
    }

    fn write_output(&mut self, painted: Painted) -> Result<Output, JobError> {
        let started = Instant::now();
        local::replace_durably(&self.dir.file(JobFile::Output), &painted.png).map_err(JobError::write)?;
        self.timings.write_ms += milliseconds(started);
        Ok(painted.output)
    }

    fn outcome(&mut self, written: Result<Output, JobError>) -> Outcome {
        let (status, output, failure) = match written {
            Ok(output) => (Status::Done, Some(output), None),
            Err(error) => {
                let status = if self.is_cancelled(&error) { Status::Cancelled } else { Status::Failed };
                let handed_back = status == Status::Failed && self.hands_back(&error);
                (status, None, Some(Failure { handed_back, ..error.failure() }))
            }
        };
        self.timings.total_ms = milliseconds(self.started);
        if let Some(failure) = &failure {
            let state = State::Concluded(status);
            self.log.line(format_args!("job {}: {state} ({:?}): {}", self.id, failure.stage, failure.detail));
        }
        Outcome {
            status,
            author: self.author.clone(),
            model: self.model.clone().unwrap_or_default(),
            output,
            failure,
            parameters: self.parameters.clone(),
            loading: self.loading,
            clamped: self.clamped.clone(),
            timings: self.timings,
            warnings: self.warnings.clone(),
        }
    }

    /// A frontend that cancels a job also has the scheduler end it: then the signal is only how the wish arrived.
    fn is_cancelled(&self, error: &JobError) -> bool {
        match error {
            JobError::Paint(PaintError::Interrupted(Interrupted)) => true,
            JobError::Stopped { .. } => has_entry(&self.dir, JobFile::Cancel).unwrap_or(false),
            _ => false,
        }
    }

    /// A warm runner that is told to stop means no harm to the frame that it is at: another runner shall paint it.
    fn hands_back(&self, error: &JobError) -> bool {
        let warm = matches!(self.author, Author::Runner { runner: Some(_), .. });
        warm && matches!(error, JobError::Stopped { .. })
    }

    fn leave(self, why: &str) -> Ended {
        self.log.line(format_args!("job {}: {why}", self.id));
        if let Some(markers) = &self.markers {
            markers.left();
        }
        Ended { ending: Ending::NothingToPaint, timings: self.timings }
    }
}
