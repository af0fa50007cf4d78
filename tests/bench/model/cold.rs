//! A painting from the start of a process: how long until the picture is there, and the most memory that it took.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use livewebcam_jobs::{JobFile, JobId, LoadOptions, Parameters, REQUEST_VERSION, Request, Root, local};

use super::place::{Place, RUNNER};
use super::worker::parameters;

/// What one process took.
#[derive(Clone, Copy)]
pub(crate) struct Cold {
    pub(crate) seconds: f64,
    /// The largest resident set, pages of mapped files included.
    pub(crate) bytes: u64,
}

/// How a painting is computed.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) dtype: &'static str,
    pub(crate) taesd: bool,
    pub(crate) threads: usize,
}

/// Ours: a job directory like the frontend's, until the process has ended.
pub(crate) fn ours(place: &Place, way: Way, photo: &Path, prompt: &str) -> Result<Cold> {
    let root = Root::new(place.bench.join("root"));
    let name = place.install(&root)?;
    let id = JobId::new();
    let dir = root.job(id);
    fs::create_dir(dir.path())?;
    let (width, height) = image::image_dimensions(photo)?;
    let loading = LoadOptions {
        precision: way.dtype.parse().map_err(anyhow::Error::msg)?,
        taesd: way.taesd,
        ..LoadOptions::default()
    };
    let request = Request {
        version: REQUEST_VERSION,
        id,
        model: name,
        width,
        height,
        parameters: Parameters { prompt: prompt.to_owned(), ..parameters() },
        loading,
        clamped: Vec::new(),
        visitor: None,
        retry_of: None,
    };
    fs::copy(photo, dir.file(JobFile::Input))?;
    fs::write(dir.file(JobFile::Request), local::to_json(&request))?;
    let mut command = Command::new(RUNNER);
    command.arg("run").arg("--job").arg(dir.path()).env("RAYON_NUM_THREADS", way.threads.to_string());
    let cold = measure(&mut command, &dir.file(JobFile::Output))?;
    fs::remove_dir_all(dir.path())?;
    Ok(cold)
}

/// diffusers': until it says that the picture is saved, before Python tidies up.
pub(crate) fn diffusers(place: &Place, way: Way, photo: &Path) -> Result<Cold> {
    let output = place.bench.join("cold-diffusers.png");
    let mut command = place.script("cold.py", way.threads);
    command.arg(&place.model).args([way.dtype, if way.taesd { "taesd" } else { "vae" }]).arg(photo).arg(&output);
    measure(&mut command, &output)
}

fn measure(command: &mut Command, output: &Path) -> Result<Cold> {
    let _ = fs::remove_file(output);
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = BufReader::new(child.stdout.take().context("a pipe")?);
    let ended = AtomicBool::new(false);
    let (seconds, bytes) = thread::scope(|scope| {
        let peak = scope.spawn(|| watch_memory(&child, &ended));
        // Of the line that diffusers writes, or of the end.
        let _ = said.lines().next();
        let seconds = started.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (seconds, peak.join().expect("a watch that does not panic"))
    });
    let status = child.wait()?;
    ensure!(status.success() && output.exists(), "{command:?} ended with {status}");
    Ok(Cold { seconds, bytes })
}

/// The kernel keeps the largest resident set for as long as the process has memory at all.
fn watch_memory(child: &Child, ended: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !ended.load(Ordering::Relaxed) {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1024);
        thread::sleep(Duration::from_millis(5));
    }
    peak
}
