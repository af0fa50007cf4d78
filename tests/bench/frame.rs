//! What a frame costs besides painting: on the embedded default, over SSH and Slurm, through a jump host, over a wire that
//! is 20 ms longer, and by hand with scp and sbatch in the same run. `make bench-frame` prints the table.

#[allow(dead_code, reason = "shared with the cluster's tests")]
#[path = "../cluster/support.rs"]
mod support;

#[allow(dead_code, reason = "has tests of its own")]
mod delay;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use livewebcam::settings::{SchedulerKind, Settings, TransportKind};
use livewebcam_jobs::JobFile;
use serde_json::Value;

use self::delay::LongWire;
use self::support::{CLUSTER, Server};

/// Frames of each way; ways take turns in rounds, so that a noisy minute hits all of them.
const FRAMES: usize = 20;
const ROUNDS: usize = 4;
const ONE_WAY: Duration = Duration::from_millis(10);

/// Milliseconds of one frame.
#[derive(Clone, Copy)]
struct Sample {
    /// From the POST to the last byte.
    total: f64,
    /// The runner's own painting.
    paint: f64,
    /// From sbatch's answer to the job's first line; 0 without Slurm.
    wait: f64,
}

impl Sample {
    fn overhead(&self) -> f64 {
        self.total - self.paint - self.wait
    }
}

struct Way {
    name: &'static str,
    server: Server,
    slurm: bool,
    samples: Vec<Sample>,
    before: Value,
}

impl Way {
    async fn start(name: &'static str, settings: Settings) -> Self {
        let slurm = settings.cluster.scheduler == SchedulerKind::Slurm;
        let server = Server::start(settings).await;
        server.generate().await.painting();
        let before = server.counters().await;
        Self { name, server, slurm, samples: Vec::new(), before }
    }

    async fn round(&mut self) {
        for _ in 0..FRAMES / ROUNDS {
            let posted_unix = unix_ms();
            let posted = Instant::now();
            let answer = self.server.generate().await;
            let total = posted.elapsed().as_secs_f64() * 1000.0;
            let id = answer.painting();
            let paint = self.server.outcome(id).expect("a result").timings.paint_ms;
            let wait = if self.slurm {
                let log = std::fs::read_to_string(self.server.root.job(id).file(JobFile::Log)).expect("a log");
                let first: f64 =
                    log.split(' ').next().and_then(|time| time.parse().ok()).expect("the time of the first line");
                let accepted = posted_unix + answer.stage("validate") + answer.stage("stage") + answer.stage("submit");
                (first * 1000.0 - accepted).max(0.0)
            } else {
                0.0
            };
            self.samples.push(Sample { total, paint, wait });
        }
    }

    fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(figure).collect())
    }
}

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// The cluster's ssh config with the login node at the end of a longer wire. The host key is still the login node's.
fn config_over(wire: &LongWire) -> PathBuf {
    let config = std::fs::read_to_string(CLUSTER.folder.join("ssh_config")).expect("the ssh config");
    let far = format!(
        "Host far\n    Port {}\n    HostKeyAlias [127.0.0.1]:{}\n    IdentityFile {}\n\n",
        wire.address().port(),
        ssh_port(),
        CLUSTER.folder.join("keys/user").display()
    );
    let path = CLUSTER.folder.join("ssh_config-far");
    std::fs::write(&path, far + &config).expect("an ssh config");
    path
}

fn ssh_port() -> u16 {
    let environment = std::fs::read_to_string(CLUSTER.folder.join("env")).expect("the cluster's env");
    let port = environment.lines().find_map(|line| line.strip_prefix("SSH_PORT=")).expect("a port");
    port.parse().expect("a port")
}

/// Milliseconds of frames that a person sends with scp and sbatch.
fn by_hand(config: &Path, host: &str) -> Vec<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/bench/by-hand.sh");
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/photos/chelsea.png");
    let output = Command::new(script)
        .arg(config)
        .arg(host)
        .arg(&CLUSTER.folder)
        .arg(photo)
        .arg((FRAMES / ROUNDS).to_string())
        .output()
        .expect("by-hand.sh runs");
    assert!(output.status.success(), "by-hand.sh: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines().map(|line| line.parse::<f64>().expect("seconds") * 1000.0).collect()
}

#[tokio::main]
async fn main() {
    let wire = LongWire::to(([127, 0, 0, 1], ssh_port()).into(), ONE_WAY).await.expect("a longer wire");
    let far_config = config_over(&wire);

    let mut embedded = CLUSTER.deployed("bench-embedded");
    embedded.cluster.transport = TransportKind::Local;
    embedded.cluster.scheduler = SchedulerKind::Process;
    let direct = CLUSTER.deployed("bench-direct");
    let mut jump = CLUSTER.deployed("bench-jump");
    jump.ssh.host = "cluster-behind-jump".to_owned();
    let mut far = CLUSTER.deployed("bench-far");
    far.ssh.config.clone_from(&far_config);
    far.ssh.host = "far".to_owned();

    let mut ways = Vec::new();
    for (name, mut settings) in [
        ("embedded", embedded),
        ("ssh + Slurm", direct),
        ("… through a jump host", jump),
        ("… 20 ms further away", far),
    ] {
        settings.watch = livewebcam::settings::Watch::default();
        ways.push(Way::start(name, settings).await);
    }
    let near_config = CLUSTER.folder.join("ssh_config");
    let (mut hand_near, mut hand_far) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for way in &mut ways {
            way.round().await;
        }
        let far_config = far_config.clone();
        let near_config = near_config.clone();
        let hands =
            tokio::task::spawn_blocking(move || (by_hand(&near_config, "cluster"), by_hand(&far_config, "far")));
        let (near, far) = hands.await.expect("no panic");
        hand_near.extend(near);
        hand_far.extend(far);
    }
    report(&ways, median(hand_near), median(hand_far)).await;
    for way in ways {
        way.server.stop().await;
    }
}

async fn report(ways: &[Way], hand_near: f64, hand_far: f64) {
    println!(
        "Medians of {FRAMES} frames, in ms. Overhead: POST to last byte, less painting, less the wait for Slurm.\n"
    );
    println!("{:<24} {:>8} {:>8} {:>8} {:>9}", "", "total", "paint", "wait", "overhead");
    for way in ways {
        println!(
            "{:<24} {:>8.0} {:>8.0} {:>8.0} {:>9.0}",
            way.name,
            way.median(|sample| sample.total),
            way.median(|sample| sample.paint),
            way.median(|sample| sample.wait),
            way.median(Sample::overhead)
        );
    }
    println!("{:<24} {hand_near:>8.0}", "by hand (copies only)");
    println!("{:<24} {hand_far:>8.0}", "… 20 ms further away");

    let overhead = |index: usize| ways[index].median(Sample::overhead);
    let total = |index: usize| ways[index].median(|sample| sample.total);
    println!("\nby hand / ours, total: {:.1} near, {:.1} far", hand_near / total(1), hand_far / total(3));
    let trips = (overhead(3) - overhead(1)) / (2.0 * ONE_WAY.as_secs_f64() * 1000.0);
    println!("sequential round trips of a frame, from the difference: {trips:.1}");

    println!("\nPer frame on the login node:");
    for way in ways.iter().filter(|way| way.slurm) {
        let after = way.server.counters().await;
        let count = |path: &str| {
            let read = |value: &Value| value.pointer(path).and_then(Value::as_f64).expect("a count");
            read(&after) - read(&way.before)
        };
        let frames = FRAMES as f64;
        println!(
            "{:<24} sbatch {:.2}, squeue {:.2}, new channels {:.2}; connections {}, channels {} in all",
            way.name,
            count("/sbatch") / frames,
            count("/squeue") / frames,
            count("/transport/channels") / frames,
            after["transport"]["connections"],
            after["transport"]["channels"]
        );
    }
}
