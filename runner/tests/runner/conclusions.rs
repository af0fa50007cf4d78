//! How a claimed job ends when it does not end well: always in a result, never in half a picture.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use image::RgbImage;
use livewebcam_jobs::{Author, Failure, JobFile, Marker, Outcome, Stage, State, Status, Timings, local};

use crate::support::{Ended, Job, content, large_frame, photo};

#[test]
fn a_job_cancelled_before_it_begins_is_not_painted() {
    let job = Job::new(&photo());
    job.write(JobFile::Cancel, b"");
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.state(), State::Concluded(Status::Cancelled));
    job.assert_reason("nobody wants the painting any more");
}

#[test]
fn a_job_cancelled_while_it_is_painted_ends_early() {
    let job = Job::new(&large_frame());
    let running = job.start();
    job.write(JobFile::Cancel, b"");
    assert_eq!(running.end().code, Some(0));
    assert_eq!(job.state(), State::Concluded(Status::Cancelled));
    job.assert_reason("nobody wants the painting any more");
}

#[test]
fn a_runner_that_is_told_to_stop_concludes_first() {
    for (signal, code) in [("TERM", 128 + 15), ("INT", 128 + 2)] {
        let job = Job::new(&large_frame());
        let mut running = job.start();
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        assert_eq!(job.state(), State::Concluded(Status::Failed));
        job.assert_reason("the runner was told to stop");
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        assert_eq!(failure.stage, Stage::Paint);
    }
}

#[test]
fn a_signal_that_carries_a_cancellation_ends_in_cancelled() {
    let job = Job::new(&large_frame());
    let mut running = job.start();
    job.write(JobFile::Cancel, b"");
    running.signal("TERM");
    running.end();
    assert_eq!(job.state(), State::Concluded(Status::Cancelled));
}

#[test]
fn a_result_that_the_frontend_wrote_meanwhile_stands() {
    // Large enough not to be finished before the result is there, and small enough to be waited for.
    let job = Job::new(&image::imageops::crop_imm(&large_frame(), 0, 0, 1280, 1280).to_image());
    let running = job.start();
    let outcome = Outcome {
        status: Status::Failed,
        author: Author::Frontend { instance: "f00d".to_owned() },
        model: "starter".to_owned(),
        output: None,
        failure: Some(Failure::new(Stage::Wait, "gone", "")),
        parameters: None,
        loading: None,
        clamped: Vec::new(),
        timings: Timings::default(),
        warnings: Vec::new(),
    };
    assert!(local::publish_exclusively(&job.dir.file(JobFile::Outcome), &local::to_json(&outcome)).expect("written"));
    let ended = running.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.contains("somebody has concluded it meanwhile"), "{}", ended.log);
    assert_eq!(job.outcome(), Some(outcome));
    assert!(!job.has(JobFile::Output) && !job.marked(&Marker::Running) && !job.marked(&Marker::Done));
}

/// The job under a limit of the size of files, in blocks of 512 bytes: to the runner, a full disk.
fn run_on_a_small_disk(job: &Job, blocks: u32) -> Ended {
    let script = format!("ulimit -f {blocks}; exec \"$0\" run --job \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_livewebcam-runner")]).arg(job.dir.path());
    command.stderr(Stdio::piped()).output().expect("a shell").into()
}

#[test]
fn a_full_disk_ends_in_a_failure_and_not_in_half_a_picture() {
    // The picture does not fit; or it fits, and the result does not, until it is cut short.
    for (frame, blocks) in [(photo(), 1), (photo(), 8), (RgbImage::new(1, 1), 1)] {
        let job = Job::new(&frame);
        let ended = run_on_a_small_disk(&job, blocks);
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert_eq!(job.state(), State::Concluded(Status::Failed));
        job.assert_reason("the cluster's disk or quota is full");
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        assert_eq!(failure.stage, Stage::Write);
    }
}

#[test]
fn a_full_disk_that_holds_no_claim_either_leaves_the_job_to_the_frontend() {
    let job = Job::new(&photo());
    let ended = run_on_a_small_disk(&job, 0);
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("cannot claim the job"), "{}", ended.log);
    assert_eq!(job.state(), State::Queued);
    assert_eq!(job.listing(), ["input.png", "request.json"]);
}

#[test]
fn a_link_in_place_of_the_picture_is_replaced_and_not_followed() {
    let job = Job::new(&photo());
    let target = job.root.path().join("precious");
    std::fs::write(&target, "precious").expect("a file");
    symlink(&target, job.dir.file(JobFile::Output)).expect("a link");
    symlink(&target, job.dir.file(JobFile::Progress)).expect("a link");
    assert_eq!(job.run().code, Some(0));
    assert_eq!(content(&target), b"precious");
    assert!(job.dir.file(JobFile::Output).symlink_metadata().expect("a picture").is_file());
}
