//! The runner's side of a job directory: claim, paint, conclude. Knows no model in particular.
//!
//! A job is claimed exclusively before anything is read, and from then on has exactly one author; whatever happens after
//! that, a panic and a signal included, ends in `result.json`, written exclusively and last. Only SIGKILL, a dead node and
//! a disk without room for a few hundred bytes leave a claim without a result, and then the frontend concludes.

mod claimed;
mod error;
mod markers;
mod models;
mod painter;
mod read;
mod replay;
mod seat;
mod watch;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf, absolute};
use std::time::Instant;

use livewebcam_jobs::{
    Author, Claim, InvalidJobId, JobDir, JobFile, JobId, Outcome, Root, RunnerId, State, Timings, local,
};

pub use error::{JobError, PanicMessage, Signal};
pub use models::Models;
pub use painter::{Painter, Task};
pub use replay::{ReplayError, replay};
pub use seat::Seat;

use crate::log::Log;

/// How the work on a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `output.png` is there.
    Painted,
    /// The result says why not.
    Failed,
    /// Nobody wanted it any more.
    Cancelled,
    /// It is somebody else's: claimed or concluded already.
    NothingToPaint,
}

/// The end of the work on a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub ending: Ending,
    /// How long each part took.
    pub timings: Timings,
}

/// A job that could not even be claimed, or whose result could not be written. Its text may name paths.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The path is no job directory.
    #[error("{} is not a job directory", .0.display())]
    NotADirectory(PathBuf),
    /// Its name is no job id.
    #[error("{} is not a job directory", path.display())]
    Name {
        /// What was given.
        path: PathBuf,
        /// What a job id is.
        source: InvalidJobId,
    },
    /// The directory cannot be read.
    #[error("cannot read the job directory")]
    Read(#[source] io::Error),
    /// `claim.json` cannot be written.
    #[error("cannot claim the job")]
    Claim(#[source] io::Error),
    /// `result.json` cannot be written.
    #[error("cannot write the job's result")]
    Conclude(#[source] io::Error),
}

/// Claims the job in `path`, paints it and concludes it.
///
/// # Errors
/// Only what keeps it from being claimed or concluded; a failed painting is an [`Ending`].
pub fn run(path: &Path, seat: &Seat, started: Instant, log: Log) -> Result<Ending, RunError> {
    let (dir, id) = open(path)?;
    if let Some(whose) = taken(&dir).map_err(RunError::Read)? {
        log.line(format_args!("job {id} is {whose}; nothing is painted"));
        return Ok(Ending::NothingToPaint);
    }
    let task = Task { dir, id, queue: None, started };
    let mut painter =
        Painter::new(this_process(None), seat.clone(), Models::new(Root::of_job_dir(task.dir.path()), log), log);
    if !painter.claim(&task).map_err(RunError::Claim)? {
        log.line(format_args!("job {id} was claimed by somebody else just now; nothing is painted"));
        return Ok(Ending::NothingToPaint);
    }
    painter.paint(&task).map(|ended| ended.ending).map_err(RunError::Conclude)
}

/// This process, as it signs claims and results; a warm runner has an id.
#[must_use]
pub fn this_process(runner: Option<RunnerId>) -> Author {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Author::Runner {
        host: host.trim().to_owned(),
        pid: std::process::id(),
        slurm_job_id: std::env::var("SLURM_JOB_ID").ok(),
        runner,
    }
}

/// The job directory at `path` and its id. Links in the path to it are followed, a link in its place is not.
fn open(path: &Path) -> Result<(JobDir, JobId), RunError> {
    let not_a_directory = || RunError::NotADirectory(path.to_owned());
    let path = absolute(path).map_err(RunError::Read)?;
    if !fs::symlink_metadata(&path).map_err(RunError::Read)?.is_dir() {
        return Err(not_a_directory());
    }
    let name = path.file_name().ok_or_else(not_a_directory)?.to_string_lossy();
    let id = name.parse().map_err(|source| RunError::Name { path: path.clone(), source })?;
    Ok((JobDir::at(path), id))
}

/// Whether a job directory has an entry of this name, whatever it is.
pub(crate) fn has_entry(dir: &JobDir, file: JobFile) -> io::Result<bool> {
    match fs::symlink_metadata(dir.file(file)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How the job is no longer free, in words; `None` if it is.
fn taken(dir: &JobDir) -> io::Result<Option<String>> {
    if has_entry(dir, JobFile::Outcome)? {
        let state = match local::read_json::<Outcome>(&dir.file(JobFile::Outcome)) {
            Ok(Some(outcome)) => State::Concluded(outcome.status).to_string(),
            Ok(None) | Err(_) => "unreadable".to_owned(),
        };
        return Ok(Some(format!("concluded already ({state})")));
    }
    if !has_entry(dir, JobFile::Claim)? {
        return Ok(None);
    }
    let author = match local::read_json::<Claim>(&dir.file(JobFile::Claim)) {
        Ok(Some(Claim { author: Author::Runner { host, pid, .. }, .. })) => format!("process {pid} on {host}"),
        Ok(Some(Claim { author: Author::Frontend { instance }, .. })) => format!("frontend {instance}"),
        Ok(None) | Err(_) => "somebody".to_owned(),
    };
    Ok(Some(format!("claimed already by {author}")))
}
