//! The first and the regular housekeeping of a root: what a predecessor left, heartbeats, sweeps.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use livewebcam_jobs::{JobFile, JobId, Marker, Outcome, Status};

use super::Dispatcher;
use super::paint::{SMALL_FILE, chain};
use crate::transport::TransportError;

/// Requests in flight while many job directories are read.
const BREADTH: usize = 32;
/// Concluding orphans talks to the scheduler; a few at a time is enough.
const ORPHANS: usize = 4;

impl Dispatcher {
    /// Reads every job directory once: concluded jobs go into the sweeper's books, unfinished ones are cancelled, and markers
    /// that nobody will look at any more go away.
    pub(super) async fn recover(&self) -> Result<(), TransportError> {
        let alive = match self.retire_runners().await {
            Ok(alive) => Some(alive),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "runners of the last frontend were not ended; they leave by themselves"
                );
                None
            }
        };
        let root = self.0.transport.root();
        let entries = self.0.transport.list(&root.jobs()).await?;
        let ids: HashSet<JobId> =
            entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| entry.name.parse().ok()).collect();
        let read: Vec<_> = ids.into_iter().map(|id| self.status_of(id)).collect();
        let jobs: Vec<_> = stream::iter(read).buffer_unordered(BREADTH).collect().await;
        let mut orphans = Vec::new();
        for job in jobs {
            match job? {
                (id, None) => orphans.push(id),
                (id, Some(status)) => self.0.sweeper.found(id, status),
            }
        }
        let conclude: Vec<_> = orphans.into_iter().map(|id| self.conclude_orphan(id, alive.as_ref())).collect();
        let concluded: Vec<_> = stream::iter(conclude).buffer_unordered(ORPHANS).collect().await;
        for error in concluded.into_iter().filter_map(Result::err) {
            tracing::warn!(error = chain(&error), "a job of the last frontend was not concluded");
        }
        // Nothing is in flight yet, so every marker is stale, that of a job without a readable request included.
        for id in self.markers().await? {
            self.remove_markers(id).await?;
        }
        self.sweep().await;
        Ok(())
    }

    /// How a job ended: `None` if it has not, `Some(None)` if its result cannot be read.
    async fn status_of(&self, id: JobId) -> Result<(JobId, Option<Option<Status>>), TransportError> {
        let result = self.0.transport.root().job(id).file(JobFile::Outcome);
        let json = self.0.transport.read(&result, SMALL_FILE).await?;
        Ok((id, json.map(|json| serde_json::from_slice::<Outcome>(&json).map(|outcome| outcome.status).ok())))
    }

    /// Every job that has a marker somewhere.
    async fn markers(&self) -> Result<HashSet<JobId>, TransportError> {
        let root = self.0.transport.root();
        let mut folders = vec![root.marker_dir(&Marker::Running), root.marker_dir(&Marker::Done)];
        folders.extend(self.queues().await?);
        let mut ids = HashSet::new();
        for folder in folders {
            let entries = self.0.transport.list(&folder).await?;
            ids.extend(entries.iter().filter_map(|entry| entry.name.parse::<JobId>().ok()));
        }
        Ok(ids)
    }

    async fn queues(&self) -> Result<Vec<std::path::PathBuf>, TransportError> {
        let queue = self.0.transport.root().queue();
        let entries = self.0.transport.list(&queue).await?;
        Ok(entries.into_iter().filter(|entry| entry.is_dir).map(|entry| queue.join(entry.name)).collect())
    }

    async fn remove_markers(&self, id: JobId) -> Result<(), TransportError> {
        let root = self.0.transport.root();
        let mut folders = vec![root.marker_dir(&Marker::Running), root.marker_dir(&Marker::Done)];
        folders.extend(self.queues().await?);
        for folder in folders {
            self.0.transport.remove_file(&folder.join(id.to_string())).await?;
        }
        Ok(())
    }

    /// Heartbeats until the dispatcher closes, which waits for the last one: it must not bring back what is given up.
    pub(super) fn keep_root(&self) {
        let dispatcher = self.clone();
        self.spawn(async move {
            loop {
                tokio::select! {
                    () = dispatcher.0.closing.cancelled() => return,
                    () = tokio::time::sleep(dispatcher.0.ownership.heartbeat()) => {}
                }
                dispatcher.0.ownership.beat(&dispatcher.0.transport).await;
            }
        });
    }

    /// A sweep in the background, if the books say that one is due and none is under way.
    pub(super) fn sweep_later(&self) {
        if self.0.sweeper.is_due() {
            let dispatcher = self.clone();
            self.spawn(async move { dispatcher.sweep().await });
        }
    }

    /// Removes what the settings do not keep.
    pub(super) async fn sweep(&self) {
        if let Err(error) = self.0.sweeper.sweep(&self.0.transport).await {
            tracing::warn!(error = chain(&error), "the sweep was cut short; the next one goes on");
        }
    }
}

/// Temporaries older than this, by the clock of the filesystem alone, are nobody's.
pub(super) const STALE: Duration = Duration::from_secs(3600);
