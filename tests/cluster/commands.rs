//! The operator's command line against the cluster.

use std::path::PathBuf;
use std::process::{Command, Output};

use livewebcam::settings::Settings;
use livewebcam_jobs::Root;

use crate::support::{CLUSTER, Server, install_script, runner};

/// The settings as a file.
fn file(name: &str, settings: &Settings) -> PathBuf {
    let path = CLUSTER.folder.join(format!("settings-{name}.toml"));
    std::fs::write(&path, toml::to_string(settings).expect("TOML")).expect("a settings file");
    path
}

fn livewebcam(settings: &PathBuf, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_livewebcam"))
        .arg("--config")
        .arg(settings)
        .args(arguments)
        .output()
        .expect("livewebcam runs");
    (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn deploy_then_check_find_everything_in_order() {
    let settings = file("deploy", &CLUSTER.settings("deploy"));
    let runner = runner();
    let (success, said) = livewebcam(&settings, &["deploy", "--runner", runner.to_str().expect("a path")]);
    assert!(success, "{said}");
    for step in ["uploaded", "starts    on the login node", "paints    in a job on"] {
        assert!(said.contains(step), "{step:?} is not in {said}");
    }
    let (success, said) = livewebcam(&settings, &["check"]);
    assert!(success, "{said}");
    for step in ["connection", "start files", "root", "writing", "scheduler", "runner", "models"] {
        assert!(said.contains(&format!("ok    {step}")), "{step:?} is not ok in {said}");
    }
}

#[test]
fn check_names_each_step_that_fails() {
    use std::os::unix::fs::PermissionsExt;
    let mut settings = CLUSTER.settings("check");
    settings.slurm.resources.partition = "gpu-of-dreams".to_owned();
    let root = Root::new(&settings.cluster.root);
    std::fs::create_dir_all(root.path()).expect("a root");
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let (success, said) = livewebcam(&file("check", &settings), &["check"]);
    assert!(!success, "{said}");
    let fails = |step: &str, advice: &str| {
        let line = said.lines().find(|line| line.starts_with("FAIL") && line.contains(step));
        let line = line.unwrap_or_else(|| panic!("{step} does not fail in {said}"));
        assert!(line.contains(advice), "{advice:?} is not in {line:?}");
    };
    fails("root", "chmod 700");
    fails("scheduler", "slurm.partition");
    fails("runner", "livewebcam deploy");
    fails("models", "livewebcam deploy");
    assert!(said.contains("ok    writing"), "{said}");
}

#[test]
fn deploy_explains_a_runner_that_does_not_start() {
    let old = CLUSTER.folder.join("old-runner");
    let says = "livewebcam-runner: /lib64/libc.so.6: version `GLIBC_2.38' not found (required by livewebcam-runner)";
    std::fs::write(&old, format!("#!/bin/sh\necho \"{}\" >&2\nexit 1\n", says.replace('`', "\\`"))).expect("a script");
    let settings = file("glibc", &CLUSTER.settings("glibc"));
    let (success, said) = livewebcam(&settings, &["deploy", "--runner", old.to_str().expect("a path")]);
    assert!(!success);
    assert!(said.contains("does not start on the login node") && said.contains("C library is older"), "{said}");

    // One that starts on the login node and not in a job.
    let half = CLUSTER.folder.join("half-runner");
    let script = format!(
        "#!/bin/sh\n[ -n \"$SLURM_JOB_ID\" ] || exec '{}' \"$@\"\necho \"{}\" >&2\nexit 1\n",
        runner().display(),
        says.replace('`', "\\`")
    );
    std::fs::write(&half, script).expect("a script");
    let settings = file("half", &CLUSTER.settings("half"));
    let (success, said) = livewebcam(&settings, &["deploy", "--runner", half.to_str().expect("a path")]);
    assert!(!success);
    assert!(said.contains("the job did not paint") && said.contains("C library is older"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_shown_cancelled_and_cleaned() {
    let settings = CLUSTER.deployed("cli");
    let server = Server::start(settings.clone()).await;
    let done = server.generate().await.painting().to_string();
    server.stop().await;
    let path = file("cli", &settings);
    let (success, said) = livewebcam(&path, &["jobs", "ls"]);
    assert!(success && said.contains(&done) && said.contains("done"), "{said}");
    let (success, said) = livewebcam(&path, &["jobs", "show", &done]);
    assert!(success && said.contains("starry night") && said.contains("slurm.log"), "{said}");
    let (success, said) = livewebcam(&path, &["jobs", "cancel", &done]);
    assert!(!success && said.contains("has already ended"), "{said}");
    let (success, said) = livewebcam(&path, &["jobs", "clean"]);
    assert!(success && said.contains("removed 1"), "{said}");
    let (success, said) = livewebcam(&path, &["jobs", "show", &done]);
    assert!(!success && said.contains("there is no job"), "{said}");
}

#[test]
fn submit_sends_a_photograph_through() {
    let settings = file("submit", &CLUSTER.deployed("submit"));
    let output = CLUSTER.folder.join("submitted.png");
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/photos/coffee.png");
    let arguments = ["submit", photo, "--start", "--style", "embers", "--output", output.to_str().expect("a path")];
    let (success, said) = livewebcam(&settings, &arguments);
    assert!(success, "{said}");
    assert!(
        said.contains("transport ssh") && said.contains("scheduler slurm") && said.contains("model starter"),
        "{said}"
    );
    assert!(image::open(&output).is_ok());

    let broken = CLUSTER.settings("submit-broken");
    install_script(&broken.cluster.root, "exit 3");
    let (success, said) = livewebcam(&file("submit-broken", &broken), &arguments);
    assert!(!success && said.contains("502"), "{said}");
}
