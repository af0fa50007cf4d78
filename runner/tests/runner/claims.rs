//! Who paints: exactly one, once.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use livewebcam_jobs::{Author, Claim, JobDir, JobFile, JobId, Marker, Output, State, Status, local};
use sha2::{Digest, Sha256};

use crate::support::{Job, content, large_frame, photo};

#[test]
fn a_job_is_painted_and_its_directory_tells_the_story() {
    let frame = photo();
    let job = Job::new(&frame);
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(
        job.listing(),
        ["claim.json", "input.png", "output.png", "progress.json", "request.json", "result.json"]
    );
    let outcome = job.outcome().expect("a result");
    assert_eq!((outcome.status, outcome.model.as_str()), (Status::Done, "starter"));
    let picture = content(&job.dir.file(JobFile::Output));
    let sha256 = Sha256::digest(&picture).iter().map(|byte| format!("{byte:02x}")).collect();
    let (bytes, (width, height)) = (picture.len() as u64, frame.dimensions());
    assert_eq!(outcome.output, Some(Output { bytes, sha256, width, height }));
    let painting = image::load_from_memory(&picture).expect("a picture").into_rgb8();
    assert_eq!(painting.dimensions(), frame.dimensions());
    assert_ne!(painting, frame);
    let parameters = outcome.parameters.expect("parameters");
    assert_eq!(parameters.style.map(|style| style.to_string()).as_deref(), Some("soft watercolour"));
    assert_eq!(parameters.strength, Some(1.0));
    let claim: Claim = local::read_json(&job.dir.file(JobFile::Claim)).expect("a claim").expect("a claim");
    assert_eq!(claim.author, outcome.author);
    let timings = outcome.timings;
    let parts = timings.load_ms + timings.paint_ms + timings.write_ms;
    assert!(parts > 0.0 && parts <= timings.total_ms, "{timings:?}");
    assert_eq!(job.markers(), [false, false, true]);
}

#[test]
fn a_second_start_paints_nothing_and_says_so() {
    let job = Job::new(&photo());
    job.run();
    let before = [JobFile::Output, JobFile::Outcome, JobFile::Claim].map(|file| content(&job.dir.file(file)));
    let again = job.run();
    assert_eq!(again.code, Some(0));
    assert_eq!(again.log.lines().count(), 1);
    assert!(again.log.contains("concluded already (done); nothing is painted"), "{}", again.log);
    let after = [JobFile::Output, JobFile::Outcome, JobFile::Claim].map(|file| content(&job.dir.file(file)));
    assert_eq!(before, after);
}

#[test]
fn of_several_claimants_at_once_exactly_one_paints() {
    for _ in 0..3 {
        let job = Job::new(&photo());
        let claimants: Vec<_> = (0..4).map(|_| job.command().spawn().expect("the runner starts")).collect();
        let outputs = claimants.into_iter().map(|claimant| claimant.wait_with_output().expect("an end"));
        let logs: Vec<String> = outputs
            .map(|output| {
                assert!(output.status.success());
                String::from_utf8(output.stderr).expect("a log is text")
            })
            .collect();
        let count = |text: &str| logs.iter().filter(|log| log.contains(text)).count();
        assert_eq!((count("painted in"), count("nothing is painted")), (1, 3), "{logs:#?}");
        assert_eq!(job.state(), State::Concluded(Status::Done));
    }
}

#[test]
fn a_job_that_the_frontend_claimed_is_left_alone() {
    let job = Job::new(&photo());
    let claim = Claim { author: Author::Frontend { instance: "f00d".to_owned() }, nonce: "1".to_owned() };
    job.write(JobFile::Claim, &local::to_json(&claim));
    let ended = job.run();
    assert_eq!(ended.code, Some(0));
    assert!(ended.log.contains("claimed already by frontend f00d; nothing is painted"), "{}", ended.log);
    assert!(!job.has(JobFile::Output) && !job.has(JobFile::Outcome) && job.marked(&job.queued()));
}

#[test]
fn a_link_where_the_claim_belongs_is_a_claim() {
    let job = Job::new(&photo());
    symlink(job.root.path().join("nowhere"), job.dir.file(JobFile::Claim)).expect("a link");
    let ended = job.run();
    assert!(ended.log.contains("claimed already by somebody; nothing is painted"), "{}", ended.log);
    assert!(!job.has(JobFile::Output) && !job.root.path().join("nowhere").exists());
}

#[test]
fn half_written_temporary_files_count_for_nothing() {
    let job = Job::new(&photo());
    for name in ["claim.json", "result.json", "output.png", "request.json", "cancel"] {
        fs::write(job.dir.path().join(format!(".tmp-{name}-00c0ffee00c0ffee")), "{\"status\": \"do").expect("a file");
    }
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.state(), State::Concluded(Status::Done));
}

#[test]
fn a_killed_runner_leaves_a_claim_and_no_half_picture() {
    let job = Job::new(&large_frame());
    let mut running = job.start();
    assert!(job.marked(&Marker::Running) && !job.marked(&job.queued()));
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    assert_eq!(job.state(), State::Running);
    assert!(!job.has(JobFile::Output));
    let again = job.run();
    assert_eq!(again.code, Some(0));
    assert!(again.log.contains("claimed already by process"), "{}", again.log);
    assert_eq!(job.state(), State::Running);
}

#[test]
fn markers_are_only_an_index() {
    let job = Job::new(&photo());
    fs::remove_file(job.root.marker(&job.queued(), job.id)).expect("a marker");
    assert_eq!(job.run().code, Some(0));
    assert!(job.marked(&Marker::Done) && !job.marked(&Marker::Running));
}

#[test]
fn a_job_directory_outside_a_tree_is_painted_too() {
    let job = Job::new(&photo());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let moved = elsewhere.path().join(job.id.to_string());
    fs::rename(job.dir.path(), &moved).expect("the same filesystem");
    let ended = crate::support::runner().current_dir(&moved).args(["run", "--job", "."]).stderr(Stdio::null()).status();
    assert!(ended.expect("the runner starts").success());
    assert!(JobDir::at(&moved).file(JobFile::Output).is_file());
    assert_eq!(fs::read_dir(elsewhere.path()).expect("a listing").count(), 1);
}

#[test]
fn what_is_no_job_directory_is_refused() {
    let job = Job::new(&photo());
    let link = job.root.jobs().join(JobId::new().to_string());
    symlink(job.dir.path(), &link).expect("a link");
    let named = job.root.jobs().join("not-an-id");
    fs::create_dir(&named).expect("a folder");
    for (path, message) in [
        (link, "is not a job directory"),
        (named, "not a job id"),
        (job.root.jobs().join(JobId::new().to_string()), "No such file or directory"),
    ] {
        let ended = crate::support::runner().args(["run", "--job"]).arg(&path).output().expect("the runner starts");
        let log = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && log.contains(message), "{log}");
    }
    assert_eq!(job.state(), State::Queued);
}
