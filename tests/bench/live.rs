//! What flows through warm runners over SSH and Slurm: the cost of a warm frame, frames per second of several visitors, what
//! that asks of Slurm and of the shared filesystem, and that every frame was painted once. `make bench-live` prints it.
//! `make bench-live ARGS=--simulate` has a hundred runners sleep instead, to see what gives first.

#[allow(dead_code, reason = "shared with the cluster's tests")]
#[path = "../cluster/support.rs"]
mod support;

use std::io::Cursor;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use image::ImageFormat;
use image::imageops::FilterType;
use livewebcam::settings::{PolicyChoice, SchedulerKind, Settings, TransportKind};
use livewebcam_jobs::{Author, Heartbeat, JobId, Root, Status, local};
use reqwest::header::{COOKIE, HeaderMap};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use self::support::{CLUSTER, PHOTO, Server, runner};

/// Frames sent one by one for the cost of a warm frame.
const FRAMES: usize = 200;
/// Milliseconds between two frames of a visitor, as on the page.
const SHORTEST_GAP: f64 = 1000.0 / 30.0;
/// How long filesystem operations are counted.
const COUNTED: Duration = Duration::from_secs(10);

struct Options {
    /// Seconds of each row of the table.
    seconds: u64,
    visitors: Vec<usize>,
    runners: Vec<usize>,
    simulate: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { seconds: 60, visitors: vec![1, 4, 16], runners: vec![2, 4], simulate: false };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            if word == "--simulate" {
                options.simulate = true;
                continue;
            }
            let value = words.next().unwrap_or_default();
            let numbers = || value.split(',').map(|number| number.parse().expect("a number")).collect();
            match word.as_str() {
                "--seconds" => options.seconds = value.parse().expect("seconds"),
                "--visitors" => options.visitors = numbers(),
                "--runners" => options.runners = numbers(),
                _ => panic!("{word} is none of --seconds 60, --visitors 1,4,16, --runners 2,4 and --simulate"),
            }
        }
        options
    }
}

/// A visitor's browser: a cookie, and frames.
#[derive(Clone)]
struct Visitor {
    client: reqwest::Client,
    url: String,
    frame: Vec<u8>,
}

enum Reply {
    Painted {
        job: JobId,
        milliseconds: f64,
    },
    /// A newer frame took its place.
    Superseded,
    /// To come again after so long.
    Busy(Duration),
}

impl Visitor {
    async fn arrive(url: &str, side: u32) -> Self {
        let page = reqwest::Client::new().get(url).send().await.expect("the page");
        let cookie = page.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie");
        let headers = HeaderMap::from_iter([(COOKIE, cookie.parse().expect("a header"))]);
        let client = reqwest::Client::builder().default_headers(headers).no_proxy().build().expect("a client");
        Self { client, url: url.to_owned(), frame: frame(side) }
    }

    async fn send(&self) -> Reply {
        let input = Part::bytes(self.frame.clone()).file_name("frame.jpg");
        let form = Form::new().part("input", input).text("style", "starry night");
        let begun = Instant::now();
        let answer =
            self.client.post(format!("{}/generate", self.url)).multipart(form).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        match answer.status().as_u16() {
            200 => {
                let job = header("x-job-id").expect("a job").parse().expect("an id");
                answer.bytes().await.expect("a painting");
                Reply::Painted { job, milliseconds: begun.elapsed().as_secs_f64() * 1000.0 }
            }
            409 => Reply::Superseded,
            429 => Reply::Busy(Duration::from_secs(header("retry-after").and_then(|s| s.parse().ok()).unwrap_or(1))),
            status => panic!("{status}: {}", answer.text().await.unwrap_or_default()),
        }
    }

    /// Sends a frame again until the server takes it.
    async fn insist(&self) {
        while let Reply::Busy(pause) = self.send().await {
            tokio::time::sleep(pause).await;
        }
    }

    /// How many frames the server wants this visitor to have in flight.
    async fn share(&self) -> usize {
        let info = self.client.get(format!("{}/serverinfo", self.url)).send().await.expect("an answer");
        let info: Value = info.json().await.expect("JSON");
        info["frames_per_visitor"].as_u64().expect("a number") as usize
    }
}

/// The photograph as a camera's frame of `side`×`side` pixels.
fn frame(side: u32) -> Vec<u8> {
    let photo = image::load_from_memory(PHOTO).expect("a picture");
    let mut jpeg = Cursor::new(Vec::new());
    photo
        .resize_to_fill(side, side, FilterType::Triangle)
        .into_rgb8()
        .write_to(&mut jpeg, ImageFormat::Jpeg)
        .expect("a JPEG");
    jpeg.into_inner()
}

fn settings(name: &str, runners: usize) -> Settings {
    let mut settings = CLUSTER.deployed(name);
    settings.cluster.policy = PolicyChoice::Warm;
    settings.warm.max_runners = runners;
    settings.watch = livewebcam::settings::Watch::default();
    // Every job is looked at in the end.
    settings.keep.count = 1_000_000;
    settings.keep.bytes = u64::MAX;
    settings
}

/// Brings all runners up, so that what is measured is warm.
async fn warm_up(server: &Server, runners: usize) {
    let alive = async |server: &Server| {
        let info = server.info().await;
        let runners = info["runners"].as_array().expect("a list");
        runners.iter().filter(|runner| runner["painted"].as_u64().is_some_and(|painted| painted > 0)).count()
    };
    let end = Instant::now() + Duration::from_secs(120);
    while alive(server).await < runners {
        assert!(Instant::now() < end, "the runners do not come up: {}", server.info().await["runners"]);
        let visitors =
            futures_util::future::join_all((0..2 * runners).map(|_| Visitor::arrive(&server.url, 256))).await;
        futures_util::future::join_all(visitors.iter().map(Visitor::insist)).await;
    }
}

/// The value below which this share of the sorted values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values
        .get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// What one frame costs besides painting, with nobody else there.
async fn cost() {
    let server = Server::start(settings("live-cost", 1)).await;
    warm_up(&server, 1).await;
    let visitor = Visitor::arrive(&server.url, 256).await;
    let before = server.counters().await;
    let (mut overheads, mut paints) = (Vec::new(), Vec::new());
    for _ in 0..FRAMES {
        let Reply::Painted { job, milliseconds } = visitor.send().await else { panic!("a lone frame was not painted") };
        let timings = server.outcome(job).expect("a result").timings;
        overheads.push(milliseconds - timings.paint_ms);
        paints.push(timings.paint_ms);
    }
    let after = server.counters().await;
    let (median, late) = (quantile(&mut overheads, 0.5), quantile(&mut overheads, 0.95));
    println!("A warm frame of 256×256, {FRAMES} one after another, POST to last byte less painting, in ms:");
    println!(
        "median {median:.0} (bound 60), 95th percentile {late:.0} (bound 150); painting {:.0}",
        quantile(&mut paints, 0.5)
    );
    println!(
        "SSH connections {}, channels {} (one is SFTP), new ones {}\n",
        after["transport"]["connections"],
        after["transport"]["channels"],
        after["transport"]["channels"].as_u64().expect("a count")
            - before["transport"]["channels"].as_u64().expect("a count")
    );
    filesystem(&server, &visitor).await;
    server.stop().await;
}

/// System calls that reach the filesystem, of the runner and of the frontend's SFTP server.
async fn filesystem(server: &Server, visitor: &Visitor) {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("Filesystem operations are not counted: there is no strace (Debian package strace)\n");
        return;
    }
    let processes = [("runner", runner_process(&server.root)), ("sftp-server", sftp_process())];
    println!("Filesystem operations a second:");
    let load = tokio::spawn({
        let visitor = visitor.clone();
        async move {
            loop {
                visitor.send().await;
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let frames = count_jobs(server);
    let loaded = operations(&processes).await;
    let rate = (count_jobs(server) - frames) as f64 / COUNTED.as_secs_f64();
    load.abort();
    // The pauses between looks grow with the time without a frame.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let idle = operations(&processes).await;
    for ((name, _), (loaded, idle)) in processes.iter().zip(loaded.into_iter().zip(idle)) {
        println!("{name:<12} {loaded:>6.0} at {rate:.1} frames a second (under strace), {idle:>6.1} when idle");
    }
    println!();
}

fn count_jobs(server: &Server) -> usize {
    server.jobs().len()
}

async fn operations(processes: &[(&str, u32)]) -> Vec<f64> {
    let counts = processes.iter().map(|(_, pid)| {
        let pid = *pid;
        tokio::task::spawn_blocking(move || {
            let calls = "trace=%file,getdents64,fsync,fdatasync,ftruncate,fchmod,fstat";
            let seconds = COUNTED.as_secs().to_string();
            let strace = ["--preserve-status", &seconds, "strace", "-f", "-e", calls, "-o", "/dev/stdout", "-p"];
            let output =
                Command::new("timeout").arg("-sINT").args(strace).arg(pid.to_string()).output().expect("strace");
            let lines = String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains('(')).count();
            lines as f64 / COUNTED.as_secs_f64()
        })
    });
    futures_util::future::join_all(counts).await.into_iter().map(|count| count.expect("no panic")).collect()
}

fn runner_process(root: &Root) -> u32 {
    let runners = std::fs::read_dir(root.runners()).expect("the runners");
    let beat = runners.flatten().find_map(|entry| {
        local::read_json::<Heartbeat>(&entry.path().join("heartbeat.json")).expect("a readable heartbeat")
    });
    match beat.expect("a heartbeat").author {
        Author::Runner { pid, .. } => pid,
        Author::Frontend { .. } => panic!("a frontend beats as a runner"),
    }
}

/// The sftp-server that the bench's frontend has started.
fn sftp_process() -> u32 {
    newest("sftp-server")
}

/// The newest process of this name.
fn newest(name: &str) -> u32 {
    let output = Command::new("pgrep").args(["-n", "-x", name]).output().expect("pgrep");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("there is no {name}"))
}

struct Flow {
    painted: Vec<JobId>,
    latencies: Vec<f64>,
    superseded: usize,
    busy: usize,
}

/// Sends frames as the page does: one until it is painted, then as many in flight as the server wants, spaced in time.
async fn flow(visitor: Visitor, until: Instant) -> Flow {
    let mut total = Flow { painted: Vec::new(), latencies: Vec::new(), superseded: 0, busy: 0 };
    let mut flying = FuturesUnordered::new();
    let (mut share, mut asked) = (1, Instant::now());
    let mut next = Instant::now();
    loop {
        if asked.elapsed() > Duration::from_secs(2) {
            (share, asked) = (visitor.share().await, Instant::now());
        }
        let now = Instant::now();
        if now >= until && flying.is_empty() {
            return total;
        }
        let may_send = now < until && flying.len() < share;
        if may_send && now >= next {
            let latency = quantile(&mut total.latencies.clone(), 0.5);
            let gap = if latency.is_nan() { SHORTEST_GAP } else { SHORTEST_GAP.max(latency / share as f64) };
            next = now + Duration::from_secs_f64(gap / 1000.0);
            flying.push(visitor.send());
            continue;
        }
        let reply = tokio::select! {
            Some(reply) = flying.next() => reply,
            () = tokio::time::sleep_until(next.into()), if may_send => continue,
        };
        match reply {
            Reply::Painted { job, milliseconds } => {
                total.painted.push(job);
                total.latencies.push(milliseconds);
            }
            Reply::Superseded => total.superseded += 1,
            Reply::Busy(pause) => {
                total.busy += 1;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Many runners that sleep. Each row has twice as many visitors, so that every runner has a frame ready.
async fn simulate(seconds: u64) {
    println!("Runners that sleep a second instead of painting, two visitors for each, {seconds} s a row:");
    println!("runners visitors   frames of at  over a second, ms     CPU ms a frame: all,      of them");
    println!("                 a second  most   median 95th pct                   sftp-server  slurmctld");
    for runners in [10, 25, 50, 100] {
        let mut settings = settings(&format!("simulated-{runners}"), runners);
        settings.slurm.resources.gres = String::new();
        settings.slurm.resources.cpus = 1;
        settings.slurm.resources.setup = vec!["export SLEEP_MS=1000".to_owned()];
        settings.limits.max_waiting = 2 * runners;
        settings.limits.submits_per_minute = 6000;
        settings.warm.idle_exit = 600;
        let bin = Root::new(&settings.cluster.root).runner();
        std::fs::rename(&bin, bin.with_file_name("real")).expect("the real runner aside");
        let sleeper = runner().with_file_name("examples").join("sleeper");
        std::fs::copy(&sleeper, &bin).unwrap_or_else(|error| panic!("{}: {error}", sleeper.display()));
        let server = Server::start(settings).await;
        warm_up(&server, runners).await;
        let until = Instant::now() + Duration::from_secs(seconds);
        let arrived = futures_util::future::join_all((0..2 * runners).map(|_| Visitor::arrive(&server.url, 256))).await;
        let pids = [sftp_process(), newest("slurmctld")];
        let (all, of_them, begun) = (processor_ms("/proc/stat"), pids.map(process_ms), Instant::now());
        let flows = arrived.into_iter().map(|visitor| tokio::spawn(flow(visitor, until)));
        let flows = futures_util::future::join_all(flows).await;
        let took = begun.elapsed().as_secs_f64();
        let (all, after) = (processor_ms("/proc/stat") - all, pids.map(process_ms));
        let flows: Vec<Flow> = flows.into_iter().map(|flow| flow.expect("no panic")).collect();
        let mut over: Vec<f64> = flows.iter().flat_map(|flow| flow.latencies.iter().map(|ms| ms - 1000.0)).collect();
        let frames = over.len() as f64;
        println!(
            "{runners:>7} {:>8} {:>8.1} {runners:>5} {:>8.0} {:>8.0} {:>21.1} {:>11.1} {:>10.1}",
            2 * runners,
            frames / took,
            quantile(&mut over, 0.5),
            quantile(&mut over, 0.95),
            all / frames,
            (after[0] - of_them[0]) / frames,
            (after[1] - of_them[1]) / frames,
        );
        server.stop().await;
    }
}

/// Milliseconds that all processors have worked, by the first line of `/proc/stat`, in hundredths of a second.
fn processor_ms(stat: &str) -> f64 {
    let stat = std::fs::read_to_string(stat).expect("/proc/stat");
    let numbers: Vec<f64> =
        stat.lines().next().into_iter().flat_map(|line| line.split(' ').filter_map(|n| n.parse().ok())).collect();
    // user, nice, system; then idle and iowait; then interrupts.
    (numbers[0] + numbers[1] + numbers[2] + numbers[5] + numbers[6]) * 10.0
}

/// The same of one process.
fn process_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(|rest| rest.split(' ').map(|n| n.parse().unwrap_or(0.0)))
        .collect();
    (fields[12] + fields[13]) * 10.0
}

async fn throughput(runners: usize, visitors: usize, seconds: u64) {
    let server = Server::start(settings(&format!("live-{runners}-{visitors}"), runners)).await;
    warm_up(&server, runners).await;
    let earlier = server.jobs();
    let before = server.counters().await;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let arrived = futures_util::future::join_all((0..visitors).map(|_| Visitor::arrive(&server.url, 256))).await;
    let flows =
        futures_util::future::join_all(arrived.into_iter().map(|visitor| tokio::spawn(flow(visitor, until)))).await;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after = server.counters().await;
    let flows: Vec<Flow> = flows.into_iter().map(|flow| flow.expect("no panic")).collect();

    let mut painted: Vec<JobId> = flows.iter().flat_map(|flow| flow.painted.iter().copied()).collect();
    let mut latencies: Vec<f64> = flows.iter().flat_map(|flow| flow.latencies.iter().copied()).collect();
    let fewest = flows.iter().map(|flow| flow.painted.len()).min().unwrap_or(0);
    let most = flows.iter().map(|flow| flow.painted.len()).max().unwrap_or(0);
    let (superseded, busy): (usize, usize) =
        flows.iter().fold((0, 0), |(superseded, busy), flow| (superseded + flow.superseded, busy + flow.busy));
    painted.sort_unstable();
    let done = check(&server, &earlier, &painted);
    let squeue = (after["squeue"].as_f64().expect("a count") - before["squeue"].as_f64().expect("a count")) / minutes;
    println!(
        "{runners:>7} {visitors:>8} {:>8.1} {:>8.0} {:>8.0} {:>13} {superseded:>6} {busy:>5} {squeue:>10.1} {done:>9}",
        painted.len() as f64 / (minutes * 60.0),
        quantile(&mut latencies, 0.5),
        quantile(&mut latencies, 0.95),
        format!("{fewest} to {most}"),
    );
    server.stop().await;
}

/// From the job directories alone: whoever got a painting has a job of their own, and no other job was painted.
fn check(server: &Server, earlier: &[JobId], answered: &[JobId]) -> usize {
    assert!(answered.windows(2).all(|pair| pair[0] != pair[1]), "two visitors got the same job");
    let jobs: Vec<JobId> = server.jobs().into_iter().filter(|id| !earlier.contains(id)).collect();
    let mut done = Vec::new();
    for id in jobs {
        match server.outcome(id).unwrap_or_else(|| panic!("{id} has no result")).status {
            Status::Done => done.push(id),
            Status::Cancelled => {}
            Status::Failed => panic!("{id} failed"),
        }
    }
    assert_eq!(done, answered, "what was painted is not what was answered");
    done.len()
}

/// Smooth video on this machine: the embedded default, one visitor.
async fn embedded(seconds: u64) {
    println!("\nOn the embedded default (`make run`), one visitor:");
    for side in [256, 512] {
        let mut settings = CLUSTER.deployed(&format!("live-embedded-{side}"));
        settings.cluster.transport = TransportKind::Local;
        settings.cluster.scheduler = SchedulerKind::Process;
        settings.watch = livewebcam::settings::Watch::default();
        let server = Server::start(settings).await;
        warm_up(&server, 1).await;
        let visitor = Visitor::arrive(&server.url, side).await;
        let begun = Instant::now();
        let mut flow = flow(visitor, begun + Duration::from_secs(seconds)).await;
        let rate = flow.painted.len() as f64 / begun.elapsed().as_secs_f64();
        println!(
            "{side}×{side}: {rate:.1} frames a second, median latency {:.0} ms",
            quantile(&mut flow.latencies, 0.5)
        );
        server.stop().await;
    }
}

#[tokio::main]
async fn main() {
    let options = Options::read();
    if options.simulate {
        return simulate(options.seconds).await;
    }
    println!("Over SSH and Slurm on this machine, {} processors\n", num_processors());
    cost().await;
    println!("Frames of 256×256 for {} s a row; the runners share this machine's processors:", options.seconds);
    println!("runners visitors   frames   median 95th pct    frames of  newer  busy     squeue  each once");
    println!("                 a second       ms       ms    a visitor   came       a minute       done");
    for runners in &options.runners {
        for visitors in &options.visitors {
            throughput(*runners, *visitors, options.seconds).await;
        }
    }
    embedded(options.seconds.min(20)).await;
}

fn num_processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
