//! Requests and frames that cannot be painted: each ends in a result that says why.

use std::fs;
use std::os::unix::fs::symlink;

use livewebcam_jobs::{JobFile, JobId, Stage, State, Status};

use crate::support::{Job, content, data, photo};

#[track_caller]
fn assert_fails(job: &Job, stage: Stage, reason: &str) {
    let ended = job.run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert_eq!(job.state(), State::Concluded(Status::Failed));
    job.assert_reason(reason);
    let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
    assert_eq!(failure.stage, stage);
    assert!(failure.detail.starts_with(reason) && ended.log.contains(&failure.detail), "{}", ended.log);
}

#[test]
fn a_request_of_a_newer_frontend_is_not_guessed_at() {
    let job = Job::with(&photo(), |request| request.version = 2);
    assert_fails(
        &job,
        Stage::Read,
        "the request has version 2, but this runner knows versions up to 1; update the runner",
    );
    // Even where nothing else in it is as it was.
    let job = Job::new(&photo());
    job.write(JobFile::Request, br#"{"version": 7, "frame": {"sides": [96, 72]}}"#);
    assert_fails(
        &job,
        Stage::Read,
        "the request has version 7, but this runner knows versions up to 1; update the runner",
    );
}

#[test]
fn a_request_made_for_another_directory_is_refused() {
    let job = Job::with(&photo(), |request| request.id = JobId::new());
    assert_fails(&job, Stage::Read, "the request belongs to another job");
}

#[test]
fn a_request_that_is_none_is_refused() {
    let job = Job::new(&photo());
    let whole = content(&job.dir.file(JobFile::Request));
    let text = String::from_utf8(whole.clone()).expect("text");
    let wrong_type = text.replace("\"width\": 96", "\"width\": \"96\"");
    let empty_style = text.replace("\"prompt\": \"\"", "\"style\": \" , \"");
    assert!(wrong_type != text && empty_style != text);
    for request in [b"".as_slice(), b"[]", &whole[..40], wrong_type.as_bytes(), empty_style.as_bytes()] {
        let job = Job::new(&photo());
        let text = String::from_utf8_lossy(request).replace(&id_in(&text), &job.id.to_string());
        job.write(JobFile::Request, text.as_bytes());
        assert_fails(&job, Stage::Read, "the job's request cannot be read");
    }
    fs::remove_file(job.dir.file(JobFile::Request)).expect("a request");
    assert_fails(&job, Stage::Read, "the job has no request");
}

fn id_in(request: &str) -> String {
    let request: serde_json::Value = serde_json::from_str(request).expect("JSON");
    request["id"].as_str().expect("an id").to_owned()
}

#[test]
fn links_are_not_followed() {
    for (file, reason) in
        [(JobFile::Request, "the job's request cannot be read"), (JobFile::Input, "the frame cannot be read")]
    {
        let job = Job::new(&photo());
        let moved = job.root.path().join("moved");
        fs::rename(job.dir.file(file), &moved).expect("the same filesystem");
        symlink(&moved, job.dir.file(file)).expect("a link");
        assert_fails(&job, Stage::Read, reason);
    }
}

#[test]
fn a_frame_must_be_what_the_request_says() {
    let job = Job::with(&photo(), |request| request.width = 95);
    assert_fails(&job, Stage::Read, "the frame is 96×72, but the request says 95×72");
    let job = Job::with(&photo(), |request| (request.width, request.height) = (100_000, 100_000));
    assert_fails(&job, Stage::Read, "the frame has 100000×100000 pixels; more than 16777216 are not painted");
    let job = Job::new(&photo());
    fs::remove_file(job.dir.file(JobFile::Input)).expect("a frame");
    assert_fails(&job, Stage::Read, "the job has no frame");
}

#[test]
fn a_frame_must_be_a_whole_png() {
    let mut jpeg = Vec::new();
    photo().write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).expect("a JPEG");
    let png = content(&data("input.png"));
    for frame in [b"".as_slice(), b"no picture", &jpeg, &png[..png.len() / 2]] {
        let job = Job::with(&photo(), |request| (request.width, request.height) = (256, 256));
        job.write(JobFile::Input, frame);
        assert_fails(&job, Stage::Read, "the frame cannot be decoded");
    }
}

#[test]
fn an_unknown_model_or_style_is_answered_with_the_known_ones() {
    let job = Job::with(&photo(), |request| request.model = "someone/else".to_owned());
    assert_fails(&job, Stage::Load, "no model `someone/else` is installed; installed are: starter");
    let job = Job::with(&photo(), |request| {
        request.parameters.style = Some("ver\u{1b}[31mmeer".parse().expect("a blend"));
    });
    let ended = job.run();
    assert!(ended.log.contains("unknown style") && !ended.log.contains('\u{1b}'), "{}", ended.log);
    let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
    assert_eq!(failure.stage, Stage::Paint);
    assert!(
        failure.reason.starts_with("unknown style `ver\u{1b}[31mmeer`; this model has: pastel, "),
        "{}",
        failure.reason
    );
}

#[test]
fn what_the_model_does_not_do_is_told_in_the_result() {
    let job = Job::with(&photo(), |request| {
        request.parameters.steps = Some(4);
        request.parameters.prompt = "a cat in a space suit".to_owned();
    });
    assert_eq!(job.run().code, Some(0));
    let outcome = job.outcome().expect("a result");
    assert_eq!(
        outcome.warnings,
        [
            "the prompt names none of this model's styles; `soft watercolour` is taken",
            "model `starter` has no use for a number of steps; it is ignored",
        ]
    );
    assert_eq!(outcome.parameters.expect("parameters").steps, None);
}
