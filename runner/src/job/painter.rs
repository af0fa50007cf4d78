//! The work on one job after the other, each with the model that is loaded or to be loaded.

use std::io;
use std::time::Instant;

use livewebcam_jobs::{Author, Clamped, JobDir, JobId, Output, Phase, Progress, Timings};

use super::claimed::{Claimed, Painted};
use super::error::JobError;
use super::watch::JobWatch;
use super::{Ended, Models, Seat, read};
use crate::hash::sha256;
use crate::log::Log;
use crate::model::{PaintError, Plan, Spent, Watch, milliseconds};
use crate::picture::encode_png;

/// A job that seems free to be painted.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its directory.
    pub dir: JobDir,
    /// Its id.
    pub id: JobId,
    /// The queue that its marker is in, where that is known.
    pub queue: Option<String>,
    /// Where its `total_ms` begins.
    pub started: Instant,
}

/// Claims jobs, paints and concludes them, one at a time.
pub struct Painter {
    author: Author,
    seat: Seat,
    models: Models,
    log: Log,
}

impl Painter {
    /// A painter that signs as `author`; its jobs are held by `seat`.
    #[must_use]
    pub fn new(author: Author, seat: Seat, models: Models, log: Log) -> Self {
        Self { author, seat, models, log }
    }

    /// The models that it paints with.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Claims the job. `false` where somebody else was faster.
    ///
    /// # Errors
    /// The claim cannot be written.
    pub fn claim(&mut self, task: &Task) -> io::Result<bool> {
        let claimed = self.seat.take(|| Claimed::claim(task, self.author.clone(), self.log))?;
        if claimed {
            self.log.line(format_args!("job {}: claimed by process {}", task.id, std::process::id()));
        }
        Ok(claimed)
    }

    /// Paints the claimed job and concludes it; whatever happens to the painting is in the result.
    ///
    /// # Errors
    /// The result cannot be written.
    ///
    /// # Panics
    /// The job was not claimed.
    pub fn paint(&mut self, task: &Task) -> io::Result<Ended> {
        self.seat.conclude(|seat| paint(task, seat, &mut self.models))
    }
}

/// The work on a claimed job, up to the encoded painting.
fn paint(task: &Task, seat: &Seat, models: &mut Models) -> Result<Painted, JobError> {
    let mut watch = JobWatch::new(&task.dir, seat);
    let request = read::request(&task.dir, task.id);
    seat.job(|job| {
        job.model = request.as_ref().ok().map(|request| request.model.clone());
        job.mark_running();
    });
    let request = request?;
    watch.check().map_err(PaintError::Interrupted)?;
    let frame = read::frame(&task.dir, &request)?;

    let warm = models.holds(&request.model, request.loading);
    if !warm {
        watch.progress(Progress { phase: Phase::Load, step: 0, steps: 1 }).map_err(PaintError::Interrupted)?;
    }
    let started = Instant::now();
    let installed = models.find(&request.model)?;
    let name = installed.info.name.clone();
    let plan = Plan::new(&installed.info, &request.parameters).map_err(PaintError::Plan)?;
    seat.job(|job| {
        job.model = Some(name.clone());
        job.parameters = Some(plan.parameters.clone());
        job.loading = Some(request.loading);
        job.clamped = plan.clamped.clone();
        job.warnings = plan.warnings.clone();
    });
    let loaded = models.load(installed, request.loading)?;
    if !warm {
        let load_ms = milliseconds(started);
        seat.job(|job| job.timings.load_ms = load_ms);
    }

    let painting = models.paint(loaded, &frame, &plan, &mut watch)?;
    seat.job(|job| {
        let Spent { encode_ms, paint_ms, decode_ms } = painting.spent;
        job.timings = Timings { encode_ms, paint_ms, decode_ms, ..job.timings };
        job.parameters = Some(painting.parameters.clone());
        job.clamped = Clamped::joined(std::mem::take(&mut job.clamped), painting.clamped);
        job.warnings.extend(painting.warnings);
    });
    watch.progress(Progress { phase: Phase::Write, step: 1, steps: 1 }).map_err(PaintError::Interrupted)?;
    let started = Instant::now();
    let png = encode_png(&painting.picture, &name, &painting.parameters, &request.loading);
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
