//! The runner's side of a job directory: claim, paint, conclude. Knows no model in particular.
//!
//! A job is claimed exclusively before anything is read, and from then on has exactly one author; whatever happens after
//! that, a panic and a signal included, ends in `result.json`, written exclusively and last. Only SIGKILL, a dead node and
//! a disk without room for a few hundred bytes leave a claim without a result, and then the frontend concludes.

mod claimed;
mod error;
mod markers;
mod read;
mod replay;
mod seat;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use livewebcam_jobs::{
    Author, Claim, Clamped, InvalidJobId, JobDir, JobFile, JobId, Outcome, Output, Phase, Progress, Root, Stage, State,
    Timings, local,
};

use claimed::{Claimed, Painted};
pub use error::{JobError, PanicMessage, Signal};
pub use replay::{ReplayError, replay};
pub use seat::Seat;

use crate::hash::sha256;
use crate::log::Log;
use crate::model::{Catalogue, Interrupted, PaintError, Plan, Spent, Watch, milliseconds};
use crate::picture::encode_png;

/// How a call of [`run`] ended.
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
    if !seat.take(|| Claimed::claim(dir.clone(), id, started, log)).map_err(RunError::Claim)? {
        log.line(format_args!("job {id} was claimed by somebody else just now; nothing is painted"));
        return Ok(Ending::NothingToPaint);
    }
    log.line(format_args!("job {id}: claimed by process {}", std::process::id()));
    seat.conclude(|seat| paint(&dir, id, seat, log)).map_err(RunError::Conclude)
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
fn has_entry(dir: &JobDir, file: JobFile) -> io::Result<bool> {
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

/// The work on a claimed job, up to the encoded painting.
fn paint(dir: &JobDir, id: JobId, seat: &Seat, log: Log) -> Result<Painted, JobError> {
    let mut watch = JobWatch { dir, seat, looked: None };
    let request = read::request(dir, id);
    seat.job(|job| {
        job.model = request.as_ref().ok().map(|request| request.model.clone());
        job.mark_running();
    });
    let request = request?;
    watch.check().map_err(PaintError::Interrupted)?;
    let frame = read::frame(dir, &request)?;

    watch.progress(Progress { phase: Phase::Load, step: 0, steps: 1 }).map_err(PaintError::Interrupted)?;
    let started = Instant::now();
    let catalogue = catalogue_of(dir).map_err(JobError::Catalogue)?;
    let installed = catalogue.find(&request.model)?;
    let plan = Plan::new(&installed.info, &request.parameters).map_err(PaintError::Plan)?;
    seat.job(|job| {
        job.model = Some(installed.info.name.clone());
        job.parameters = Some(plan.parameters.clone());
        job.loading = Some(request.loading);
        job.clamped = plan.clamped.clone();
        job.warnings = plan.warnings.clone();
    });
    let model = installed.load(request.loading, log)?;
    let load_ms = milliseconds(started);
    seat.job(|job| job.timings.load_ms = load_ms);

    let painting = model.paint(&frame, &plan, &mut watch)?;
    seat.job(|job| {
        let Spent { encode_ms, paint_ms, decode_ms } = painting.spent;
        job.timings = Timings { encode_ms, paint_ms, decode_ms, ..job.timings };
        job.parameters = Some(painting.parameters.clone());
        job.clamped = Clamped::joined(std::mem::take(&mut job.clamped), painting.clamped);
        job.warnings.extend(painting.warnings);
    });
    watch.progress(Progress { phase: Phase::Write, step: 1, steps: 1 }).map_err(PaintError::Interrupted)?;
    let started = Instant::now();
    let png = encode_png(&painting.picture, &installed.info.name, &painting.parameters, &request.loading);
    let png = png.map_err(JobError::Encode)?;
    let output = Output {
        bytes: png.len() as u64,
        sha256: sha256(&png),
        width: painting.picture.width(),
        height: painting.picture.height(),
    };
    let write_ms = milliseconds(started);
    seat.job(|job| job.timings.write_ms = write_ms);
    Ok(Painted { png, output })
}

/// The models that lie beside a job directory, and the built-in one.
fn catalogue_of(dir: &JobDir) -> io::Result<Catalogue> {
    match Root::of_job_dir(dir.path()) {
        Some(root) => Ok(Catalogue::with_folder(&root.models())?.keeping(root.cache())),
        None => Ok(Catalogue::built_in()),
    }
}

/// Writes `progress.json` and looks for `cancel`.
struct JobWatch<'a> {
    dir: &'a JobDir,
    seat: &'a Seat,
    looked: Option<Instant>,
}

impl JobWatch<'_> {
    /// How long a look for `cancel` holds. A look is a listing of the directory, which on NFS asks the server.
    const LOOK_EVERY: Duration = Duration::from_millis(200);

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
