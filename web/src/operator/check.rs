//! `livewebcam check`: tries each step of a frame's way and says what to do about each failure.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use livewebcam_jobs::JobId;
use tokio::io::AsyncReadExt;

use crate::catalog::Catalog;
use crate::scheduler::Scheduler;
use crate::settings::{SchedulerKind, Settings, TransportKind, seconds};
use crate::slurm::shell_quote;
use crate::text::printable;
use crate::transport::Transport;

/// Prints a line per step; the exit code tells whether all went well.
///
/// # Errors
/// Never for a step that fails: that is a line of the report.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let transport = report.step("connection", connect(settings)).await.map(Arc::new);
    let Some(transport) = transport else {
        println!("The other steps need the connection.");
        return Ok(ExitCode::FAILURE);
    };
    report.step("start files", quiet(&transport)).await;
    report.step("root", root(&transport)).await;
    report.step("writing", probe(&transport)).await;
    let scheduler = Scheduler::new(settings, transport.clone());
    report.step("scheduler", submission(settings, &scheduler)).await;
    report.step("runner", runner(settings, &transport)).await;
    report.step("models", models(settings, &transport)).await;
    Ok(report.finish())
}

#[derive(Default)]
struct Report {
    failures: usize,
}

impl Report {
    async fn step<T: Describe>(&mut self, name: &str, work: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
        let start = Instant::now();
        let result = work.await;
        let took = start.elapsed().as_millis();
        match result {
            Ok(value) => {
                println!("ok    {name:<12} {} ({took} ms)", value.describe());
                Some(value)
            }
            Err(error) => {
                self.failures += 1;
                println!("FAIL  {name:<12} {}", printable(&format!("{error:#}")));
                None
            }
        }
    }

    fn finish(self) -> ExitCode {
        match self.failures {
            0 => {
                println!("Everything is in order.");
                ExitCode::SUCCESS
            }
            1 => {
                println!("One step failed.");
                ExitCode::FAILURE
            }
            failures => {
                println!("{failures} steps failed.");
                ExitCode::FAILURE
            }
        }
    }
}

trait Describe {
    fn describe(&self) -> String;
}

impl Describe for String {
    fn describe(&self) -> String {
        self.clone()
    }
}

impl Describe for Transport {
    fn describe(&self) -> String {
        format!("the tree is {}", self.root().path().display())
    }
}

async fn connect(settings: &Settings) -> anyhow::Result<Transport> {
    Ok(Transport::connect(settings).await?)
}

/// Whatever a non-interactive shell prints would go into SFTP's and the scheduler's answers.
async fn quiet(transport: &Transport) -> anyhow::Result<String> {
    let start = Instant::now();
    let mut process = transport.spawn("true").await?;
    let mut noise = String::new();
    let read = process.stdout.read_to_string(&mut noise);
    tokio::time::timeout(Duration::from_secs(30), read).await.context("a shell takes longer than 30 s to start")??;
    ensure!(
        noise.trim().is_empty(),
        "a non-interactive shell prints {:?}: in the account's start files (.bashrc, .profile), print only if the shell is \
         interactive: case $- in *i*) … ;; esac",
        noise.trim().chars().take(80).collect::<String>()
    );
    Ok(format!("silent; a shell starts in {} ms, and one serves all frames", start.elapsed().as_millis()))
}

async fn root(transport: &Transport) -> anyhow::Result<String> {
    for folder in transport.root().skeleton() {
        transport
            .create_dir(&folder)
            .await
            .context("cluster.root cannot be used; choose a folder that you may write to")?;
    }
    let path = transport.root().path();
    let metadata = transport.metadata(path).await?.context("the root disappeared")?;
    let quoted = shell_quote(&path.to_string_lossy());
    ensure!(
        metadata.mode & 0o077 == 0,
        "{} has mode {:o}, so others can see visitors' frames: chmod 700 {quoted}",
        path.display(),
        metadata.mode
    );
    let whoami = transport.run("id -u", Duration::from_secs(30)).await?;
    let uid: u32 = whoami.stdout.trim().parse().context("`id -u` printed no number")?;
    ensure!(metadata.uid == uid, "{} belongs to user {}, not to this account ({uid})", path.display(), metadata.uid);
    Ok(format!("{} is this account's alone", path.display()))
}

/// Every operation that a frame needs, on names of its own.
async fn probe(transport: &Transport) -> anyhow::Result<String> {
    let folder = transport.root().jobs();
    let name = folder.join(format!(".tmp-probe-{}", JobId::new()));
    let work = async {
        transport
            .replace(&name, b"first", 0o600)
            .await
            .context("a file cannot be written and renamed (is the quota full?)")?;
        let taken = transport.publish_exclusively(&name, b"second").await;
        ensure!(
            !taken.context("a hard link cannot be made; the root needs a filesystem with hard links")?,
            "a taken name was given away"
        );
        let free = with_suffix(&name, "-link");
        let won = transport
            .publish_exclusively(&free, b"third")
            .await
            .context("a hard link cannot be made; the root needs a filesystem with hard links")?;
        ensure!(won, "a free name was not given");
        ensure!(
            transport.read(&free, 100).await?.as_deref() == Some(b"third"),
            "a file does not hold what was written"
        );
        transport.remove_file(&free).await.context("a file cannot be removed")
    };
    let result = work.await;
    let removed = transport.remove_file(&name).await.context("a file cannot be removed");
    result.and(removed)?;
    Ok("write, rename, link, read and remove work".to_owned())
}

fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

async fn submission(settings: &Settings, scheduler: &Scheduler) -> anyhow::Result<String> {
    let script = settings.slurm.resources.script(JobId::new())?;
    let said = scheduler.test_submission(&script).await?;
    Ok(match settings.cluster.scheduler {
        SchedulerKind::Process => said,
        SchedulerKind::Slurm => format!("sbatch would take a job: {}", said.trim()),
    })
}

async fn runner(settings: &Settings, transport: &Transport) -> anyhow::Result<String> {
    let path = transport.root().runner();
    let command = format!("{} --version", shell_quote(&path.to_string_lossy()));
    let output = transport.run(&command, seconds(settings.deadlines.submit)).await?;
    let host = if settings.cluster.transport == TransportKind::Ssh { " on the login node" } else { "" };
    if !output.success() {
        if settings.is_embedded() && output.code == 127 {
            return Ok("`livewebcam serve` puts it in place when it starts".to_owned());
        }
        bail!(
            "{} does not start{host}: {}; upload it with `livewebcam deploy`",
            path.display(),
            super::deploy::explain(&output.stderr)
        );
    }
    let version = output.stdout.trim();
    let ours = env!("CARGO_PKG_VERSION");
    ensure!(
        version.split_whitespace().last() == Some(ours),
        "{version} is installed, but this is livewebcam {ours}: `livewebcam deploy` uploads the runner that fits"
    );
    Ok(format!("{version}{host}"))
}

async fn models(settings: &Settings, transport: &Transport) -> anyhow::Result<String> {
    let catalog = match Catalog::load(settings, transport).await {
        Err(crate::catalog::CatalogError::Missing { .. }) if settings.is_embedded() => {
            return Ok("the runner brings `starter`".to_owned());
        }
        other => other?,
    };
    let unmet = catalog.unmet();
    ensure!(unmet.is_empty(), "{}", unmet.join("; "));
    let default = catalog.default_model().context("models.default cannot paint")?;
    let names: Vec<String> = catalog.models().into_iter().map(|model| model.name).collect();
    Ok(format!("{}; the default is {}", names.join(", "), default.name))
}
