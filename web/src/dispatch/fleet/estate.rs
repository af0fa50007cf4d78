//! What runners leave behind: claimed frames, logs, directories.

use std::collections::HashSet;
use std::path::Path;

use futures_util::{StreamExt, stream};
use livewebcam_jobs::{JobFile, JobId, RunnerId};

use super::BREADTH;
use crate::dispatch::Dispatcher;
use crate::dispatch::conclude::claimer;
use crate::dispatch::paint::{SMALL_FILE, chain};
use crate::text::printable;
use crate::transport::{REMOVED_PREFIX, TransportError};

/// Directories of runners that are kept after their end, for their logs.
const KEPT: usize = 50;
/// How much of a log goes into a failure's detail.
const LOG_TAIL: u64 = 4096;

impl Dispatcher {
    /// Which of these jobs this runner has claimed.
    pub(super) async fn claimed_by(&self, runner: RunnerId, jobs: Vec<JobId>) -> Result<Vec<JobId>, TransportError> {
        let claimed = |id: JobId| async move {
            let job = self.0.transport.root().job(id);
            // One that is still being staged is nobody's. An NFS client remembers for a while that a name was missing, until
            // it lists the folder.
            if self.0.transport.metadata(job.path()).await?.is_none() {
                return Ok(None);
            }
            self.0.transport.list(job.path()).await?;
            let json = self.0.transport.read(&job.file(JobFile::Claim), SMALL_FILE).await?;
            Ok((claimer(json) == Some(runner)).then_some(id))
        };
        let claimed: Vec<_> = stream::iter(jobs).map(claimed).buffer_unordered(BREADTH).collect().await;
        claimed.into_iter().filter_map(Result::transpose).collect()
    }

    /// The end of a log, fit to be shown.
    pub(in crate::dispatch) async fn tail_of(&self, log: &Path) -> String {
        match self.0.transport.read_tail(log, LOG_TAIL).await {
            Ok(Some((log, _))) => printable(&String::from_utf8_lossy(&log)),
            Ok(None) => "there is no slurm.log: it died before its first line".to_owned(),
            Err(error) => format!("slurm.log cannot be read: {}", chain(&error)),
        }
    }

    /// Removes the directories of runners that ended long ago, in the background.
    pub(super) fn sweep_runners_later(&self) {
        let dispatcher = self.clone();
        self.spawn(async move {
            if let Err(error) = dispatcher.sweep_runners().await {
                tracing::warn!(error = chain(&error), "directories of old runners were not removed");
            }
        });
    }

    async fn sweep_runners(&self) -> Result<(), TransportError> {
        let folder = self.0.transport.root().runners();
        let entries = self.0.transport.list(&folder).await?;
        for entry in entries.iter().filter(|entry| entry.is_dir && entry.name.starts_with(REMOVED_PREFIX)) {
            self.0.transport.remove_folder(&folder.join(&entry.name)).await?;
        }
        let alive: HashSet<RunnerId> = self.runners().into_iter().map(|runner| runner.id).collect();
        let mut ended: Vec<RunnerId> =
            entries.iter().filter_map(|entry| entry.name.parse().ok()).filter(|id| !alive.contains(id)).collect();
        ended.sort_unstable();
        // A runner that has just been started may not be on the board yet.
        let beyond = ended.len().saturating_sub(KEPT + self.0.settings.max_runners());
        for id in &ended[..beyond] {
            self.0.transport.remove_folder(self.0.transport.root().warm_runner(*id).path()).await?;
        }
        Ok(())
    }
}
