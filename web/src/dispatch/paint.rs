//! One frame from its order to its painting.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, ensure};
use livewebcam_jobs::{
    Author, BatchJob, Failure, JobFile, JobId, Marker, Outcome, REQUEST_VERSION, Request, Stage, Status, local,
    model_key,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::journeys::Listed;
use super::line::{Busy, Full, Refusal, Ticket};
use super::watcher::Verdict;
use super::{Dispatcher, Durations, Order, PaintError, Painting};
use crate::scheduler::SubmitError;
use crate::settings::{Policy, seconds};
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

/// Why an attempt gave no painting.
enum Setback {
    /// For good.
    Final(PaintError),
    /// Its runner died or had to leave; another one may well paint it.
    RunnerGone(Failure),
}

impl From<PaintError> for Setback {
    fn from(error: PaintError) -> Self {
        Self::Final(error)
    }
}

impl From<Setback> for PaintError {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Final(error) => error,
            Setback::RunnerGone(failure) => Self::Failed(failure),
        }
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
        let ticket = self.admit(&order).map_err(|busy| (None, busy.into()))?;
        let cancelled = self.0.closing.child_token();
        let guard = CancelOnDrop(cancelled.clone());
        let id = ticket.id();
        let listed = self.0.journeys.begin(id, order.tag.clone());
        let dispatcher = self.clone();
        // In a task of its own, so that a job is concluded whatever becomes of the request.
        let task = self.spawn(async move {
            let painted = dispatcher.journey(ticket, &order, &listed, &cancelled).await;
            drop(listed);
            dispatcher.sweep_later();
            painted
        });
        let painted = task.await;
        drop(guard);
        let painted = painted.unwrap_or_else(|panic| Err((id, PaintError::Retrieve(panic.into()))));
        painted.map_err(|(id, error)| (Some(id), error))
    }

    fn admit(&self, order: &Order) -> Result<Ticket, Busy> {
        let ticket = self.0.line.enter(JobId::new(), &order.visitor, &order.model.name)?;
        match self.0.settings.policy() {
            Policy::PerRequest => {
                self.0.pace.take().map_err(|rest| Busy { full: Full::Pace, retry_after: rest.as_secs() + 1 })?
            }
            Policy::Warm if ticket.is_waiting() => {
                let (dispatcher, newest) = (self.clone(), ticket.id());
                self.spawn(async move { dispatcher.drop_stale(newest).await });
            }
            Policy::Warm => {}
        }
        Ok(ticket)
    }

    /// The frame's turn, and then at most two attempts: a runner that dies or has to leave takes no frame with it.
    async fn journey(
        &self,
        mut ticket: Ticket,
        order: &Order,
        listed: &Listed,
        cancelled: &CancellationToken,
    ) -> Result<Painting, (JobId, PaintError)> {
        let begun = Instant::now();
        let first = ticket.id();
        listed.waits(true);
        self.turn(&mut ticket, order, cancelled).await.map_err(|error| (first, error))?;
        match self.attempt(first, None, begun, order, listed, cancelled).await {
            Err(Setback::RunnerGone(failure)) => {
                let second = JobId::new();
                tracing::warn!(job = %first, retry = %second, reason = failure.reason, "another runner is to paint the frame");
                ticket.becomes(second);
                listed.becomes(second);
                let again = self.attempt(second, Some(first), begun, order, listed, cancelled).await;
                again.map_err(|setback| (second, setback.into()))
            }
            ended => ended.map_err(|setback| (first, setback.into())),
        }
    }

    /// Waits in line. Until its turn a frame exists nowhere but here.
    async fn turn(&self, ticket: &mut Ticket, order: &Order, cancelled: &CancellationToken) -> Result<(), PaintError> {
        let deadline = self.deadline(order);
        tokio::select! {
            turn = ticket.turn() => turn.map_err(|refusal| match refusal {
                Refusal::Superseded => PaintError::Superseded,
                Refusal::Hopeless(failure) => PaintError::Failed(failure),
            }),
            () = tokio::time::sleep(seconds(deadline)) => Err(PaintError::Deadline { stage: "waiting in line", seconds: deadline }),
            () = cancelled.cancelled() => Err(PaintError::Cancelled),
        }
    }

    /// Seconds until a job of this order must have a result.
    fn deadline(&self, order: &Order) -> f64 {
        self.0.settings.models.of(&order.model.name).deadline.unwrap_or(self.0.settings.deadlines.job)
    }

    /// One job, from its directory to its result. `begun` is when the frame came.
    async fn attempt(
        &self,
        id: JobId,
        retry_of: Option<JobId>,
        begun: Instant,
        order: &Order,
        listed: &Listed,
        cancelled: &CancellationToken,
    ) -> Result<Painting, Setback> {
        let model = order.model.name.as_str();
        let deadlines = &self.0.settings.deadlines;
        let deadline = self.deadline(order);
        let policy = self.0.settings.policy();
        let mut durations = Durations::default();

        listed.waits(false);
        // Before there is anything that a newer frame, its visitor or a runner's end could conclude.
        let expected = self.0.watcher.expect(id);
        let start = Instant::now();
        let staged = self.within("staging", deadlines.stage, self.stage(id, retry_of, order), PaintError::Stage).await;
        if let Err(error) = staged {
            self.0.transport.suspect().await;
            self.abandon(id, model).await;
            return Err(error.into());
        }
        durations.stage_ms = milliseconds(start);

        if cancelled.is_cancelled() {
            self.cancel(id, model, "the visitor went away").await;
            return Err(PaintError::Cancelled.into());
        }

        if policy == Policy::PerRequest {
            let start = Instant::now();
            if let Err(error) = self.submit(id).await {
                let reason = "the cluster did not take the job";
                self.conclude_failed(id, model, Stage::Submit, reason, &chain(&error)).await;
                return Err(PaintError::Submit(error).into());
            }
            durations.submit_ms = milliseconds(start);
        }
        listed.waits(true);
        self.0.watcher.begin(id);

        let verdict = tokio::select! {
            verdict = expected.verdict() => verdict,
            () = tokio::time::sleep(seconds(deadline)) => {
                self.cancel(id, model, "the deadline passed").await;
                return Err(PaintError::Deadline { stage: "the job", seconds: deadline }.into());
            }
            () = cancelled.cancelled() => {
                self.cancel(id, model, "the visitor went away").await;
                return Err(PaintError::Cancelled.into());
            }
        };
        let seen_ms = milliseconds(begun);
        let fetched = Instant::now();
        let died = matches!(verdict, Verdict::Dead { .. });
        match verdict {
            Verdict::Done => {}
            Verdict::Superseded => return Err(PaintError::Superseded.into()),
            Verdict::Dead { words, log } => self.conclude_dead(id, model, &words, &log).await,
            Verdict::Hopeless(failure) => {
                self.conclude_failed(id, model, failure.stage, &failure.reason, &failure.detail).await;
            }
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
        let elsewhere = durations.stage_ms + durations.submit_ms + outcome.timings.total_ms;
        durations.queue_ms = (seen_ms - elsewhere).max(0.0);
        match (outcome.status, png) {
            (Status::Done, Some(png)) => {
                self.0.line.painted(model, outcome.timings.total_ms - outcome.timings.load_ms);
                Ok(Painting { id, png, outcome, durations })
            }
            (Status::Cancelled, _) => Err(PaintError::Cancelled.into()),
            (_, _) => {
                let nothing = || Failure::new(Stage::Wait, "the job failed without a reason", "");
                let failure = outcome.failure.unwrap_or_else(nothing);
                // A job of its own that died once would die again, and what its runner itself concluded is final.
                let lost = died && matches!(outcome.author, Author::Frontend { .. });
                let gone = policy == Policy::Warm && (lost || failure.handed_back);
                Err(if gone { Setback::RunnerGone(failure) } else { PaintError::Failed(failure).into() })
            }
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

    async fn stage(&self, id: JobId, retry_of: Option<JobId>, order: &Order) -> Result<(), TransportError> {
        let request = Request {
            version: REQUEST_VERSION,
            id,
            model: order.model.name.clone(),
            width: order.frame.width,
            height: order.frame.height,
            parameters: order.parameters.clone(),
            loading: self.0.settings.models.of(&order.model.name).loading(),
            clamped: order.clamped.clone(),
            visitor: Some(order.visitor.clone()),
            retry_of,
        };
        let script = self.0.settings.slurm.resources.script(id).expect("the settings were checked when they were read");
        let files = [
            (JobFile::Input, order.frame.png.clone()),
            (JobFile::Request, local::to_json(&request)),
            (JobFile::Script, script.into_bytes()),
        ];
        let queue = self.open_queue(&order.model.name).await?;
        self.0.transport.stage(id, &files, &queue).await
    }

    /// A model's queue; its folder comes with the first frame or runner.
    pub(super) async fn open_queue(&self, model: &str) -> Result<Marker, TransportError> {
        let queue = Marker::Queued { model_key: model_key(model) };
        let folder = self.0.transport.root().marker_dir(&queue);
        if !lock(&self.0.queues).contains(&folder) {
            self.0.transport.create_dir(&folder).await?;
            lock(&self.0.queues).insert(folder);
        }
        Ok(queue)
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
        let result = match result.context("failed to read result.json")? {
            Some(result) => result,
            // An NFS client remembers for a while that a name was missing, until it lists the folder.
            None => {
                transport.list(job.path()).await.context("failed to list the job directory")?;
                let again = transport.read(&job.file(JobFile::Outcome), SMALL_FILE).await;
                again.context("failed to read result.json")?.context("there is no result.json")?
            }
        };
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
