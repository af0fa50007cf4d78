//! Keeps the tree bounded: concluded jobs beyond the settings' bounds go, oldest first, and so do leftovers of processes
//! that died. An unfinished job never goes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, TryStreamExt, stream};
use livewebcam_jobs::{JobId, Root, Status, local};

use super::recovery::STALE;
use crate::settings::Keep;
use crate::transport::{Entry, REMOVED_PREFIX, Transport, TransportError};

/// Jobs that may conclude before the next sweep.
const BATCH: usize = 20;

pub(super) struct Sweeper {
    keep: Keep,
    books: Mutex<Books>,
    sweeping: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Books {
    /// Concluded jobs, oldest first. The size is learnt at the first sweep after the end.
    concluded: BTreeMap<JobId, Record>,
    since_sweep: usize,
}

#[derive(Clone, Copy)]
struct Record {
    failed: bool,
    bytes: Option<u64>,
}

impl Sweeper {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, books: Mutex::default(), sweeping: tokio::sync::Mutex::default() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A concluded job that lay there at the start. A result that cannot be read counts as a failure.
    pub(super) fn found(&self, id: JobId, status: Option<Status>) {
        let failed = !matches!(status, Some(Status::Done | Status::Cancelled));
        self.books().concluded.insert(id, Record { failed, bytes: None });
    }

    /// A job has been concluded.
    pub(super) fn concluded(&self, id: JobId, status: Status) {
        let mut books = self.books();
        books.concluded.insert(id, Record { failed: status == Status::Failed, bytes: None });
        books.since_sweep += 1;
    }

    pub(super) fn is_due(&self) -> bool {
        self.books().since_sweep >= BATCH
    }

    pub(super) async fn sweep(&self, transport: &Transport) -> Result<(), TransportError> {
        let Ok(_one_at_a_time) = self.sweeping.try_lock() else { return Ok(()) };
        self.books().since_sweep = 0;
        self.weigh(transport).await?;
        let doomed = doomed(&self.books().concluded, &self.keep);
        for id in &doomed {
            transport.remove_folder(transport.root().job(*id).path()).await?;
            self.books().concluded.remove(id);
        }
        if !doomed.is_empty() {
            tracing::debug!(jobs = doomed.len(), "swept");
        }
        self.remove_leftovers(transport).await
    }

    /// Learns the sizes that are not in the books yet.
    async fn weigh(&self, transport: &Transport) -> Result<(), TransportError> {
        let unknown: Vec<JobId> =
            self.books().concluded.iter().filter(|(_, record)| record.bytes.is_none()).map(|(id, _)| *id).collect();
        let sizes: Vec<_> = unknown.into_iter().map(|id| size_of(transport, id)).collect();
        let sizes: Vec<(JobId, u64)> = stream::iter(sizes).buffer_unordered(16).try_collect().await?;
        let mut books = self.books();
        for (id, bytes) in sizes {
            if let Some(record) = books.concluded.get_mut(&id) {
                record.bytes = Some(bytes);
            }
        }
        Ok(())
    }

    /// Directories that were never finished or only half removed.
    async fn remove_leftovers(&self, transport: &Transport) -> Result<(), TransportError> {
        let jobs = transport.root().jobs();
        let entries = transport.list(&jobs).await?;
        for name in leftovers(&entries) {
            transport.remove_folder(&jobs.join(name)).await?;
        }
        for folder in [transport.root().path().to_owned(), jobs] {
            let entries = transport.list(&folder).await?;
            for name in stale_temporaries(&entries) {
                transport.remove_file(&folder.join(name)).await?;
            }
        }
        Ok(())
    }
}

async fn size_of(transport: &Transport, id: JobId) -> Result<(JobId, u64), TransportError> {
    let entries = transport.list(transport.root().job(id).path()).await?;
    Ok((id, entries.iter().map(|entry| entry.bytes).sum()))
}

/// The newest change in a listing stands for "now" on the clock of the filesystem, which is the only clock asked.
fn is_stale(entry: &Entry, entries: &[Entry]) -> bool {
    let newest = entries.iter().map(|entry| entry.modified).max().unwrap_or(0);
    entry.modified + STALE.as_secs() < newest
}

fn leftovers(entries: &[Entry]) -> Vec<&str> {
    let removed = |entry: &Entry| entry.name.starts_with(REMOVED_PREFIX);
    let staging = |entry: &Entry| entry.name.starts_with(Root::STAGING_PREFIX) && is_stale(entry, entries);
    let folders = entries.iter().filter(|entry| entry.is_dir);
    folders.filter(|entry| removed(entry) || staging(entry)).map(|entry| entry.name.as_str()).collect()
}

fn stale_temporaries(entries: &[Entry]) -> Vec<&str> {
    let temporary = |entry: &&Entry| !entry.is_dir && entry.name.starts_with(local::TEMPORARY_PREFIX);
    entries.iter().filter(temporary).filter(|entry| is_stale(entry, entries)).map(|entry| entry.name.as_str()).collect()
}

/// The jobs that the bounds do not cover, oldest first.
fn doomed(concluded: &BTreeMap<JobId, Record>, keep: &Keep) -> Vec<JobId> {
    let mut failed_beyond = 0;
    let mut bytes = 0;
    let mut full = false;
    let mut doomed = Vec::new();
    for (index, (id, record)) in concluded.iter().rev().enumerate() {
        let kept = if index < keep.count {
            true
        } else if record.failed {
            failed_beyond += 1;
            failed_beyond <= keep.failed
        } else {
            false
        };
        if kept && !full {
            bytes += record.bytes.unwrap_or(0);
            full = bytes > keep.bytes;
        }
        if !kept || full {
            doomed.push(*id);
        }
    }
    doomed.reverse();
    doomed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(jobs: &[(bool, u64)]) -> (Vec<JobId>, BTreeMap<JobId, Record>) {
        let ids: Vec<JobId> = jobs.iter().map(|_| JobId::new()).collect();
        let records = jobs.iter().map(|(failed, bytes)| Record { failed: *failed, bytes: Some(*bytes) });
        (ids.clone(), ids.into_iter().zip(records).collect())
    }

    #[test]
    fn the_newest_stay_and_older_failures_a_while_longer() {
        let (ids, concluded) = books(&[(true, 1), (true, 1), (false, 1), (false, 1), (true, 1)]);
        let keep = Keep { count: 2, failed: 1, bytes: 100 };
        assert_eq!(doomed(&concluded, &keep), [ids[0], ids[2]]);
    }

    #[test]
    fn bytes_bound_everything_and_the_oldest_go_first() {
        let (ids, concluded) = books(&[(false, 10), (true, 10), (false, 10), (false, 10)]);
        let keep = Keep { count: 10, failed: 10, bytes: 25 };
        assert_eq!(doomed(&concluded, &keep), [ids[0], ids[1]]);
    }

    #[test]
    fn only_what_is_old_by_the_filesystems_clock_is_a_leftover() {
        let entry = |name: &str, modified| Entry { name: name.to_owned(), bytes: 0, modified, is_dir: true };
        let id = JobId::new();
        let entries = [
            entry(&format!(".staging-{id}"), 1_000),
            entry(".staging-young", 9_000),
            entry(&format!(".removed-{id}"), 9_999),
            entry(&id.to_string(), 10_000),
        ];
        assert_eq!(leftovers(&entries), [format!(".staging-{id}"), format!(".removed-{id}")]);
    }
}
