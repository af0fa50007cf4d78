//! Painting a concluded job once more, somewhere else.

use std::io;
use std::path::{Path, absolute};

use livewebcam_jobs::{JobFile, Root};

use super::error::JobError;
use super::{Models, RunError, has_entry, open, read};
use crate::log::Log;
use crate::model::{PaintError, Plan, Unwatched};
use crate::picture::{encode_png, save};

/// A job that could not be painted again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Not a job directory.
    #[error(transparent)]
    Open(#[from] RunError),
    /// It has no result yet.
    #[error("the job is not concluded yet; `run` paints it")]
    NotConcluded,
    /// The picture would lie in the job directory.
    #[error("the output lies in the job directory, in which a replay writes nothing; choose another place")]
    InJobDirectory,
    /// The painting failed.
    #[error("cannot paint the job again")]
    Job(#[from] JobError),
    /// The picture cannot be written.
    #[error("cannot write the painting")]
    Write(#[source] io::Error),
}

/// Paints the request of the concluded job in `path` and writes the picture to `output`. The job directory stays as it is.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(path: &Path, output: &Path, log: Log) -> Result<(), ReplayError> {
    let (dir, id) = open(path)?;
    if !has_entry(&dir, JobFile::Outcome).map_err(RunError::Read)? {
        return Err(ReplayError::NotConcluded);
    }
    let folder = absolute(output).map_err(ReplayError::Write)?;
    if folder.parent().and_then(|folder| folder.canonicalize().ok()) == dir.path().canonicalize().ok() {
        return Err(ReplayError::InJobDirectory);
    }
    let request = read::request(&dir, id)?;
    let frame = read::frame(&dir, &request)?;
    let mut models = Models::new(Root::of_job_dir(dir.path()), log);
    let installed = models.find(&request.model)?;
    let name = installed.info.name.clone();
    let plan =
        Plan::new(&installed.info, &request.parameters).map_err(|error| JobError::Paint(PaintError::Plan(error)))?;
    let loaded = models.load(installed, request.loading).map_err(JobError::Load)?;
    let painting = models.paint(loaded, &frame, &plan, &mut Unwatched).map_err(JobError::Paint)?;
    plan.tell(&painting, log);
    let png = encode_png(&painting.picture, &name, &painting.parameters, &request.loading);
    let png = png.map_err(JobError::Encode)?;
    save(output, &png).map_err(ReplayError::Write)
}
