//! A shared tree in a temporary folder, jobs in it, and the runner's processes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::RgbImage;
use livewebcam_jobs::{
    JobDir, JobFile, JobId, LoadOptions, Marker, Outcome, Parameters, Phase, Progress, REQUEST_VERSION, Request, Root,
    State, local, model_key,
};
use tempfile::TempDir;

/// The binary under test.
pub fn runner() -> Command {
    Command::new(env!("CARGO_BIN_EXE_livewebcam-runner"))
}

/// A file beside the tests.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A small photograph.
pub fn photo() -> RgbImage {
    let photo = image::open(data("input.png")).expect("a test picture").into_rgb8();
    image::imageops::crop_imm(&photo, 64, 32, 96, 72).to_image()
}

/// A frame that takes seconds to paint.
pub fn large_frame() -> RgbImage {
    RgbImage::from_fn(2048, 2048, |x, y| image::Rgb([x as u8, y as u8, (x / 8 + y / 8) as u8]))
}

/// What one finished runner said and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self { code: output.status.code(), log: String::from_utf8(output.stderr).expect("a log is text") }
    }
}

/// A shared tree without jobs. Clones share it.
#[derive(Clone)]
pub struct Tree {
    folder: Rc<TempDir>,
    pub root: Root,
}

impl Tree {
    pub fn new() -> Self {
        let folder = Rc::new(tempfile::tempdir().expect("a folder"));
        let root = Root::new(folder.path().join("root"));
        for folder in root.skeleton() {
            fs::create_dir(folder).expect("a folder");
        }
        Self { folder, root }
    }

    /// A job whose request is changed by `change`, as the frontend leaves it.
    pub fn stage(&self, frame: &RgbImage, change: impl FnOnce(&mut Request)) -> Job {
        self.stage_in(None, frame, change)
    }

    /// A job in this queue; without, in that of its model. Its directory is complete before its marker appears.
    pub fn stage_in(&self, queue: Option<&str>, frame: &RgbImage, change: impl FnOnce(&mut Request)) -> Job {
        let Self { folder, root } = self.clone();
        let id = JobId::new();
        let mut request = Request {
            version: REQUEST_VERSION,
            id,
            model: "starter".to_owned(),
            width: frame.width(),
            height: frame.height(),
            parameters: Parameters::default(),
            loading: LoadOptions::default(),
            clamped: Vec::new(),
            visitor: None,
            retry_of: None,
        };
        change(&mut request);
        let key = queue.map_or_else(|| model_key(&request.model), str::to_owned);
        let dir = root.job(id);
        fs::create_dir(dir.path()).expect("a job directory");
        let job = Job { folder, key, root, id, dir };
        job.write(JobFile::Request, &local::to_json(&request));
        frame.save(job.dir.file(JobFile::Input)).expect("a frame");
        let queued = job.queued();
        fs::create_dir_all(job.root.marker_dir(&queued)).expect("a queue");
        fs::write(job.root.marker(&queued, id), "").expect("a marker");
        job
    }
}

/// A staged job.
pub struct Job {
    folder: Rc<TempDir>,
    /// The queue's folder.
    key: String,
    pub root: Root,
    pub id: JobId,
    pub dir: JobDir,
}

impl Job {
    /// A job in a tree of its own.
    pub fn new(frame: &RgbImage) -> Self {
        Self::with(frame, |_| {})
    }

    /// A job in a tree of its own, whose request is changed by `change`.
    pub fn with(frame: &RgbImage, change: impl FnOnce(&mut Request)) -> Self {
        Tree::new().stage(frame, change)
    }

    pub fn queued(&self) -> Marker {
        Marker::Queued { model_key: self.key.clone() }
    }

    pub fn write(&self, file: JobFile, content: &[u8]) {
        fs::write(self.dir.file(file), content).expect("a file of the job");
    }

    pub fn has(&self, file: JobFile) -> bool {
        self.dir.file(file).symlink_metadata().is_ok()
    }

    pub fn marked(&self, marker: &Marker) -> bool {
        self.root.marker(marker, self.id).is_file()
    }

    pub fn outcome(&self) -> Option<Outcome> {
        local::read_json(&self.dir.file(JobFile::Outcome)).expect("a readable result")
    }

    pub fn state(&self) -> State {
        State::of(self.has(JobFile::Claim), self.outcome().map(|outcome| outcome.status))
    }

    /// Names of what lies in the job's directory, sorted.
    pub fn listing(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("a listing");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    }

    pub fn command(&self) -> Command {
        let mut command = runner();
        command.args(["run", "--job"]).arg(self.dir.path()).stderr(Stdio::piped());
        command
    }

    /// Runs the job to its end.
    pub fn run(&self) -> Ended {
        self.command().output().expect("the runner starts").into()
    }

    /// Starts the job and returns when the painting has begun.
    pub fn start(&self) -> Running {
        let running = Running::start(self.command());
        self.await_painting();
        running
    }

    /// Returns when the painting has begun.
    pub fn await_painting(&self) {
        patiently("the painting does not begin", || {
            let progress: Option<Progress> = local::read_json(&self.dir.file(JobFile::Progress)).expect("progress");
            progress.is_some_and(|progress| progress.phase == Phase::Paint)
        });
    }

    /// Where the job is marked: queued, running, done.
    pub fn markers(&self) -> [bool; 3] {
        [self.queued(), Marker::Running, Marker::Done].map(|marker| self.marked(&marker))
    }

    /// The job failed or was cancelled, and its result says so without giving anything away.
    #[track_caller]
    pub fn assert_reason(&self, reason: &str) {
        let outcome = self.outcome().expect("a result");
        let failure = outcome.failure.expect("a failure");
        assert_eq!(failure.reason, reason);
        let folder = self.folder.path().to_str().expect("a path of text");
        assert!(!failure.reason.contains(folder), "{}", failure.reason);
        assert!(!self.has(JobFile::Output) && outcome.output.is_none());
        assert_eq!(self.listing().iter().filter(|name| name.starts_with(".tmp-")).count(), 0);
        assert_eq!(self.markers(), [false, false, true]);
    }
}

/// A runner at work; killed if a test ends before it does.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().expect("the runner starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("a runner")
    }

    pub fn signal(&mut self, name: &str) {
        let kill = format!("kill -{name} {}", self.child().id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    pub fn end(mut self) -> Ended {
        self.0.take().expect("a runner").wait_with_output().expect("an end").into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for what another process does.
#[track_caller]
pub fn patiently(complaint: &str, mut happened: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < patience, "{complaint}");
        sleep(Duration::from_millis(2));
    }
}

/// A file's content.
pub fn content(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    fs::File::open(path).and_then(|mut file| file.read_to_end(&mut content)).expect("a file");
    content
}
