//! The cluster, servers that work on it, and a visitor.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use livewebcam::application::Application;
use livewebcam::settings::{SchedulerKind, Settings, TransportKind};
use livewebcam_jobs::{JobFile, JobId, Outcome, Root, Status};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A photograph; every painting is of it.
pub(crate) const PHOTO: &[u8] = include_bytes!("../photos/chelsea.png");

/// A real Slurm behind two real sshds. It goes down when its standard input closes: when this process ends, however it ends.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    _folder: TempDir,
    _process: Mutex<(Child, ChildStdin)>,
}

pub(crate) static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cluster/cluster.sh");
    let temporary = tempfile::Builder::new().prefix("lw-cluster-").tempdir().expect("a temporary folder");
    let folder = temporary.path().to_owned();
    let mut process = Command::new(script)
        .arg("run")
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the cluster's script starts");
    let stdin = process.stdin.take().expect("a pipe");
    let mut ready = String::new();
    let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
    stdout.read_line(&mut ready).expect("the script's answer");
    assert_eq!(ready.trim(), "ready", "the cluster did not come up; its messages are above");
    Cluster { folder, _folder: temporary, _process: Mutex::new((process, stdin)) }
});

impl Cluster {
    /// Settings for a root of its own, over ssh and Slurm.
    pub(crate) fn settings(&self, name: &str) -> Settings {
        let mut settings = Settings::default();
        settings.cluster.transport = TransportKind::Ssh;
        settings.cluster.scheduler = SchedulerKind::Slurm;
        settings.cluster.root = self.folder.join(format!("root-{name}"));
        settings.ssh.host = "cluster".to_owned();
        settings.ssh.config = self.folder.join("ssh_config");
        settings.slurm.resources.partition = "debug".to_owned();
        settings.slurm.resources.gres = "gpu:1".to_owned();
        settings.server.port = 0;
        settings.server.assets = concat!(env!("CARGO_MANIFEST_DIR"), "/..").into();
        settings.server.operator_token = TOKEN.to_owned();
        settings.watch.squeue_seconds = 0.5;
        settings.watch.heartbeat_seconds = 0.2;
        settings
    }

    /// The same with the runner in its place.
    pub(crate) fn deployed(&self, name: &str) -> Settings {
        let settings = self.settings(name);
        install(&settings.cluster.root, &runner());
        settings
    }

    /// Runs one of Slurm's commands on this host, beside the server.
    pub(crate) fn slurm(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(command)
            .args(arguments)
            .env("SLURM_CONF", self.folder.join("slurm.conf"))
            .output()
            .expect("Slurm's command runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How often `words` stand in one of the cluster's logs.
    pub(crate) fn logged(&self, log: &str, words: &str) -> usize {
        let text = std::fs::read_to_string(self.folder.join("log").join(log)).expect("a log");
        text.matches(words).count()
    }

    /// A folder of stand-ins for Slurm's commands: each runs the real one unless its own script is given. For accidents that
    /// a healthy Slurm cannot be brought to.
    pub(crate) fn commands(&self, name: &str, scripts: &[(&str, &str)]) -> String {
        let folder = self.folder.join(format!("bin-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        for command in ["sbatch", "squeue", "scancel"] {
            let own = scripts.iter().find(|(wanted, _)| *wanted == command);
            let script = own.map_or_else(|| format!("exec {command} \"$@\""), |(_, script)| (*script).to_owned());
            executable(&folder.join(command), &format!("#!/bin/sh\n{script}\n"));
        }
        folder.to_string_lossy().into_owned()
    }
}

pub(crate) const TOKEN: &str = "the-operator-of-the-tests";

/// The runner that was built with these tests.
pub(crate) fn runner() -> PathBuf {
    let tests = std::env::current_exe().expect("this test's path");
    let runner = tests.ancestors().nth(2).expect("the target folder").join("livewebcam-runner");
    assert!(runner.is_file(), "{} is missing: cargo build --release --workspace", runner.display());
    runner
}

pub(crate) fn install(root: &Path, runner: &Path) {
    let target = Root::new(root).runner();
    std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
    std::fs::copy(runner, target).expect("a copy of the runner");
    private(root);
}

/// A script in the runner's place. It is asked for its models too.
pub(crate) fn install_script(root: &Path, script: &str) {
    let real = root.join("bin/real");
    install(root, &runner());
    std::fs::rename(Root::new(root).runner(), &real).expect("the real runner aside");
    let script = format!("#!/bin/sh\n[ \"$1\" = run ] || exec '{}' \"$@\"\n{script}\n", real.display());
    executable(&Root::new(root).runner(), &script);
}

fn executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, script).expect("a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn private(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)).expect("the root's mode");
}

/// A server on a free port.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) root: Root,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What a visitor got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) job: Option<JobId>,
    /// The header `Server-Timing`.
    pub(crate) timing: String,
    /// The header `X-Clamped`.
    pub(crate) clamped: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Milliseconds of a stage.
    pub(crate) fn stage(&self, name: &str) -> f64 {
        let stages = self.timing.split(", ").filter_map(|stage| stage.split_once(";dur="));
        let found = stages.into_iter().find(|(stage, _)| *stage == name);
        found.and_then(|(_, ms)| ms.parse().ok()).unwrap_or_else(|| panic!("no {name} in {:?}", self.timing))
    }

    pub(crate) fn error(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).expect("a JSON error");
        json["error"].as_str().expect("a message").to_owned()
    }

    /// Checks that it is a painting of the photograph.
    pub(crate) fn painting(&self) -> JobId {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        let painting = image::load_from_memory(&self.body).expect("a picture").into_rgb8();
        let photo = image::load_from_memory(PHOTO).expect("a picture").into_rgb8();
        assert_eq!(painting.dimensions(), photo.dimensions());
        assert_ne!(painting.as_raw(), photo.as_raw());
        self.job.expect("X-Job-Id")
    }
}

impl Server {
    pub(crate) async fn start(settings: Settings) -> Self {
        Self::try_start(settings).await.unwrap_or_else(|error| panic!("the server does not start: {error:#}"))
    }

    pub(crate) async fn try_start(settings: Settings) -> anyhow::Result<Self> {
        let root = Root::new(&settings.cluster.root);
        let application = Application::build(settings).await?;
        let url = format!("http://{}", application.address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(application.run_until(async {
            let _ = stopped.await;
        }));
        Ok(Self { url, root, client: reqwest::Client::new(), stop: Some(stop), task })
    }

    pub(crate) async fn generate(&self) -> Answer {
        self.generate_with(&[("style", "starry night")]).await
    }

    pub(crate) async fn generate_with(&self, fields: &[(&'static str, &str)]) -> Answer {
        let photo = Form::new().part("input", Part::bytes(PHOTO).file_name("chelsea.png"));
        let form = fields.iter().fold(photo, |form, (name, value)| form.text(*name, (*value).to_owned()));
        let sent = self.client.post(format!("{}/generate", self.url)).multipart(form).send();
        let response = sent.await.expect("an answer");
        let job = response.headers().get("x-job-id").map(|id| id.to_str().expect("text").parse().expect("a job id"));
        let header = |name: &str| {
            let value = response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
            value.unwrap_or_default()
        };
        let (status, timing, clamped) = (response.status().as_u16(), header("server-timing"), header("x-clamped"));
        Answer { status, job, timing, clamped, body: response.bytes().await.expect("a body").to_vec() }
    }

    /// What the operator sees of the cluster's cost.
    pub(crate) async fn counters(&self) -> Value {
        let health =
            self.client.get(format!("{}/healthz", self.url)).bearer_auth(TOKEN).send().await.expect("an answer");
        health.json::<Value>().await.expect("JSON")["counters"].clone()
    }

    /// What the server says of itself.
    pub(crate) async fn info(&self) -> Value {
        let info = self.client.get(format!("{}/serverinfo", self.url)).send().await.expect("an answer");
        info.json().await.expect("JSON")
    }

    /// The operator's page of a job.
    pub(crate) async fn job_page(&self, id: JobId) -> String {
        let page =
            self.client.get(format!("{}/jobs/{id}", self.url)).bearer_auth(TOKEN).send().await.expect("an answer");
        page.text().await.expect("a page")
    }

    pub(crate) fn outcome(&self, id: JobId) -> Option<Outcome> {
        livewebcam_jobs::local::read_json(&self.root.job(id).file(JobFile::Outcome)).expect("a readable result")
    }

    pub(crate) async fn concluded(&self, id: JobId) -> Outcome {
        eventually("the job is concluded", || self.outcome(id)).await
    }

    pub(crate) fn jobs(&self) -> Vec<JobId> {
        let folder = std::fs::read_dir(self.root.jobs()).expect("the jobs");
        let names = folder.map(|entry| entry.expect("an entry").file_name());
        let mut ids: Vec<JobId> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.expect("no panic").expect("a clean end");
    }
}

/// Waits for something to become true.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within 40 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn is_failure(outcome: &Outcome, words: &str) {
    assert_eq!(outcome.status, Status::Failed);
    let failure = outcome.failure.as_ref().expect("a failure");
    assert!(failure.reason.contains(words), "{words:?} is not in {:?}", failure.reason);
}
