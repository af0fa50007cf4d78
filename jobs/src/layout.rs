//! Every path of the shared tree. Nothing here touches a filesystem, and nobody else joins these names.

use std::path::{Path, PathBuf};

use crate::{BatchJob, HubName, JobId, RunnerId};

/// The shared tree of one installation: `cluster.root` in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The tree at `path`, as the host that uses it sees it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The tree that a job directory `<root>/jobs/<id>` lies in.
    #[must_use]
    pub fn of_job_dir(job_dir: &Path) -> Option<Self> {
        job_dir.parent()?.parent().map(Self::new)
    }

    /// The root itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The runner's binary.
    #[must_use]
    pub fn runner(&self) -> PathBuf {
        self.0.join("bin/livewebcam-runner")
    }

    /// Models in diffusers' folder layout: `models/<org>/<name>`.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    /// The folder of one model.
    #[must_use]
    pub fn model(&self, name: &HubName) -> PathBuf {
        self.models().join(name.org()).join(name.name())
    }

    /// Where a model's download is put together before it appears under its name in one rename. Hidden, and so no model.
    #[must_use]
    pub fn model_staging(&self, name: &HubName) -> PathBuf {
        self.models().join(name.org()).join(format!("{}{}", Self::STAGING_PREFIX, name.name()))
    }

    /// What is derived from models whose folders cannot be written to: `cache/<org>/<name>`.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// The folder of all job directories.
    #[must_use]
    pub fn jobs(&self) -> PathBuf {
        self.0.join("jobs")
    }

    /// One job's directory.
    #[must_use]
    pub fn job(&self, id: JobId) -> JobDir {
        JobDir(self.jobs().join(id.to_string()))
    }

    /// Where a job directory is put together before it appears under its name in one rename.
    #[must_use]
    pub fn staging(&self, id: JobId) -> JobDir {
        JobDir(self.jobs().join(format!("{}{id}", Self::STAGING_PREFIX)))
    }

    /// How the names of directories that are still being put together begin.
    pub const STAGING_PREFIX: &str = ".staging-";

    /// The folder of all warm runners' directories.
    #[must_use]
    pub fn runners(&self) -> PathBuf {
        self.0.join("runners")
    }

    /// One warm runner's directory.
    #[must_use]
    pub fn warm_runner(&self, id: RunnerId) -> RunnerDir {
        RunnerDir(self.runners().join(id.to_string()))
    }

    /// The directory that a batch job is submitted in: it holds `job.sbatch`, and gets `slurm.log`.
    #[must_use]
    pub fn batch_job(&self, batch_job: BatchJob) -> PathBuf {
        match batch_job {
            BatchJob::Frame(id) => self.job(id).0,
            BatchJob::Runner(id) => self.warm_runner(id).0,
        }
    }

    /// Which frontend serves this tree.
    #[must_use]
    pub fn frontend(&self) -> PathBuf {
        self.0.join("frontend.json")
    }

    /// The marker of a job in one of the three index folders.
    #[must_use]
    pub fn marker(&self, marker: &Marker, id: JobId) -> PathBuf {
        self.marker_dir(marker).join(id.to_string())
    }

    /// One of the three index folders.
    #[must_use]
    pub fn marker_dir(&self, marker: &Marker) -> PathBuf {
        match marker {
            Marker::Queued { model_key } => self.queue().join(model_key),
            Marker::Running => self.0.join("running"),
            Marker::Done => self.0.join("done"),
        }
    }

    /// The folder of the queues, one folder per model key.
    #[must_use]
    pub fn queue(&self) -> PathBuf {
        self.0.join("queue")
    }

    /// The folders that exist before the first job, parents first. Queues appear as models are used.
    #[must_use]
    pub fn skeleton(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.0.clone()];
        folders.extend(["bin", "models", "jobs", "queue", "running", "done", "runners"].map(|name| self.0.join(name)));
        folders
    }
}

/// An empty file that says where a job stands. An index that anyone may mend; the job directory is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Staged, not yet claimed.
    Queued {
        /// The queue's folder, see [`model_key`].
        model_key: String,
    },
    /// Claimed.
    Running,
    /// Concluded, not yet retrieved.
    Done,
}

/// The folder name of a model's queue: `stabilityai/sd-turbo` queues in `stabilityai--sd-turbo`.
///
/// Characters other than ASCII letters, digits, `.`, `_` and `-` become `_`, and a leading dot too, so the key is
/// always one visible path component.
#[must_use]
pub fn model_key(model: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let mut key: String = model.replace('/', "--").chars().map(safe).collect();
    if key.is_empty() || key.starts_with('.') {
        key.insert(0, '_');
    }
    key
}

/// A file of a job directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobFile {
    /// The frame to paint. Written by the frontend, before the submission.
    Input,
    /// What to paint. Written by the frontend, before the submission.
    Request,
    /// The batch script. Written by the frontend, before the submission.
    Script,
    /// The scheduler's name for the job. Written by the frontend, after the submission.
    Submission,
    /// Who paints. Exclusive.
    Claim,
    /// How far the painting is. Written by the runner.
    Progress,
    /// What the batch script and the runner printed.
    Log,
    /// The painting. Written by the runner.
    Output,
    /// How it ended. Exclusive, and the last file to appear.
    Outcome,
    /// The frontend's wish that the runner stops between two steps.
    Cancel,
}

impl JobFile {
    /// All files, in the order in which a frame meets them.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::Request,
        Self::Script,
        Self::Submission,
        Self::Claim,
        Self::Progress,
        Self::Log,
        Self::Output,
        Self::Outcome,
        Self::Cancel,
    ];

    /// The fixed file name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input.png",
            Self::Request => "request.json",
            Self::Script => "job.sbatch",
            Self::Submission => "submission.json",
            Self::Claim => "claim.json",
            Self::Progress => "progress.json",
            Self::Log => "slurm.log",
            Self::Output => "output.png",
            Self::Outcome => "result.json",
            Self::Cancel => "cancel",
        }
    }
}

/// The directory of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDir(PathBuf);

impl JobDir {
    /// The job directory at `path`, wherever it lies.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of one of its files.
    #[must_use]
    pub fn file(&self, file: JobFile) -> PathBuf {
        self.0.join(file.name())
    }
}

/// A file of a warm runner's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunnerFile {
    /// The batch script. Written by the frontend, before the submission.
    Script,
    /// The scheduler's name for the runner. Written by the frontend, after the submission.
    Submission,
    /// Which process serves. Exclusive: should the script run twice, the second one leaves.
    Claim,
    /// What the batch script and the runner printed.
    Log,
    /// That the runner lives, and what it is at. Written by the runner, again and again.
    Heartbeat,
    /// The frontend's wish that the runner leaves when it has finished its frame.
    Stop,
}

impl RunnerFile {
    /// All files, in the order in which they appear.
    pub const ALL: [Self; 6] = [Self::Script, Self::Submission, Self::Claim, Self::Log, Self::Heartbeat, Self::Stop];

    /// The fixed file name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Script => JobFile::Script.name(),
            Self::Submission => JobFile::Submission.name(),
            Self::Claim => JobFile::Claim.name(),
            Self::Log => JobFile::Log.name(),
            Self::Heartbeat => "heartbeat.json",
            Self::Stop => "stop",
        }
    }
}

/// The directory of one warm runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerDir(PathBuf);

impl RunnerDir {
    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of one of its files.
    #[must_use]
    pub fn file(&self, file: RunnerFile) -> PathBuf {
        self.0.join(file.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_lies_where_the_contract_says() {
        let id: JobId = "0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e".parse().expect("an id");
        let root = Root::new("/scratch/lw");
        let job = root.job(id);
        assert_eq!(job.path(), Path::new("/scratch/lw/jobs/0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e"));
        assert_eq!(job.file(JobFile::Outcome), job.path().join("result.json"));
        assert_eq!(Root::of_job_dir(job.path()), Some(root.clone()));
        let queued = Marker::Queued { model_key: model_key("stabilityai/sd-turbo") };
        assert_eq!(root.marker(&queued, id), root.path().join(format!("queue/stabilityai--sd-turbo/{id}")));
        assert_eq!(root.marker(&Marker::Done, id), root.path().join(format!("done/{id}")));
    }

    #[test]
    fn a_batch_job_lies_in_the_directory_of_its_frame_or_runner() {
        let root = Root::new("/scratch/lw");
        let (job, runner) = (JobId::new(), RunnerId::new());
        assert_eq!(root.batch_job(BatchJob::Frame(job)), root.job(job).path());
        assert_eq!(root.batch_job(BatchJob::Runner(runner)), root.path().join(format!("runners/{runner}")));
        assert_eq!(root.warm_runner(runner).file(RunnerFile::Stop), root.path().join(format!("runners/{runner}/stop")));
    }

    #[test]
    fn the_key_of_a_key_is_the_key() {
        for name in ["starter", "stabilityai/sd-turbo", ".hidden/ü"] {
            let key = model_key(name);
            assert_eq!(model_key(&key), key);
        }
    }

    #[test]
    fn a_model_key_is_one_visible_path_component() {
        for name in ["", ".", "..", "../x", "/", "a/../b", ".hidden", "a b\n", "ünïcode", "a\0b"] {
            let key = model_key(name);
            assert!(!key.is_empty() && !key.starts_with('.'), "{name:?} → {key:?}");
            assert!(!key.contains(['/', '\0', '\n', ' ']), "{name:?} → {key:?}");
        }
    }
}
