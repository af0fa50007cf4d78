//! The shared tree of one test: a temporary folder with the real runner in it, and looks into it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livewebcam::settings::{PolicyChoice, Settings};
use livewebcam_jobs::{
    Failure, JobDir, JobFile, JobId, LoadOptions, Marker, Outcome, Parameters, REQUEST_VERSION, Request, Root, Stage,
    Status, Timings, local,
};
use tempfile::TempDir;

use crate::pictures;

/// Removed with everything in it when it goes out of scope.
pub struct Tree {
    folder: TempDir,
    pub root: Root,
}

impl Tree {
    pub fn new() -> Self {
        // On the filesystem of the binaries, so that the runner is a hard link: nothing in this process ever holds a binary
        // open for writing, which a child forked by another test would inherit and make "text file busy" of.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let root = Root::new(folder.path().join("root"));
        fs::create_dir_all(root.runner().parent().expect("a folder")).expect("the folder bin");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).expect("the root's mode");
        let runner = Path::new(env!("CARGO_BIN_EXE_livewebcam")).with_file_name("livewebcam-runner");
        fs::hard_link(&runner, root.runner())
            .unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo build --release`", runner.display()));
        Self { folder, root }
    }

    /// A file beside the root.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The embedded default on this tree and a free port, with the pages of the checkout. Each frame has a runner of its own,
    /// so that tests can put one in its place; what warm runners add is tested apart.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::load(None, []).expect("the embedded default");
        settings.cluster.root = self.root.path().to_owned();
        settings.cluster.policy = PolicyChoice::PerRequest;
        settings.server.port = 0;
        settings.server.assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        settings
    }

    pub fn dir(&self, id: JobId) -> JobDir {
        self.root.job(id)
    }

    /// All job directories, oldest first.
    pub fn jobs(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = names(&self.root.jobs()).iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort();
        ids
    }

    /// The one job there is, once it is there.
    pub async fn only_job(&self) -> JobId {
        let id = eventually("a job directory", || self.jobs().first().copied()).await;
        assert_eq!(self.jobs(), [id]);
        id
    }

    pub fn request(&self, id: JobId) -> Request {
        local::read_json(&self.dir(id).file(JobFile::Request)).expect("readable").expect("a request.json")
    }

    pub fn outcome(&self, id: JobId) -> Option<Outcome> {
        local::read_json(&self.dir(id).file(JobFile::Outcome)).expect("a readable result")
    }

    /// The job's result, once it is there.
    pub async fn concluded(&self, id: JobId) -> Outcome {
        eventually("a result.json", || self.outcome(id)).await
    }

    /// Waits until the job has printed a line with these words.
    pub async fn printed(&self, id: JobId, words: &str) {
        let log = self.dir(id).file(JobFile::Log);
        let told = || fs::read_to_string(&log).unwrap_or_default().contains(words).then_some(());
        eventually("the job's line in slurm.log", told).await;
    }

    /// Every marker, as `queue/starter/<id>` and so on.
    pub fn markers(&self) -> Vec<String> {
        let mut markers = Vec::new();
        for folder in ["running", "done"] {
            markers.extend(names(&self.root.path().join(folder)).iter().map(|name| format!("{folder}/{name}")));
        }
        for model in names(&self.root.queue()) {
            let queued = names(&self.root.queue().join(&model));
            markers.extend(queued.iter().map(|name| format!("queue/{model}/{name}")));
        }
        markers
    }

    /// Command lines of the processes that work in this tree.
    pub fn processes(&self) -> Vec<String> {
        let mut processes = Vec::new();
        for pid in names(Path::new("/proc")).iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            let process = Path::new("/proc").join(pid);
            if fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.root.path())) {
                let command = fs::read(process.join("cmdline")).unwrap_or_default();
                processes.push(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
        processes
    }

    /// Waits until no process works in this tree.
    pub async fn quiet(&self) {
        eventually("the end of the job's processes", || self.processes().is_empty().then_some(())).await;
    }

    /// A job directory as the frontend leaves it, without its marker.
    pub fn stage(&self, change: impl FnOnce(&mut Request)) -> JobId {
        let id = JobId::new();
        let dir = self.dir(id);
        fs::create_dir_all(dir.path()).expect("a job directory");
        let mut request = Request {
            version: REQUEST_VERSION,
            id,
            model: "starter".to_owned(),
            width: 64,
            height: 48,
            parameters: Parameters::default(),
            loading: LoadOptions::default(),
            clamped: Vec::new(),
            visitor: None,
            retry_of: None,
        };
        change(&mut request);
        fs::write(dir.file(JobFile::Input), pictures::png(64, 48)).expect("an input.png");
        fs::write(dir.file(JobFile::Request), local::to_json(&request)).expect("a request.json");
        fs::write(dir.file(JobFile::Script), "#!/bin/sh\n").expect("a job.sbatch");
        id
    }

    /// A concluded job directory; without a painting unless it is `Done`.
    pub fn conclude(&self, id: JobId, status: Status) {
        let png = pictures::png(64, 48);
        let painted = status == Status::Done;
        let outcome = outcome(status, painted.then(|| pictures::described(&png)));
        if painted {
            fs::write(self.dir(id).file(JobFile::Output), png).expect("an output.png");
        }
        fs::write(self.dir(id).file(JobFile::Outcome), local::to_json(&outcome)).expect("a result.json");
    }

    pub fn mark(&self, marker: &Marker, id: JobId) {
        fs::create_dir_all(self.root.marker_dir(marker)).expect("a folder of markers");
        fs::write(self.root.marker(marker, id), "").expect("a marker");
    }
}

/// What a runner would write.
pub fn outcome(status: Status, output: Option<livewebcam_jobs::Output>) -> Outcome {
    let failure = Failure::new(Stage::Paint, "the model refuses", "in /opt/secret");
    Outcome {
        status,
        author: livewebcam_jobs::Author::Runner { host: "node7".to_owned(), pid: 1, slurm_job_id: None, runner: None },
        model: "starter".to_owned(),
        failure: output.is_none().then_some(failure),
        output,
        parameters: None,
        loading: None,
        clamped: Vec::new(),
        timings: Timings { load_ms: 10.0, paint_ms: 60.0, write_ms: 20.0, total_ms: 100.0, ..Timings::default() },
        warnings: Vec::new(),
    }
}

/// Names in a folder, sorted; none if there is no such folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits for what happens soon on an idle machine; the patience is for a busy one.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(45);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < patience, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
