//! One frame from its order to its painting.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, ensure};
use livewebcam_jobs::{
    BatchJob, Failure, JobFile, JobId, Marker, Outcome, REQUEST_VERSION, Request, Stage, Status, local, model_key,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::journeys::Listed;
use super::watcher::Verdict;
use super::{Dispatcher, Durations, Order, PaintError, Painting};
use crate::scheduler::SubmitError;
use crate::settings::seconds;
use crate::transport::TransportError;

/// Largest `result.json` and other small files that are read.
pub(super) const SMALL_FILE: u64 = 1 << 20;
/// Largest `output.png` that is fetched.
const LARGEST_OUTPUT: u64 = 256 << 20;

/// Cancels its frame when it is dropped: the request's future, when the browser goes away.
struct CancelOnDrop(CancellationToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Dispatcher {
    /// Paints a frame. Dropping the future cancels the job; its conclusion goes on in the background.
    ///
    /// # Errors
    /// See [`PaintError`]; the job's id goes with every error that comes after the job has one.
    pub async fn paint(&self, order: Order) -> Result<Painting, (Option<JobId>, PaintError)> {
        if self.0.closing.is_cancelled() || self.is_superseded() {
            return Err((None, PaintError::Closing));
        }
        let slot = self.0.admission.admit().map_err(|busy| (None, busy.into()))?;
        let id = JobId::new();
        let cancelled = self.0.closing.child_token();
        let guard = CancelOnDrop(cancelled.clone());
        let listed = self.0.journeys.begin(id, order.tag.clone());
        let dispatcher = self.clone();
        // In a task of its own, so that a job is concluded whatever becomes of the request.
        let task = self.spawn(async move {
            let painted = dispatcher.journey(id, &order, &listed, &cancelled).await;
            drop(listed);
            dispatcher.sweep_later();
            drop(slot);
            painted
        });
        let painted = task.await;
        drop(guard);
        painted.unwrap_or_else(|panic| Err(PaintError::Retrieve(panic.into()))).map_err(|error| (Some(id), error))
    }

    async fn journey(
        &self,
        id: JobId,
        order: &Order,
        listed: &Listed,
        cancelled: &CancellationToken,
    ) -> Result<Painting, PaintError> {
        let deadlines = &self.0.settings.deadlines;
        let deadline = self.0.settings.models.of(&order.model.name).deadline.unwrap_or(deadlines.job);
        let mut durations = Durations::default();

        let start = Instant::now();
        if let Err(error) = self.within("staging", deadlines.stage, self.stage(id, order), PaintError::Stage).await {
            self.0.transport.suspect().await;
            self.abandon(id, &order.model.name).await;
            return Err(error);
        }
        durations.stage_ms = milliseconds(start);

        if cancelled.is_cancelled() {
            self.cancel(id, &order.model.name, "the visitor went away").await;
            return Err(PaintError::Cancelled);
        }

        let start = Instant::now();
        if let Err(error) = self.submit(id).await {
            let reason = "the cluster did not take the job";
            self.conclude_failed(id, &order.model.name, Stage::Submit, reason, &chain(&error)).await;
            return Err(PaintError::Submit(error));
        }
        durations.submit_ms = milliseconds(start);
        listed.submitted();

        let submitted = Instant::now();
        let verdict = tokio::select! {
            verdict = self.0.watcher.wait(id) => verdict,
            () = tokio::time::sleep(seconds(deadline)) => {
                self.cancel(id, &order.model.name, "the deadline passed").await;
                return Err(PaintError::Deadline { stage: "the job", seconds: deadline });
            }
            () = cancelled.cancelled() => {
                self.cancel(id, &order.model.name, "the visitor went away").await;
                return Err(PaintError::Cancelled);
            }
        };
        let seen_ms = milliseconds(submitted);
        let fetched = Instant::now();
        if let Verdict::Dead(words) = &verdict {
            self.conclude_dead(id, &order.model.name, words).await;
        }
        let retrieved = self.within("retrieving", deadlines.retrieve, self.retrieve(id), PaintError::Retrieve).await;
        if matches!(retrieved, Err(PaintError::Deadline { .. })) {
            self.0.transport.suspect().await;
        }
        // Nobody looks for this job again, whatever its result is worth.
        self.forget_marker(id);
        let (outcome, png) = retrieved?;
        self.0.sweeper.concluded(id, outcome.status);
        durations.retrieve_ms = milliseconds(fetched);
        durations.queue_ms = (seen_ms - outcome.timings.total_ms).max(0.0);
        match (outcome.status, png) {
            (Status::Done, Some(png)) => Ok(Painting { id, png, outcome, durations }),
            (Status::Cancelled, _) => Err(PaintError::Cancelled),
            (_, _) => Err(PaintError::Failed(
                outcome.failure.unwrap_or_else(|| Failure::new(Stage::Wait, "the job failed without a reason", "")),
            )),
        }
    }

    async fn within<T, E>(
        &self,
        stage: &'static str,
        deadline: f64,
        work: impl Future<Output = Result<T, E>>,
        wrap: impl FnOnce(E) -> PaintError,
    ) -> Result<T, PaintError> {
        match tokio::time::timeout(seconds(deadline), work).await {
            Ok(result) => result.map_err(wrap),
            Err(_) => Err(PaintError::Deadline { stage, seconds: deadline }),
        }
    }

    async fn stage(&self, id: JobId, order: &Order) -> Result<(), TransportError> {
        let request = Request {
            version: REQUEST_VERSION,
            id,
            model: order.model.name.clone(),
            width: order.frame.width,
            height: order.frame.height,
            parameters: order.parameters.clone(),
            loading: self.0.settings.models.of(&order.model.name).loading(),
            clamped: order.clamped.clone(),
            visitor: order.visitor.clone(),
            retry_of: None,
        };
        let script = self.0.settings.slurm.resources.script(id).expect("the settings were checked when they were read");
        let files = [
            (JobFile::Input, order.frame.png.clone()),
            (JobFile::Request, local::to_json(&request)),
            (JobFile::Script, script.into_bytes()),
        ];
        let queue = Marker::Queued { model_key: model_key(&order.model.name) };
        self.open_queue(&queue).await?;
        self.0.transport.stage(id, &files, &queue).await
    }

    /// The queue's folder comes with a model's first frame.
    async fn open_queue(&self, queue: &Marker) -> Result<(), TransportError> {
        let folder = self.0.transport.root().marker_dir(queue);
        if !lock(&self.0.queues).contains(&folder) {
            self.0.transport.create_dir(&folder).await?;
            lock(&self.0.queues).insert(folder);
        }
        Ok(())
    }

    async fn submit(&self, id: JobId) -> Result<(), SubmitError> {
        let submission = self.0.scheduler.submit(BatchJob::Frame(id)).await?;
        // Nobody waits for this record: it is for people, and for the next frontend.
        let dispatcher = self.clone();
        self.spawn(async move {
            let path = dispatcher.0.transport.root().job(id).file(JobFile::Submission);
            if let Err(error) = dispatcher.0.transport.replace(&path, &local::to_json(&submission), 0o600).await {
                tracing::warn!(job = %id, error = chain(&error), "submission.json was not written");
            }
        });
        Ok(())
    }

    /// The result, and the painting if there is one, in two round trips: both are opened at once.
    async fn retrieve(&self, id: JobId) -> anyhow::Result<(Outcome, Option<Vec<u8>>)> {
        let transport = &self.0.transport;
        let job = transport.root().job(id);
        let (result, output) = (job.file(JobFile::Outcome), job.file(JobFile::Output));
        let (result, png) = tokio::join!(transport.read(&result, SMALL_FILE), transport.read(&output, LARGEST_OUTPUT));
        let result = result.context("failed to read result.json")?.context("there is no result.json")?;
        let outcome: Outcome = serde_json::from_slice(&result).context("result.json is not what a runner writes")?;
        let Some(output) = &outcome.output else { return Ok((outcome, None)) };
        let png = png.context("failed to read output.png")?.context("there is no output.png")?;
        ensure!(png.len() as u64 == output.bytes, "output.png has {} bytes, not {}", png.len(), output.bytes);
        let digest = hex(&Sha256::digest(&png));
        ensure!(digest == output.sha256, "output.png has the SHA-256 {digest}, not {}", output.sha256);
        Ok((outcome, Some(png)))
    }

    /// Empties `done/` of a retrieved job, in the background.
    pub(super) fn forget_marker(&self, id: JobId) {
        let dispatcher = self.clone();
        self.spawn(async move {
            let marker = dispatcher.0.transport.root().marker(&Marker::Done, id);
            if let Err(error) = dispatcher.0.transport.remove_file(&marker).await {
                tracing::warn!(job = %id, error = chain(&error), "the marker in done/ was not removed");
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
