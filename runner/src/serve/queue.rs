//! The markers of frames that wait. They are an index: what a job's directory says counts.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use livewebcam_jobs::{JobFile, JobId, Marker, Root};

use crate::job::has_entry;

/// The queue of one model, or all queues as long as none is chosen.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    root: Root,
    key: Option<String>,
}

/// A marker in a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    /// The frame's job. First, so that frames sort by age.
    pub(super) id: JobId,
    /// The queue's folder.
    pub(super) key: String,
}

/// What the job's directory says of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be claimed.
    Free,
    /// Somebody paints it, and moves the marker.
    Claimed,
    /// Concluded or gone: the marker stands for nothing.
    Stale,
}

impl Queue {
    /// The queue with this folder name; all of them without.
    pub(super) fn new(root: Root, key: Option<String>) -> Self {
        Self { root, key }
    }

    /// The folder name of the one queue, where it is chosen.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// From now on this queue alone.
    pub(super) fn settle(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    /// All markers, the oldest frame first. The folders are opened anew: an NFS client asks its server only then. A queue that
    /// nobody has made yet is empty.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub(super) fn look(&self) -> io::Result<Vec<Waiting>> {
        let keys = match &self.key {
            Some(key) => vec![key.clone()],
            None => names(&self.root.queue())?.into_iter().filter_map(|name| name.into_string().ok()).collect(),
        };
        let mut waiting = Vec::new();
        for key in keys {
            let markers = names(&self.root.marker_dir(&Marker::Queued { model_key: key.clone() }))?;
            let ids = markers.into_iter().filter_map(|name| name.to_str()?.parse().ok());
            waiting.extend(ids.map(|id| Waiting { id, key: key.clone() }));
        }
        waiting.sort();
        Ok(waiting)
    }

    /// What is behind a marker, at the price of three small questions to the filesystem.
    ///
    /// # Errors
    /// The job's directory cannot be looked at, or is none.
    pub(super) fn standing(&self, waiting: &Waiting) -> io::Result<Standing> {
        let dir = self.root.job(waiting.id);
        match fs::symlink_metadata(dir.path()) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            // The directory appears before its marker does.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Standing::Stale),
            Err(error) => return Err(error),
        }
        Ok(match (has_entry(&dir, JobFile::Outcome)?, has_entry(&dir, JobFile::Claim)?) {
            (true, _) => Standing::Stale,
            (false, true) => Standing::Claimed,
            (false, false) => Standing::Free,
        })
    }

    /// Removes a marker, which somebody else may have done meanwhile.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn remove(&self, waiting: &Waiting) -> io::Result<()> {
        let marker = Marker::Queued { model_key: waiting.key.clone() };
        match fs::remove_file(self.root.marker(&marker, waiting.id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The names in a folder; none where there is no such folder, or something else in its place.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        for folder in root.skeleton().into_iter().skip(1) {
            fs::create_dir(folder).expect("a folder");
        }
        (folder, root)
    }

    fn mark(root: &Root, key: &str, name: &str) {
        let queue = root.marker_dir(&Marker::Queued { model_key: key.to_owned() });
        fs::create_dir_all(&queue).expect("a queue");
        fs::write(queue.join(name), "").expect("a marker");
    }

    #[test]
    fn the_oldest_frame_comes_first_and_what_is_no_marker_does_not_count() {
        let (_folder, root) = tree();
        assert_eq!(Queue::new(root.clone(), None).look().expect("a look"), []);
        let ids: Vec<JobId> = (0..6).map(|_| JobId::new()).collect();
        for (n, id) in ids.iter().enumerate().rev() {
            mark(&root, ["b", "a"][n % 2], &id.to_string());
        }
        for name in [".tmp-x", "readme"] {
            mark(&root, "a", name);
        }
        fs::write(root.queue().join("a file"), "").expect("a file");
        let mut queue = Queue::new(root.clone(), None);
        let seen = |queue: &Queue| queue.look().expect("a look").into_iter().map(|seen| seen.id).collect::<Vec<_>>();
        assert_eq!(seen(&queue), ids);
        queue.settle("a");
        assert_eq!((queue.key(), seen(&queue)), (Some("a"), vec![ids[1], ids[3], ids[5]]));
        queue.settle("missing");
        assert_eq!(seen(&queue), []);
    }

    #[test]
    fn the_job_directory_says_what_a_marker_is_worth() {
        let (_folder, root) = tree();
        let queue = Queue::new(root.clone(), Some("a".to_owned()));
        let waiting = Waiting { id: JobId::new(), key: "a".to_owned() };
        let standing = || queue.standing(&waiting).map_err(|error| error.kind());
        assert_eq!(standing(), Ok(Standing::Stale));
        let dir = root.job(waiting.id);
        std::os::unix::fs::symlink(root.jobs(), dir.path()).expect("a link");
        assert_eq!(standing(), Err(ErrorKind::NotADirectory));
        fs::remove_file(dir.path()).and_then(|()| fs::create_dir(dir.path())).expect("a job directory");
        assert_eq!(standing(), Ok(Standing::Free));
        fs::write(dir.file(JobFile::Claim), "").expect("a claim");
        assert_eq!(standing(), Ok(Standing::Claimed));
        fs::write(dir.file(JobFile::Outcome), "").expect("a result");
        assert_eq!(standing(), Ok(Standing::Stale));
        mark(&root, "a", &waiting.id.to_string());
        for _ in 0..2 {
            queue.remove(&waiting).expect("removed, or gone");
            assert_eq!(queue.look().expect("a look"), []);
        }
    }
}
