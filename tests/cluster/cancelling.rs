//! Frames that nobody wants any more.

use std::time::Duration;

use livewebcam_jobs::{BatchJob, JobFile, Marker, Status};

use crate::support::{CLUSTER, Server, eventually, install_script};

fn known_to_slurm(name: &str) -> bool {
    let listed = CLUSTER.slurm("squeue", &["--noheader", "--format=%T", &format!("--name={name}")]);
    listed.lines().any(|state| matches!(state, "PENDING" | "RUNNING"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_leaves_takes_the_running_job_along() {
    let settings = CLUSTER.settings("leaves");
    install_script(&settings.cluster.root, "exec sleep 600");
    let server = Server::start(settings).await;
    let visit = tokio::time::timeout(Duration::from_secs(3), server.generate()).await;
    assert!(visit.is_err(), "the visitor left before an answer");
    let id = server.jobs()[0];
    let outcome = server.concluded(id).await;
    assert_eq!(outcome.status, Status::Cancelled);
    eventually("Slurm has ended the job", || (!known_to_slurm(&BatchJob::Frame(id).to_string())).then_some(())).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_claimed_by_the_frontend_and_never_paints() {
    let mut settings = CLUSTER.deployed("waits");
    // A held job waits for ever.
    settings.slurm.resources.directives = vec!["--hold".to_owned()];
    settings.deadlines.job = 2.0;
    let server = Server::start(settings).await;
    let answer = server.generate().await;
    assert_eq!(answer.status, 504, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.job.expect("X-Job-Id");
    let outcome = server.concluded(id).await;
    assert_eq!(outcome.status, Status::Cancelled);
    assert!(!server.root.job(id).file(JobFile::Output).exists());
    eventually("Slurm has dropped the job", || (!known_to_slurm(&BatchJob::Frame(id).to_string())).then_some(())).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_frontend_cancels_what_its_predecessor_left() {
    let mut settings = CLUSTER.deployed("restart");
    settings.slurm.resources.directives = vec!["--hold".to_owned()];
    let first = Server::start(settings.clone()).await;
    // The predecessor's end cannot be a crash inside this process, so its job is made to look like one: a directory without
    // a result and a job in Slurm's queue.
    let visit = tokio::time::timeout(Duration::from_secs(2), first.generate()).await;
    assert!(visit.is_err());
    let id = first.jobs()[0];
    first.concluded(id).await;
    let root = first.root.clone();
    first.stop().await;
    let job = root.job(id);
    for file in [JobFile::Claim, JobFile::Outcome] {
        std::fs::remove_file(job.file(file)).expect("the file was there");
    }
    let queued = root.marker(&Marker::Queued { model_key: "starter".to_owned() }, id);
    std::fs::write(&queued, "").expect("a marker");
    let slurm_job = CLUSTER.slurm(
        "sbatch",
        &[
            "--parsable",
            &format!("--chdir={}", job.path().display()),
            job.file(JobFile::Script).to_str().expect("a path"),
        ],
    );
    assert!(!slurm_job.trim().is_empty());
    assert!(known_to_slurm(&BatchJob::Frame(id).to_string()));

    let second = Server::start(settings).await;
    let outcome = second.concluded(id).await;
    assert_eq!(outcome.status, Status::Cancelled);
    assert!(!queued.exists());
    eventually("Slurm has dropped the job", || (!known_to_slurm(&BatchJob::Frame(id).to_string())).then_some(())).await;
    second.stop().await;
}
