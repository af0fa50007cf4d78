//! A warm runner that sleeps instead of painting, for the simulation of many of them: it looks, claims, writes and leaves as
//! the real one does, and gives the frame back as it came. `SLEEP_MS` says how long a painting takes.
//!
//! Stands in for runners on machines of their own, which cannot be had on one machine.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use livewebcam_jobs::{
    Author, Claim, Heartbeat, JobFile, JobId, Marker, Outcome, Output, Request, Root, RunnerFile, RunnerId,
    RunnerState, Status, Timings, local,
};
use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).map(String::as_str) != Some("serve") {
        let real = Path::new(&words[0]).with_file_name("real");
        return Err(Command::new(real).args(&words[1..]).exec());
    }
    let word = |name: &str| {
        let at = words.iter().position(|word| word == name).unwrap_or_else(|| panic!("no {name}"));
        words[at + 1].clone()
    };
    let painting = Duration::from_millis(std::env::var("SLEEP_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000));
    let idle_exit = Duration::from_secs(word("--idle-exit").parse().expect("seconds"));
    let id: RunnerId = word("--runner").parse().expect("a runner id");
    let root = Root::new(Path::new(&word("--root")).canonicalize()?);
    Sleeper { author: author(id), id, root, painting, beats: 0, painted: 0, beaten: Instant::now() }
        .work(&word("--model"), idle_exit)
}

fn author(id: RunnerId) -> Author {
    let slurm_job_id = std::env::var("SLURM_JOB_ID").ok();
    Author::Runner { host: "sleeper".to_owned(), pid: std::process::id(), slurm_job_id, runner: Some(id) }
}

struct Sleeper {
    root: Root,
    id: RunnerId,
    author: Author,
    painting: Duration,
    beats: u64,
    painted: u64,
    beaten: Instant,
}

impl Sleeper {
    fn work(&mut self, model_key: &str, idle_exit: Duration) -> io::Result<()> {
        let queue = self.root.marker_dir(&Marker::Queued { model_key: model_key.to_owned() });
        let mut last = Instant::now();
        self.beat(RunnerState::Idle)?;
        loop {
            let mut ids: Vec<JobId> =
                fs::read_dir(&queue)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
            ids.sort_unstable();
            let mut painted = false;
            for id in ids {
                if self.paint(id, &queue)? {
                    painted = true;
                    break;
                }
            }
            if self.beaten.elapsed() > Duration::from_secs(2) {
                self.beat(RunnerState::Idle)?;
            }
            if painted {
                last = Instant::now();
                continue;
            }
            if last.elapsed() > idle_exit {
                return self.beat(RunnerState::Left { why: "idle".to_owned() });
            }
            sleep((last.elapsed() / 20).clamp(Duration::from_millis(5), Duration::from_secs(1)));
        }
    }

    fn beat(&mut self, state: RunnerState) -> io::Result<()> {
        (self.beats, self.beaten) = (self.beats + 1, Instant::now());
        let (sequence, author, painted) = (self.beats, self.author.clone(), self.painted);
        let heartbeat = Heartbeat { sequence, author, state, model: None, device: None, painted };
        local::replace(&self.root.warm_runner(self.id).file(RunnerFile::Heartbeat), &local::to_json(&heartbeat))
    }

    fn paint(&mut self, id: JobId, queue: &Path) -> io::Result<bool> {
        let dir = self.root.job(id);
        if dir.file(JobFile::Claim).exists() {
            return Ok(false);
        }
        let claim = Claim { author: self.author.clone(), nonce: format!("{:016x}", rand::random::<u64>()) };
        if !local::publish_exclusively(&dir.file(JobFile::Claim), &local::to_json(&claim))? {
            return Ok(false);
        }
        let started = Instant::now();
        fs::rename(queue.join(id.to_string()), self.root.marker(&Marker::Running, id))?;
        let request: Request = local::read_json(&dir.file(JobFile::Request))?.expect("a request");
        let png = fs::read(dir.file(JobFile::Input))?;
        sleep(self.painting);
        local::replace_durably(&dir.file(JobFile::Output), &png)?;
        let output = Output {
            bytes: png.len() as u64,
            sha256: Sha256::digest(&png).iter().map(|byte| format!("{byte:02x}")).collect(),
            width: request.width,
            height: request.height,
        };
        let total_ms = started.elapsed().as_secs_f64() * 1e3;
        let outcome = Outcome {
            status: Status::Done,
            author: self.author.clone(),
            model: request.model,
            output: Some(output),
            failure: None,
            parameters: Some(request.parameters),
            loading: None,
            clamped: Vec::new(),
            timings: Timings { paint_ms: self.painting.as_secs_f64() * 1e3, total_ms, ..Timings::default() },
            warnings: Vec::new(),
        };
        if local::publish_exclusively(&dir.file(JobFile::Outcome), &local::to_json(&outcome))? {
            fs::rename(self.root.marker(&Marker::Running, id), self.root.marker(&Marker::Done, id))?;
            self.painted += 1;
        }
        Ok(true)
    }
}
