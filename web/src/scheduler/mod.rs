//! Who starts the runners: Slurm, or plain child processes at the transport's other end.

mod process;
mod slurm;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use livewebcam_jobs::{BatchJob, Submission};
use tokio::sync::Notify;

pub use crate::slurm::SubmitError;

use crate::settings::{SchedulerKind, Settings, seconds};
use crate::transport::{Transport, TransportError};

/// What the scheduler knows of a batch job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It waits or runs.
    Alive {
        /// In words.
        words: String,
        /// Why it waits, for visitors, where that is known.
        waits: Option<&'static str>,
    },
    /// It has ended, in whichever way; in words. Only its directory tells whether it did its work.
    Ended(String),
}

impl Sight {
    /// Whether it waits or runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Alive { .. })
    }
}

/// The scheduler's side of all frames and warm runners.
pub struct Scheduler {
    kind: Kind,
    /// Told whenever a job has ended and this process knows it at once.
    ended: Arc<Notify>,
}

enum Kind {
    Process(process::Children),
    Slurm(slurm::Slurm),
}

impl Scheduler {
    /// The scheduler that `settings` name, working through `transport`.
    #[must_use]
    pub fn new(settings: &Settings, transport: Arc<Transport>) -> Self {
        let ended = Arc::<Notify>::default();
        let kind = match settings.cluster.scheduler {
            SchedulerKind::Process => Kind::Process(process::Children::new(transport, ended.clone())),
            SchedulerKind::Slurm => {
                let deadline = seconds(settings.deadlines.submit);
                Kind::Slurm(slurm::Slurm::new(settings.slurm.bin.clone(), deadline, transport))
            }
        };
        Self { kind, ended }
    }

    /// Its name in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Process(_) => "process",
            Kind::Slurm(_) => "slurm",
        }
    }

    /// Hands over what lies ready in its directory. After a lost answer the scheduler is asked for the job by its name; only
    /// if it has none is the job submitted once more, and should both have arrived, the one that comes second has nothing to
    /// do: the frame is claimed, the runner's directory taken.
    ///
    /// # Errors
    /// The scheduler refuses, or its answers are lost.
    pub async fn submit(&self, batch_job: BatchJob) -> Result<Submission, SubmitError> {
        let scheduler_job_id = match self.try_submit(batch_job).await {
            Err(SubmitError::Unknown { message }) => {
                tracing::warn!(job = %batch_job, message, "the scheduler's answer was lost; asking for the job");
                match self.look(&[batch_job]).await {
                    Ok(sights) if sights.contains_key(&batch_job) => Submission::UNKNOWN.to_owned(),
                    Ok(_) => self.try_submit(batch_job).await?,
                    Err(_) => return Err(SubmitError::Unknown { message }),
                }
            }
            other => other?,
        };
        Ok(Submission::new(self.name(), batch_job, scheduler_job_id))
    }

    async fn try_submit(&self, batch_job: BatchJob) -> Result<String, SubmitError> {
        match &self.kind {
            Kind::Process(children) => children.submit(batch_job).await,
            Kind::Slurm(slurm) => slurm.submit(batch_job).await,
        }
    }

    /// What the scheduler knows of these jobs, in one question. A job that is not in the answer is unknown to it.
    ///
    /// # Errors
    /// There is no answer: the last known state holds.
    pub async fn look(&self, batch_jobs: &[BatchJob]) -> Result<HashMap<BatchJob, Sight>, TransportError> {
        match &self.kind {
            Kind::Process(children) => Ok(children.look(batch_jobs)),
            Kind::Slurm(slurm) => slurm.look(batch_jobs).await,
        }
    }

    /// How often it may be asked, where the settings say `asked`.
    #[must_use]
    pub fn look_interval(&self, asked: Duration) -> Duration {
        match self.kind {
            // Children are known without asking anybody.
            Kind::Process(_) => asked.min(Duration::from_millis(250)),
            Kind::Slurm(_) => asked,
        }
    }

    /// Ends these jobs, whether they wait or run.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn cancel(&self, batch_jobs: &[BatchJob]) -> Result<(), TransportError> {
        match &self.kind {
            Kind::Process(children) => {
                children.cancel(batch_jobs);
                Ok(())
            }
            Kind::Slurm(slurm) => slurm.cancel(batch_jobs).await,
        }
    }

    /// Resolves when a job has ended and this process knows it at once.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Asks whether a job like these would be accepted, without submitting it.
    ///
    /// # Errors
    /// It would not.
    pub async fn test_submission(&self, script: &str) -> Result<String, SubmitError> {
        match &self.kind {
            Kind::Process(_) => Ok("child processes need no permission".to_owned()),
            Kind::Slurm(slurm) => slurm.test_submission(script).await,
        }
    }

    /// Calls of `sbatch` and of `squeue` so far.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        match &self.kind {
            Kind::Process(_) => (0, 0),
            Kind::Slurm(slurm) => slurm.calls(),
        }
    }

    /// Ends every child process and waits until they are gone. Slurm's jobs are cancelled one by one beforehand.
    pub async fn shut_down(&self) {
        if let Kind::Process(children) = &self.kind {
            children.shut_down().await;
        }
    }
}
