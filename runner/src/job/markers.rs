//! The index of empty files beside the job directories. The directory is the truth: a marker that cannot be moved is a
//! line in the log and nothing more.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use livewebcam_jobs::{JobId, Marker, Root, model_key};

use crate::log::Log;

/// The markers of one job.
#[derive(Clone, Debug)]
pub(super) struct Markers {
    root: Root,
    id: JobId,
    log: Log,
}

impl Markers {
    /// The markers of a job that lies in a shared tree; `None` for a job directory that lies somewhere else.
    pub(super) fn of(job_dir: &Path, id: JobId, log: Log) -> Option<Self> {
        let root = Root::of_job_dir(job_dir)?;
        let in_tree = root.job(id).path() == job_dir && root.marker_dir(&Marker::Done).is_dir();
        in_tree.then_some(Self { root, id, log })
    }

    /// The job was claimed: from its queue to `running/`. Without a model's name the queues are searched.
    pub(super) fn claimed(&self, model: Option<&str>) {
        let queue = match model {
            Some(model) => Ok(Some(Marker::Queued { model_key: model_key(model) })),
            None => self.queue(),
        };
        let moved = queue.and_then(|queue| self.move_to(queue.as_ref(), &Marker::Running));
        self.report("marking it as running", moved);
    }

    /// The job was concluded: from `running/` to `done/`.
    pub(super) fn concluded(&self) {
        self.report("marking it as done", self.move_to(Some(&Marker::Running), &Marker::Done));
    }

    /// Somebody else concluded the job and looks after `done/`.
    pub(super) fn left(&self) {
        let removed = match fs::remove_file(self.path(&Marker::Running)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        self.report("removing its marker", removed);
    }

    /// The queue that the job is in, if any.
    fn queue(&self) -> io::Result<Option<Marker>> {
        let queues = fs::read_dir(self.root.queue())?.collect::<io::Result<Vec<_>>>()?;
        let mut markers = queues.into_iter().filter_map(|queue| {
            let marker = Marker::Queued { model_key: queue.file_name().into_string().ok()? };
            self.path(&marker).exists().then_some(marker)
        });
        Ok(markers.next())
    }

    fn path(&self, marker: &Marker) -> PathBuf {
        self.root.marker(marker, self.id)
    }

    /// Moves a marker, or makes one where there is none to move.
    fn move_to(&self, from: Option<&Marker>, to: &Marker) -> io::Result<()> {
        let moved = match from {
            Some(from) => fs::rename(self.path(from), self.path(to)),
            None => Err(ErrorKind::NotFound.into()),
        };
        match moved {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match OpenOptions::new().write(true).create_new(true).open(self.path(to)) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                    made => made.map(drop),
                }
            }
            moved => moved,
        }
    }

    fn report(&self, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.log.line(format_args!("job {}: {what} failed, which costs nobody its picture: {error}", self.id));
        }
    }
}
