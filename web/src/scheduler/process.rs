//! Runners as child processes, for a machine without Slurm: the same batch script, run by a shell.
//!
//! A job dies with the frontend: its supervising shell holds the job's process group for as long as its own standard input
//! is open, and the frontend holds the other end of that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use livewebcam_jobs::BatchJob;
use tokio::sync::{Notify, oneshot};

use super::{Sight, SubmitError};
use crate::dispatch::chain;
use crate::slurm::shell_quote;
use crate::transport::{Process, Transport};

pub(super) struct Children {
    transport: Arc<Transport>,
    children: Arc<Mutex<HashMap<BatchJob, Child>>>,
    ended: Arc<Notify>,
}

/// A job, from its submission until a while after its end.
struct Child {
    /// Dropping the sender closes the standard input that the job's supervising shell holds on to.
    lifeline: Option<oneshot::Sender<()>>,
    /// How it ended, in words.
    ended: Option<String>,
}

/// `$job` is a process group of its own, so that the runner's own children end with it.
const SUPERVISOR: &str = r#"
umask 077
exec 3<&0 </dev/null >>slurm.log 2>&1
setsid /bin/sh ./job.sbatch 3<&- &
job=$!
{
    cat <&3 >/dev/null
    kill -TERM "-$job" && for second in 1 2 3 4 5; do
        sleep 1
        kill -0 "-$job" || exit
    done && kill -KILL "-$job"
} 2>/dev/null &
wait "$job"
"#;

impl Children {
    pub(super) fn new(transport: Arc<Transport>, ended: Arc<Notify>) -> Self {
        Self { transport, children: Arc::default(), ended }
    }

    pub(super) async fn submit(&self, batch_job: BatchJob) -> Result<String, SubmitError> {
        let folder = self.transport.root().batch_job(batch_job);
        let script = format!("cd {} && {{ {SUPERVISOR} }}", shell_quote(&folder.to_string_lossy()));
        let process = self.transport.spawn(&script).await.map_err(|error| SubmitError::Busy {
            message: chain(&error),
            advice: "no process can be started at the transport's other end",
        })?;
        let (lifeline, cut) = oneshot::channel();
        lock(&self.children).insert(batch_job, Child { lifeline: Some(lifeline), ended: None });
        let (children, ended) = (self.children.clone(), self.ended.clone());
        tokio::spawn(async move {
            let words = supervise(process, cut).await;
            lock(&children).insert(batch_job, Child { lifeline: None, ended: Some(words) });
            ended.notify_one();
            // Whoever still waits for it looks within a second; the entry is not needed for longer.
            tokio::time::sleep(Duration::from_secs(60)).await;
            lock(&children).remove(&batch_job);
        });
        Ok("process".to_owned())
    }

    pub(super) fn look(&self, batch_jobs: &[BatchJob]) -> HashMap<BatchJob, Sight> {
        let children = lock(&self.children);
        let sight = |child: &Child| match &child.ended {
            None => Sight::Alive { words: "running".to_owned(), waits: None },
            Some(words) => Sight::Ended(words.clone()),
        };
        batch_jobs.iter().filter_map(|job| Some((*job, sight(children.get(job)?)))).collect()
    }

    pub(super) fn cancel(&self, batch_jobs: &[BatchJob]) {
        let mut children = lock(&self.children);
        for job in batch_jobs {
            if let Some(child) = children.get_mut(job) {
                child.lifeline = None;
            }
        }
    }

    /// Cuts every lifeline and waits a moment for the jobs to end. The supervising shells see to those that do not.
    pub(super) async fn shut_down(&self) {
        let all: Vec<BatchJob> = lock(&self.children).keys().copied().collect();
        self.cancel(&all);
        for _ in 0..100 {
            if lock(&self.children).values().all(|child| child.ended.is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn lock(children: &Mutex<HashMap<BatchJob, Child>>) -> std::sync::MutexGuard<'_, HashMap<BatchJob, Child>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the job ends, cutting its lifeline when told to; how it ended, in words.
async fn supervise(process: Process, cut: oneshot::Receiver<()>) -> String {
    let Process { stdin, stdout, stderr, mut ended } = process;
    let words = tokio::select! {
        words = &mut ended => words,
        _ = cut => {
            drop(stdin);
            ended.await
        }
    };
    drop((stdout, stderr));
    words.unwrap_or_else(|| "ended in an unknown way".to_owned())
}
