//! Frames that arrive: each transport with each scheduler, the jump host, many at once, and what they cost.

use livewebcam::settings::{SchedulerKind, TransportKind};
use livewebcam_jobs::{JobFile, Marker};

use crate::support::{CLUSTER, Server, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_goes_over_ssh_through_slurm_and_back() {
    let server = Server::start(CLUSTER.deployed("journey")).await;
    let answer = server.generate().await;
    let id = answer.painting();
    for stage in ["validate", "stage", "submit", "queue", "load", "paint", "retrieve"] {
        assert!(answer.stage(stage) >= 0.0);
    }
    let job = server.root.job(id);
    for file in JobFile::ALL.into_iter().filter(|file| !matches!(file, JobFile::Cancel | JobFile::Submission)) {
        assert!(job.file(file).is_file(), "{} is missing", file.name());
    }
    eventually("submission.json appears", || job.file(JobFile::Submission).is_file().then_some(())).await;
    eventually("done/ is empty", || {
        let done = std::fs::read_dir(server.root.marker_dir(&Marker::Done)).expect("done/");
        (done.count() == 0).then_some(())
    })
    .await;
    let log = std::fs::read_to_string(job.file(JobFile::Log)).expect("a log");
    assert!(log.contains("starts on") && log.contains("painted"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_goes_through_the_jump_host() {
    let before = CLUSTER.logged("jump.log", "Accepted publickey");
    let mut settings = CLUSTER.deployed("jump");
    settings.ssh.host = "cluster-behind-jump".to_owned();
    let server = Server::start(settings).await;
    server.generate().await.painting();
    assert_eq!(CLUSTER.logged("jump.log", "Accepted publickey") - before, 1, "one connection through the jump host");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_frames_share_one_connection_and_each_has_its_own_sbatch() {
    let mut settings = CLUSTER.deployed("many");
    settings.limits.max_in_flight = 6;
    let server = Server::start(settings).await;
    let before = server.counters().await;
    let frames = futures_util::future::join_all((0..6).map(|_| server.generate())).await;
    let mut ids: Vec<_> = frames.iter().map(|frame| frame.painting()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let after = server.counters().await;
    assert_eq!(after["sbatch"].as_u64().expect("a count") - before["sbatch"].as_u64().expect("a count"), 6);
    assert_eq!(after["transport"]["connections"], 1);
    assert_eq!(after["transport"]["channels"], 2, "one for SFTP, one for the shell");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transports_and_schedulers_combine_freely() {
    let mut settings = CLUSTER.deployed("ssh-process");
    settings.cluster.scheduler = SchedulerKind::Process;
    let server = Server::start(settings).await;
    server.generate().await.painting();
    server.stop().await;

    // As on a login node that has the filesystem mounted and Slurm at hand.
    let mut settings = CLUSTER.deployed("local-slurm");
    settings.cluster.transport = TransportKind::Local;
    let config = CLUSTER.folder.join("slurm.conf");
    let script = |command: &str| format!("export SLURM_CONF='{}'; exec {command} \"$@\"", config.display());
    let (sbatch, squeue, scancel) = (script("sbatch"), script("squeue"), script("scancel"));
    settings.slurm.bin =
        CLUSTER.commands("local-slurm", &[("sbatch", &sbatch), ("squeue", &squeue), ("scancel", &scancel)]);
    let server = Server::start(settings).await;
    server.generate().await.painting();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_with_spaces_and_quotes_in_its_path_works() {
    let server = Server::start(CLUSTER.deployed("it's $(a) \"root\"")).await;
    server.generate().await.painting();
    server.stop().await;
}
