//! Warm runners in Slurm: one sbatch for many frames, gone when nobody watches, and whatever ends one early costs no frame.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use livewebcam::settings::{PolicyChoice, Settings};
use livewebcam_jobs::{
    Author, BatchJob, Claim, Heartbeat, JobFile, JobId, Phase, Progress, Request, Root, RunnerFile, RunnerId,
    RunnerState, Status, local,
};

use crate::models::install;
use crate::support::{Answer, CLUSTER, Server, eventually};

/// A model that takes a while, and what makes it do so.
const SLOW: &str = "tiny/sd15";
const LONG: [(&str, &str); 4] = [("model", SLOW), ("prompt", "a cat"), ("steps", "150"), ("strength", "1")];

fn known_to_slurm(runner: RunnerId) -> bool {
    let name = format!("--name={}", BatchJob::Runner(runner));
    let listed = CLUSTER.slurm("squeue", &["--noheader", "--format=%T", &name]);
    listed.lines().any(|state| matches!(state, "PENDING" | "RUNNING" | "COMPLETING"))
}

fn warm(name: &str, runners: usize) -> Settings {
    let mut settings = CLUSTER.deployed(name);
    settings.cluster.policy = PolicyChoice::Warm;
    settings.warm.max_runners = runners;
    settings
}

fn claim(root: &Root, id: JobId) -> Option<Claim> {
    local::read_json(&root.job(id).file(JobFile::Claim)).expect("a readable claim")
}

/// The runner that claimed a job, and its process.
fn claimant(root: &Root, id: JobId) -> (RunnerId, u32) {
    match claim(root, id).expect("a claim").author {
        Author::Runner { runner: Some(runner), pid, slurm_job_id: Some(_), .. } => (runner, pid),
        other => panic!("{other:?} is no warm runner in Slurm"),
    }
}

fn heartbeat(root: &Root, runner: RunnerId) -> Option<Heartbeat> {
    local::read_json(&root.warm_runner(runner).file(RunnerFile::Heartbeat)).expect("a readable heartbeat")
}

/// Does something to the runner that paints the first frame, in the middle of it.
async fn in_the_middle(server: &Server, accident: impl FnOnce(RunnerId, u32)) -> Answer {
    let accident = async {
        let painting = || {
            let id = *server.jobs().first()?;
            let progress = server.root.job(id).file(JobFile::Progress);
            let progress: Progress = local::read_json(&progress).expect("readable progress")?;
            (progress.phase == Phase::Paint && progress.step > 0).then_some(id)
        };
        let id = eventually("the frame is being painted", painting).await;
        let (runner, pid) = claimant(&server.root, id);
        accident(runner, pid);
    };
    tokio::join!(server.generate_with(&LONG), accident).0
}

/// The answer is the second attempt's; the first one's directory stays, and says why.
fn was_tried_again(server: &Server, answer: &Answer) -> (JobId, JobId) {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let [first, second] = server.jobs()[..] else { panic!("{:?}", server.jobs()) };
    assert_eq!(answer.job, Some(second));
    let request: Request =
        local::read_json(&server.root.job(second).file(JobFile::Request)).expect("readable").expect("a request");
    assert_eq!(request.retry_of, Some(first));
    assert_eq!(server.outcome(first).expect("a result").status, Status::Failed);
    assert_ne!(claimant(&server.root, first).0, claimant(&server.root, second).0);
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sbatch_paints_many_frames_and_the_runner_leaves_when_nobody_watches() {
    let mut settings = warm("warm", 1);
    settings.warm.idle_exit = 2;
    let server = Server::start(settings).await;
    let ids: Vec<JobId> =
        futures_util::future::join_all((0..6).map(|_| server.generate())).await.iter().map(Answer::painting).collect();
    let (runner, _) = claimant(&server.root, ids[0]);
    for id in &ids {
        assert_eq!(claimant(&server.root, *id).0, runner);
    }
    let counters = server.counters().await;
    assert_eq!(counters["sbatch"], 1);
    assert_eq!(counters["transport"]["connections"], 1);
    assert_eq!(counters["transport"]["channels"], 2, "one for SFTP, one for the shell");
    let left = || heartbeat(&server.root, runner).filter(|beat| matches!(beat.state, RunnerState::Left { .. }));
    assert_eq!(eventually("the runner leaves", left).await.painted, 6);
    eventually("Slurm's job ends", || (!known_to_slurm(runner)).then_some(())).await;
    // Nobody asks Slurm any more either.
    eventually_quiet(&server).await;
    server.generate().await.painting();
    assert_eq!(server.counters().await["sbatch"], 2);
    server.stop().await;
}

/// Waits until squeue is no longer called: not for four of its intervals.
async fn eventually_quiet(server: &Server) {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let before = server.counters().await["squeue"].clone();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if server.counters().await["squeue"] == before {
            return;
        }
        assert!(Instant::now() < end, "squeue is called although nothing runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_takes_no_frame_along() {
    let settings = warm("warm-killed", 1);
    install(&Root::new(&settings.cluster.root), "sd15");
    let server = Server::start(settings).await;
    let answer = in_the_middle(&server, |_, pid| {
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(killed.expect("kill runs").success());
    })
    .await;
    let (first, _) = was_tried_again(&server, &answer);
    let reason = server.outcome(first).and_then(|outcome| outcome.failure).expect("a failure").reason;
    assert!(reason.contains("ended without a result"), "{reason}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_slurm_ends_hands_its_frame_back() {
    let settings = warm("warm-scancel", 1);
    install(&Root::new(&settings.cluster.root), "sd15");
    let server = Server::start(settings).await;
    let answer = in_the_middle(&server, |runner, _| {
        CLUSTER.slurm("scancel", &["--full", &format!("--name={}", BatchJob::Runner(runner))]);
    })
    .await;
    let (first, _) = was_tried_again(&server, &answer);
    let failure = server.outcome(first).and_then(|outcome| outcome.failure).expect("a failure");
    assert!(failure.handed_back, "{failure:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_leaves_before_its_time_limit_and_another_one_goes_on() {
    let mut settings = warm("warm-limit", 1);
    // It leaves ten seconds and two frames before it.
    settings.warm.time_limit = "00:00:14".to_owned();
    let server = Server::start(settings).await;
    let mut runners = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(60);
    while runners.len() < 2 {
        runners.insert(claimant(&server.root, server.generate().await.painting()).0);
        assert!(Instant::now() < end, "the runner stays");
    }
    let left = runners.iter().filter_map(|runner| match heartbeat(&server.root, *runner)?.state {
        RunnerState::Left { why } => Some(why),
        _ => None,
    });
    let left: Vec<String> = left.collect();
    assert!(left.iter().any(|why| why.contains("time limit")), "{left:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_on_two_nodes_race_for_frames_and_each_is_painted_once() {
    let server = Server::start(warm("warm-race", 4)).await;
    let mut runners = BTreeSet::new();
    let mut painted = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(60);
    while runners.len() < 4 {
        let answers = futures_util::future::join_all((0..12).map(|_| server.generate())).await;
        for id in answers.iter().map(Answer::painting) {
            assert!(painted.insert(id), "two visitors got the same job");
            runners.insert(claimant(&server.root, id).0);
        }
        assert!(Instant::now() < end, "{} runners", runners.len());
    }
    assert_eq!(server.jobs(), Vec::from_iter(painted));
    assert_eq!(server.counters().await["sbatch"], 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_take_turns_where_there_is_one_runner() {
    let settings = warm("warm-models", 1);
    install(&Root::new(&settings.cluster.root), "sd15");
    let server = Server::start(settings).await;
    let other = [("model", SLOW), ("prompt", "a cat"), ("steps", "2")];
    for _ in 0..2 {
        let (starter, diffusion) = tokio::join!(server.generate(), server.generate_with(&other));
        starter.painting();
        assert_eq!(diffusion.status, 200, "{}", String::from_utf8_lossy(&diffusion.body));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runners_of_a_frontend_that_died_are_ended_by_the_next() {
    let settings = warm("warm-restart", 1);
    let first = Server::start(settings.clone()).await;
    let (runner, _) = claimant(&first.root, first.generate().await.painting());
    let root = first.root.clone();
    first.stop().await;
    eventually("a frontend that ends takes its runners along", || (!known_to_slurm(runner)).then_some(())).await;
    // It cannot crash inside this process, so its runner is brought back by hand.
    let directory = root.warm_runner(runner);
    let script = directory.file(RunnerFile::Script);
    for file in [RunnerFile::Heartbeat, RunnerFile::Claim] {
        std::fs::remove_file(directory.file(file)).expect("the file was there");
    }
    let chdir = format!("--chdir={}", directory.path().display());
    CLUSTER.slurm("sbatch", &["--parsable", &chdir, script.to_str().expect("a path")]);
    eventually("the runner is back", || heartbeat(&root, runner)).await;
    let second = Server::start(settings).await;
    eventually("Slurm has ended it", || (!known_to_slurm(runner)).then_some(())).await;
    second.generate().await.painting();
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_cannot_start_yet_is_seen_and_its_frame_has_a_deadline() {
    let mut settings = warm("warm-held", 1);
    settings.slurm.resources.directives = vec!["--hold".to_owned()];
    settings.deadlines.job = 3.0;
    let server = Server::start(settings).await;
    let (answer, state) = tokio::join!(server.generate(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.info().await["runners"][0]["state"].clone()
    });
    assert_eq!((answer.status, state.as_str()), (504, Some("pending")));
    assert_eq!(server.concluded(answer.job.expect("a job")).await.status, Status::Cancelled);
    server.stop().await;
}
