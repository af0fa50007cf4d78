//! Who starts the runners: Slurm, or plain child processes at the transport's other end.

mod process;
mod slurm;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use livewebcam_jobs::{JobId, Submission};
use tokio::sync::Notify;

pub use crate::slurm::SubmitError;

use crate::settings::{SchedulerKind, Settings, seconds};
use crate::transport::{Transport, TransportError};

/// What the scheduler knows of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It waits or runs.
    Alive {
        /// In words.
        words: String,
        /// Why it waits, for visitors, where that is known.
        waits: Option<&'static str>,
    },
    /// It has ended, in whichever way; in words. Only `result.json` tells whether it painted.
    Ended(String),
}

/// The scheduler's side of all frames.
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

    /// Hands a staged job over.
    ///
    /// # Errors
    /// The scheduler refuses, or its answer is lost.
    pub async fn submit(&self, id: JobId) -> Result<Submission, SubmitError> {
        let scheduler_job_id = match &self.kind {
            Kind::Process(children) => children.submit(id).await?,
            Kind::Slurm(slurm) => slurm.submit(id).await?,
        };
        Ok(Submission { scheduler: self.name().to_owned(), job_name: Submission::job_name(id), scheduler_job_id })
    }

    /// What the scheduler knows of these jobs, in one question. A job that is not in the answer is unknown to it.
    ///
    /// # Errors
    /// There is no answer: the last known state holds.
    pub async fn look(&self, ids: &[JobId]) -> Result<HashMap<JobId, Sight>, TransportError> {
        match &self.kind {
            Kind::Process(children) => Ok(children.look(ids)),
            Kind::Slurm(slurm) => slurm.look(ids).await,
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
    pub async fn cancel(&self, ids: &[JobId]) -> Result<(), TransportError> {
        match &self.kind {
            Kind::Process(children) => {
                children.cancel(ids);
                Ok(())
            }
            Kind::Slurm(slurm) => slurm.cancel(ids).await,
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
