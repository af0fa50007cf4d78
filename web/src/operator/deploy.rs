//! `livewebcam deploy`: puts the runner on the cluster and proves by a real job that it starts where jobs run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use livewebcam_jobs::{
    BatchJob, JobFile, JobId, LoadOptions, Marker, Outcome, Parameters, REQUEST_VERSION, Request, Status, local,
    model_key,
};

use crate::frame;
use crate::scheduler::{Scheduler, Sight};
use crate::settings::{Settings, TransportKind, seconds};
use crate::slurm::shell_quote;
use crate::text::printable;
use crate::transport::Transport;

/// The runner's name beside this program.
const RUNNER: &str = "livewebcam-runner";

/// Uploads `runner` (or the one beside this program), starts it on the login node and then in a job.
///
/// # Errors
/// The step that failed, with what to do about it.
pub async fn run(settings: &Settings, runner: Option<PathBuf>) -> anyhow::Result<()> {
    let source = runner.map_or_else(runner_beside_us, Ok)?;
    let binary = std::fs::read(&source).with_context(|| format!("cannot read the runner {}", source.display()))?;
    let transport = Arc::new(Transport::connect(settings).await?);
    for folder in transport.root().skeleton() {
        transport.create_dir(&folder).await.context("cluster.root cannot be used")?;
    }
    let path = transport.root().runner();
    let start = Instant::now();
    transport.replace(&path, &binary, 0o700).await.context("failed to upload the runner")?;
    let megabytes = binary.len() as f64 / f64::from(1 << 20);
    println!("uploaded  {megabytes:.1} MiB to {} in {:.1} s", path.display(), start.elapsed().as_secs_f64());

    let command = format!("{} --version", shell_quote(&path.to_string_lossy()));
    let output = transport.run(&command, seconds(settings.deadlines.submit)).await?;
    let host = if settings.cluster.transport == TransportKind::Ssh { "the login node" } else { "this machine" };
    ensure!(output.success(), "the runner does not start on {host}: {}", explain(&output.stderr));
    println!("starts    on {host}: {}", output.stdout.trim());

    let scheduler = Scheduler::new(settings, transport.clone());
    let start = Instant::now();
    let outcome = probe(settings, &transport, &scheduler).await?;
    scheduler.shut_down().await;
    let livewebcam_jobs::Author::Runner { host, .. } = &outcome.author else {
        bail!("the job was concluded by a frontend: {:?}", outcome.failure)
    };
    println!(
        "paints    in a job on {host}, {:.1} s after its submission; the runner itself took {:.0} ms",
        start.elapsed().as_secs_f64(),
        outcome.timings.total_ms
    );
    Ok(())
}

/// A small frame through the scheduler, like any visitor's.
async fn probe(settings: &Settings, transport: &Transport, scheduler: &Scheduler) -> anyhow::Result<Outcome> {
    let id = JobId::new();
    let job = transport.root().job(id);
    let model = "starter".to_owned();
    let queue = Marker::Queued { model_key: model_key(&model) };
    transport.create_dir(&transport.root().marker_dir(&queue)).await?;
    let frame = frame::test_card(64, 64);
    let request = Request {
        version: REQUEST_VERSION,
        id,
        model,
        width: frame.width,
        height: frame.height,
        parameters: Parameters::default(),
        loading: LoadOptions::default(),
        clamped: Vec::new(),
        visitor: None,
        retry_of: None,
    };
    let files = [
        (JobFile::Input, frame.png),
        (JobFile::Request, local::to_json(&request)),
        (JobFile::Script, settings.slurm.resources.script(id)?.into_bytes()),
    ];
    transport.stage(id, &files, &queue).await.context("failed to stage a job")?;
    scheduler.submit(BatchJob::Frame(id)).await.context("failed to submit a job")?;
    let end = Instant::now() + seconds(settings.deadlines.job);
    let mut gone = 0;
    loop {
        if let Some(json) = transport.read(&job.file(JobFile::Outcome), 1 << 20).await? {
            for marker in [queue, Marker::Running, Marker::Done] {
                transport.remove_file(&transport.root().marker(&marker, id)).await?;
            }
            let outcome: Outcome = serde_json::from_slice(&json).context("result.json cannot be read")?;
            let reason = outcome.failure.as_ref().map(|failure| format!("{} {}", failure.reason, failure.detail));
            ensure!(outcome.status == Status::Done, "the job failed: {}", reason.unwrap_or_default());
            return Ok(outcome);
        }
        let batch_job = BatchJob::Frame(id);
        let sight = scheduler.look(&[batch_job]).await?.remove(&batch_job);
        if !matches!(sight, Some(Sight::Alive { .. })) {
            gone += 1;
        }
        if gone >= 3 || Instant::now() > end {
            let log = transport.read_tail(&job.file(JobFile::Log), 4096).await?.map(|(log, _)| log).unwrap_or_default();
            let log = explain(&String::from_utf8_lossy(&log));
            let state = match sight {
                Some(Sight::Alive { words, .. } | Sight::Ended(words)) => words,
                None => "unknown to the scheduler".to_owned(),
            };
            scheduler.cancel(&[batch_job]).await?;
            bail!("the job did not paint ({state}); it lies in {}; slurm.log: {log}", job.path().display());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a failed start printed, with the usual reasons in plain words.
pub(super) fn explain(printed: &str) -> String {
    let printed = printable(printed.trim());
    let advice = if printed.contains("GLIBC_") {
        "its C library is older than the one the runner was built with; build the runner on the oldest of the cluster's \
         systems (`cargo build --release -p livewebcam-runner`) and name it with --runner"
    } else if printed.contains("error while loading shared libraries") {
        "it was built for GPUs, and needs the same libraries wherever it starts, on the login node too; make the library known \
         there (`module load CUDA`, LD_LIBRARY_PATH; `libcuda.so.1` is the driver's), or deploy one that was built without \
         them"
    } else if printed.contains("Exec format error") || printed.contains("cannot execute binary file") {
        "it has another processor architecture; build the runner there and name it with --runner"
    } else if printed.contains("Permission denied") {
        "its filesystem may be mounted noexec; choose another cluster.root"
    } else if printed.contains("not found") || printed.contains("No such file") {
        "it is not there, or a compute node does not mount the root; cluster.root must be on a shared filesystem"
    } else {
        return if printed.is_empty() { "it said nothing".to_owned() } else { printed };
    };
    format!("{advice} ({printed})")
}

/// The runner that was built with this program.
fn runner_beside_us() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("failed to find this program's own path")?;
    // Cargo puts tests one folder below the binaries.
    let folders = this.ancestors().skip(1).take(2);
    let candidates: Vec<PathBuf> = folders.map(|folder| folder.join(RUNNER)).collect();
    candidates.iter().find(|path| path.is_file()).cloned().with_context(|| {
        format!(
            "{} is not there; build it with `cargo build --release`, or name it with --runner",
            candidates[0].display()
        )
    })
}

/// For the embedded default: puts the runner beside this program into the root unless it is there already.
pub(crate) async fn install_runner(transport: &Transport) -> anyhow::Result<()> {
    let source = runner_beside_us()?;
    let target = transport.root().runner();
    if same_file(&source, &target) {
        return Ok(());
    }
    let binary = std::fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    transport.replace(&target, &binary, 0o700).await?;
    Ok(())
}

/// Whether `target` is a copy of `source` that is no older: good enough for a file that only this program writes.
fn same_file(source: &Path, target: &Path) -> bool {
    let (Ok(source), Ok(target)) = (std::fs::metadata(source), std::fs::metadata(target)) else { return false };
    let times = source.modified().ok().zip(target.modified().ok());
    source.len() == target.len() && times.is_some_and(|(source, target)| source <= target)
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn the_usual_reasons_are_told_in_plain_words() {
        let glibc =
            "livewebcam-runner: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by livewebcam-runner)";
        assert!(explain(glibc).starts_with("its C library is older"));
        let missing =
            "livewebcam-runner: error while loading shared libraries: libcuda.so.1: cannot open shared object file";
        assert!(explain(missing).contains("on the login node too"));
        assert!(explain("sh: 1: /x/livewebcam-runner: Permission denied").contains("noexec"));
        assert!(explain("sh: 1: /x/livewebcam-runner: not found").contains("shared filesystem"));
        assert!(explain("cannot execute binary file: Exec format error").contains("architecture"));
        assert_eq!(explain(""), "it said nothing");
    }
}
