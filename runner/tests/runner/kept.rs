//! What a job leaves for the next one: packed weights and embedded prompts, in the tree and in the log.

use std::fs;
use std::process::{Command, Output};

use livewebcam_jobs::{Parameters, State, Status};

use crate::diffusion::{installed, job, stderr};
use crate::support::{Ended, Job, runner};

fn replay(job: &Job) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("again.png");
    let replay = runner().args(["replay", "--job"]).arg(job.dir.path()).arg("--output").arg(output).output();
    replay.expect("the runner starts")
}

fn verify(job: &Job) -> (bool, String) {
    let output = runner().args(["models", "--verify", "--root"]).arg(job.root.path()).output();
    let output = output.expect("the runner starts");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn a_job_packs_the_weights_for_the_next_one_and_says_so() {
    let job = job("sdturbo", Parameters { prompt: "a cat".to_owned(), ..Parameters::default() });
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for component in ["unet", "vae", "text_encoder"] {
        let kept = installed(&job).join(component).join(".livewebcam/f32.weights");
        assert!(kept.is_file());
        assert!(ended.log.contains(&format!("{component}: packed in ")), "{}", ended.log);
        assert!(ended.log.contains(&format!("and kept as {}", kept.display())), "{}", ended.log);
    }
    assert_eq!(job.outcome().expect("a result").warnings, [""; 0]);
    let again = replay(&job);
    assert!(again.status.success() && !stderr(&again).contains("pack"), "{}", stderr(&again));

    assert_eq!(verify(&job), (true, "starter: nothing is wrong\nsome/model: nothing is wrong\n".to_owned()));
    let packed = installed(&job).join("unet/.livewebcam/f32.weights");
    let mut damaged = fs::read(&packed).expect("weights");
    let end = damaged.len() - 1;
    damaged[end] ^= 1;
    fs::write(&packed, damaged).expect("written");
    let (well, report) = verify(&job);
    assert!(!well && report.contains("some/model: ") && report.contains("is damaged; remove the file"), "{report}");
}

#[test]
fn a_models_folder_that_cannot_be_written_to_has_the_trees_cache() {
    let job = job("sdturbo", Parameters::default());
    for folder in ["", "unet", "vae", "text_encoder"] {
        fs::write(installed(&job).join(folder).join(".livewebcam"), "").expect("a file");
    }
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let cache = job.root.path().join("cache/some/model");
    assert!(cache.join("unet/f32.weights").is_file() && cache.join("prompts").is_dir());
    assert!(!stderr(&replay(&job)).contains("packed in"));
}

#[test]
fn a_full_disk_costs_time_and_no_picture() {
    let job = job("sdturbo", Parameters::default());
    // Files of more than 300 kB cannot be written: no packed weights, but a picture.
    let limited = "trap '' XFSZ; ulimit -f 600; exec \"$0\" run --job \"$1\"";
    let binary = env!("CARGO_BIN_EXE_livewebcam-runner");
    let ended: Ended =
        Command::new("sh").args(["-c", limited, binary]).arg(job.dir.path()).output().expect("a shell").into();
    assert_eq!((ended.code, job.state()), (Some(0), State::Concluded(Status::Done)), "{}", ended.log);
    assert!(ended.log.contains("it cannot be written (File too large"), "{}", ended.log);
    assert!(ended.log.contains("unet: the weights are packed in memory"), "{}", ended.log);
    let kept: Vec<_> = fs::read_dir(installed(&job).join("unet/.livewebcam"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(kept, ["lock"]);
}
