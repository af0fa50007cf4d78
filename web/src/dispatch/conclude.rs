//! How a job ends when its runner does not say so: cancelled, dead, or never begun.
//!
//! Whatever happens here, `result.json` is won by exactly one author; losing it means that the runner finished after all.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use livewebcam_jobs::{
    Author, BatchJob, Claim, Failure, JobDir, JobFile, JobId, Marker, Outcome, RunnerId, Stage, Status, local,
    model_key,
};

use super::Dispatcher;
use super::paint::{SMALL_FILE, chain};
use super::watcher::Verdict;
use crate::settings::Policy;
use crate::transport::TransportError;

/// How long a cancelled job may take to stop before it is concluded without its runner.
const STOPPING: Duration = Duration::from_secs(30);

impl Dispatcher {
    /// Nobody wants this job any more. If nobody has claimed it, nobody will; else its runner is told to stop.
    pub(super) async fn cancel(&self, id: JobId, model: &str, why: &str) {
        if let Err(error) = self.try_cancel(id, model, why, STOPPING).await {
            tracing::warn!(job = %id, error = chain(&error), "the job was not cancelled; the next start concludes it");
        }
    }

    /// A runner that has claimed the job gets `patience` to conclude it.
    async fn try_cancel(&self, id: JobId, model: &str, why: &str, patience: Duration) -> Result<(), TransportError> {
        let job = self.0.transport.root().job(id);
        let won = self.claim(id).await?;
        // In either case before the scheduler ends the job: whoever sees it end then knows that it was cancelled.
        if won {
            self.conclude(id, self.cancelled(model, why)).await?;
        } else {
            self.0.transport.replace(&job.file(JobFile::Cancel), why.as_bytes(), 0o600).await?;
        }
        // A warm runner looks for the wish itself, and goes on to its next frame.
        if self.0.settings.policy() == Policy::PerRequest
            && let Err(error) = self.0.scheduler.cancel(&[BatchJob::Frame(id)]).await
        {
            tracing::warn!(job = %id, error = chain(&error), "the scheduler was not told to cancel the job");
        }
        if !won {
            // Its runner writes the result, unless it dies first.
            let ended = self.0.watcher.expect(id);
            self.0.watcher.begin(id);
            let _ = tokio::time::timeout(patience, ended.verdict()).await;
            self.conclude(id, self.cancelled(model, why)).await?;
        }
        Ok(())
    }

    fn cancelled(&self, model: &str, why: &str) -> Outcome {
        let failure = Failure::new(Stage::Wait, why, "");
        self.outcome(model, Status::Cancelled, failure)
    }

    /// Who was to paint the job has ended, in `words`. Its result decides; without one it was cancelled or has failed.
    pub(super) async fn conclude_dead(&self, id: JobId, model: &str, words: &str, log: &Path) {
        let job = self.0.transport.root().job(id);
        if let Ok(Some(why)) = self.0.transport.read(&job.file(JobFile::Cancel), SMALL_FILE).await {
            let outcome = self.cancelled(model, &String::from_utf8_lossy(&why));
            if let Err(error) = self.conclude(id, outcome).await {
                tracing::warn!(job = %id, error = chain(&error), "the job was not concluded; the next start does it");
            }
            return;
        }
        let log = self.tail_of(log).await;
        let reason = format!("the job ended without a result ({words})");
        self.conclude_failed(id, model, Stage::Wait, &reason, &log).await;
    }

    /// Concludes a job as failed unless it has a result.
    pub(super) async fn conclude_failed(&self, id: JobId, model: &str, stage: Stage, reason: &str, detail: &str) {
        let failure = Failure::new(stage, reason, detail);
        if let Err(error) = self.conclude(id, self.outcome(model, Status::Failed, failure)).await {
            tracing::warn!(job = %id, error = chain(&error), "the job was not concluded; the next start does it");
        }
    }

    async fn conclude(&self, id: JobId, outcome: Outcome) -> Result<(), TransportError> {
        let root = self.0.transport.root();
        let result = root.job(id).file(JobFile::Outcome);
        self.0.transport.publish_exclusively(&result, &local::to_json(&outcome)).await?;
        let queued = Marker::Queued { model_key: model_key(&outcome.model) };
        for marker in [queued, Marker::Running, Marker::Done] {
            self.0.transport.remove_file(&root.marker(&marker, id)).await?;
        }
        self.0.sweeper.concluded(id, outcome.status);
        Ok(())
    }

    /// A job that could not be staged: whatever part of it exists goes away or is concluded.
    pub(super) async fn abandon(&self, id: JobId, model: &str) {
        let root = self.0.transport.root();
        let staged = self.0.transport.metadata(root.job(id).path()).await;
        if matches!(staged, Ok(Some(_))) {
            self.conclude_failed(id, model, Stage::Stage, "the job could not be staged", "").await;
        } else {
            let staging: JobDir = root.staging(id);
            // The sweeper takes it if this fails too.
            let _ = self.0.transport.remove_folder(staging.path()).await;
        }
    }

    /// A newer frame of the visitor waits: of the older ones that lie ready for a runner, the oldest that nobody has claimed is
    /// dropped. A frame that is being painted stays.
    pub(super) async fn drop_stale(&self, newest: JobId) {
        for id in self.0.line.in_the_way_of(newest) {
            if !self.0.line.in_the_way_of(newest).contains(&id) {
                continue;
            }
            match self.try_supersede(id).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(job = %id, error = chain(&error), "the frame was not superseded"),
            }
        }
    }

    async fn try_supersede(&self, id: JobId) -> Result<bool, TransportError> {
        let job = self.0.transport.root().job(id);
        let Some(request) = self.0.transport.read(&job.file(JobFile::Request), SMALL_FILE).await? else {
            return Ok(false);
        };
        let won = self.claim(id).await?;
        if won {
            self.conclude(id, self.cancelled(&model_of(Some(request)), "a newer frame took its place")).await?;
            self.0.watcher.tell(id, Verdict::Superseded);
        }
        Ok(won)
    }

    /// Tries to keep everybody else from painting.
    async fn claim(&self, id: JobId) -> Result<bool, TransportError> {
        let claim = Claim { author: self.author(), nonce: format!("{:032x}", rand::random::<u128>()) };
        let path = self.0.transport.root().job(id).file(JobFile::Claim);
        self.0.transport.publish_exclusively(&path, &local::to_json(&claim)).await
    }

    /// Concludes what a predecessor left unfinished: nobody waits for it any more. Warm runners outside `alive`, where that is
    /// known, write no result.
    pub(super) async fn conclude_orphan(
        &self,
        id: JobId,
        alive: Option<&HashSet<RunnerId>>,
    ) -> Result<(), TransportError> {
        let job = self.0.transport.root().job(id);
        let request = self.0.transport.read(&job.file(JobFile::Request), SMALL_FILE).await?;
        let claim = self.0.transport.read(&job.file(JobFile::Claim), SMALL_FILE).await?;
        let model = model_of(request);
        tracing::info!(job = %id, "cancelling what the last frontend left unfinished");
        let ended = alive.zip(claimer(claim)).is_some_and(|(alive, runner)| !alive.contains(&runner));
        let patience = if ended { Duration::ZERO } else { STOPPING };
        self.try_cancel(id, &model, "the server was restarted", patience).await
    }

    /// Cancels a job at somebody's wish, in the background.
    pub fn cancel_later(&self, id: JobId, why: &'static str) {
        let dispatcher = self.clone();
        self.spawn(async move {
            let job = dispatcher.0.transport.root().job(id);
            let model = match dispatcher.0.transport.read(&job.file(JobFile::Request), SMALL_FILE).await {
                Ok(json) => model_of(json),
                Err(_) => String::new(),
            };
            dispatcher.cancel(id, &model, why).await;
            // The visitor's request, if one still waits, learns of it at once.
            dispatcher.0.watcher.tell(id, Verdict::Done);
        });
    }
}

/// The warm runner that has claimed a job.
pub(super) fn claimer(json: Option<Vec<u8>>) -> Option<RunnerId> {
    match serde_json::from_slice::<Claim>(&json?).ok()?.author {
        Author::Runner { runner, .. } => runner,
        Author::Frontend { .. } => None,
    }
}

/// The model that a request names; a damaged request names none.
fn model_of(json: Option<Vec<u8>>) -> String {
    let request = json.and_then(|json| serde_json::from_slice::<livewebcam_jobs::Request>(&json).ok());
    request.map_or_else(String::new, |request| request.model)
}
