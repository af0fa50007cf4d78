//! Slurm through the transport's long-lived shell: sbatch, one squeue for all frames, scancel.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use livewebcam_jobs::{BatchJob, JobDir, JobFile, JobId};

use super::{Sight, SubmitError};
use crate::dispatch::chain;
use crate::slurm::{self, JobState, Queue, shell_line};
use crate::transport::{Output, Transport, TransportError};

pub(super) struct Slurm {
    /// The folder of Slurm's commands with a final slash, or nothing.
    bin: String,
    deadline: Duration,
    transport: Arc<Transport>,
    sbatch: AtomicU64,
    squeue: AtomicU64,
    /// Reasons for waiting that the operator was told of.
    told: Mutex<HashSet<String>>,
}

impl Slurm {
    pub(super) fn new(bin: String, deadline: Duration, transport: Arc<Transport>) -> Self {
        let bin = if bin.is_empty() { bin } else { format!("{}/", bin.trim_end_matches('/')) };
        Self { bin, deadline, transport, sbatch: AtomicU64::new(0), squeue: AtomicU64::new(0), told: Mutex::default() }
    }

    async fn run(&self, mut words: Vec<String>) -> Result<Output, TransportError> {
        words[0].insert_str(0, &self.bin);
        self.transport.run(&shell_line(&words), self.deadline).await
    }

    pub(super) async fn submit(&self, batch_job: BatchJob) -> Result<String, SubmitError> {
        self.sbatch.fetch_add(1, Ordering::Relaxed);
        let folder = self.transport.root().batch_job(batch_job);
        let output = self.run(slurm::sbatch(&folder)).await.map_err(|error| lost(&error))?;
        let submitted = slurm::read_submission(Some(output.code), &output.stdout, &output.stderr)?;
        Ok(submitted.slurm_job_id)
    }

    /// Like [`slurm::sbatch_test_only`] for a directory with nothing in it but the script.
    pub(super) async fn test_submission(&self, script: &str) -> Result<String, SubmitError> {
        let id = JobId::new();
        let job = JobDir::at(self.transport.root().staging(id).path());
        let staged = async {
            self.transport.create_dir(job.path()).await?;
            self.transport.replace(&job.file(JobFile::Script), script.as_bytes(), 0o600).await
        };
        let asked = match staged.await {
            Ok(()) => self.run(slurm::sbatch_test_only(job.path())).await,
            Err(error) => Err(error),
        };
        if let Err(error) = self.transport.remove_folder(job.path()).await {
            tracing::warn!(error = chain(&error), "the folder of the test submission was not removed");
        }
        let output = asked.map_err(|error| lost(&error))?;
        slurm::read_test_only(Some(output.code), &output.stderr)
    }

    pub(super) async fn look(&self, batch_jobs: &[BatchJob]) -> Result<HashMap<BatchJob, Sight>, TransportError> {
        self.squeue.fetch_add(1, Ordering::Relaxed);
        // Only one job is asked for after a lost answer; otherwise one question serves all.
        let words = match batch_jobs {
            [job] => slurm::squeue_named(&job.to_string()),
            _ => slurm::squeue(),
        };
        let output = self.run(words).await?;
        if !output.success() {
            let source = anyhow::anyhow!("exit code {}: {}", output.code, output.stderr.trim());
            return Err(TransportError::Lost { action: "asking squeue".to_owned(), source });
        }
        let queue = Queue::parse(&output.stdout);
        let mut sights = HashMap::new();
        for entry in queue.entries {
            let Some(job) = entry.batch_job().filter(|job| batch_jobs.contains(job)) else { continue };
            let reason = slurm::explain(&entry.reason);
            let sight = if entry.state.is_terminal() {
                Sight::Ended(ending(&entry.state, reason.words))
            } else {
                if let Some(advice) = reason.advice {
                    self.tell_once(job, &entry.reason, advice);
                }
                let waits = matches!(entry.state, JobState::Pending).then_some(reason.words);
                Sight::Alive { words: entry.state.words().into_owned(), waits }
            };
            // Of two jobs of one name, the one that lives counts.
            if sight.is_alive() || !sights.contains_key(&job) {
                sights.insert(job, sight);
            }
        }
        Ok(sights)
    }

    /// A job that will never start waits for its deadline; the operator learns why meanwhile.
    fn tell_once(&self, job: BatchJob, reason: &str, advice: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < 100 && told.insert(reason.to_owned()) {
            tracing::warn!(%job, reason, "the job cannot start: {advice}");
        }
    }

    pub(super) async fn cancel(&self, batch_jobs: &[BatchJob]) -> Result<(), TransportError> {
        for job in batch_jobs {
            let output = self.run(slurm::scancel(&job.to_string())).await?;
            if !output.success() {
                let source = anyhow::anyhow!("exit code {}: {}", output.code, output.stderr.trim());
                return Err(TransportError::Lost { action: "asking scancel".to_owned(), source });
            }
        }
        Ok(())
    }

    pub(super) fn calls(&self) -> (u64, u64) {
        (self.sbatch.load(Ordering::Relaxed), self.squeue.load(Ordering::Relaxed))
    }
}

/// How a job ended, and why where Slurm's reason says more than its state.
fn ending(state: &JobState, reason: &str) -> String {
    match state {
        JobState::Completed | JobState::Cancelled => state.words().into_owned(),
        state => format!("{}: {reason}", state.words()),
    }
}

/// The shell broke or was too slow: the command may have done its work all the same.
fn lost(error: &TransportError) -> SubmitError {
    SubmitError::Unknown { message: chain(error) }
}
