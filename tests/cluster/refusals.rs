//! A cluster that says no: each refusal is a clear error that says what to do.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use livewebcam::settings::Settings;

use crate::support::{CLUSTER, Server};

/// The test cluster's ssh config with one line replaced.
fn config_with(name: &str, keyword: &str, value: &str) -> PathBuf {
    let config = std::fs::read_to_string(CLUSTER.folder.join("ssh_config")).expect("the ssh config");
    let replaced: Vec<String> = config
        .lines()
        .map(|line| {
            if line.split_whitespace().next() == Some(keyword) {
                format!("    {keyword} {value}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    assert_ne!(replaced.join("\n"), config.trim_end(), "{keyword} is in the config");
    let path = CLUSTER.folder.join(format!("ssh_config-{name}"));
    std::fs::write(&path, replaced.join("\n") + "\n").expect("an ssh config");
    path
}

async fn refusal(settings: Settings) -> String {
    match Server::try_start(settings).await {
        Ok(server) => {
            server.stop().await;
            panic!("the server started")
        }
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_listen() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut settings = CLUSTER.settings("deaf");
    settings.ssh.config = config_with("deaf", "Port", &free.to_string());
    let error = refusal(settings).await;
    assert!(error.contains("nothing listens there") && error.contains("Connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nobody_knows() {
    let mut settings = CLUSTER.settings("nowhere");
    settings.ssh.config = config_with("nowhere", "HostName", "nowhere.invalid");
    let error = refusal(settings).await;
    assert!(error.contains("its name is unknown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_accepts_the_connection_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let mut settings = CLUSTER.settings("silent");
    settings.ssh.config = config_with("silent", "Port", &port.to_string());
    settings.deadlines.connect = 1.5;
    let error = refusal(settings).await;
    assert!(error.contains("it does not answer") || error.contains("banner exchange"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused() {
    let key = CLUSTER.folder.join("stranger");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen runs").success());
    let mut settings = CLUSTER.settings("stranger");
    settings.ssh.config = config_with("stranger", "IdentityFile", &key.to_string_lossy());
    let error = refusal(settings).await;
    assert!(error.contains("it refused the key") && error.contains("BatchMode=yes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_has_changed() {
    let known = std::fs::read_to_string(CLUSTER.folder.join("known_hosts")).expect("known hosts");
    let own = std::fs::read_dir(CLUSTER.folder.join("keys")).expect("the keys");
    // Another valid key in the host's place: the visitor's own public key.
    let public = own
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find(|key| !known.contains(key.split_whitespace().nth(1).unwrap_or_default()))
        .expect("a key that is no host's");
    let changed: Vec<String> = known
        .lines()
        .map(|line| {
            let host = line.split_whitespace().next().expect("a host");
            let key: Vec<&str> = public.split_whitespace().take(2).collect();
            format!("{host} {}", key.join(" "))
        })
        .collect();
    let path = CLUSTER.folder.join("known_hosts-changed");
    std::fs::write(&path, changed.join("\n") + "\n").expect("known hosts");
    let mut settings = CLUSTER.settings("changed");
    settings.ssh.config = config_with("changed", "UserKnownHostsFile", &path.to_string_lossy());
    let error = refusal(settings).await;
    assert!(error.contains("its host key has changed") && error.contains("ssh-keygen -R"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_is_unknown() {
    let empty = CLUSTER.folder.join("known_hosts-empty");
    std::fs::write(&empty, "").expect("a file");
    let mut settings = CLUSTER.settings("unknown");
    settings.ssh.config = config_with("unknown", "UserKnownHostsFile", &empty.to_string_lossy());
    let error = refusal(settings).await;
    assert!(error.contains("its host key is unknown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_files_that_print() {
    let mut settings = CLUSTER.settings("noisy");
    settings.ssh.host = "cluster-noisy".to_owned();
    settings.deadlines.connect = 5.0;
    let error = refusal(settings).await;
    assert!(error.contains("SSH works but SFTP does not") && error.contains("start files"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_runner_on_the_cluster() {
    let error = refusal(CLUSTER.settings("no-runner")).await;
    assert!(error.contains("there is no runner at") && error.contains("livewebcam deploy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_cannot_be_made() {
    let mut settings = CLUSTER.settings("file");
    let file = CLUSTER.folder.join("a-file");
    std::fs::write(&file, "").expect("a file");
    settings.cluster.root = file.join("root");
    let error = refusal(settings).await;
    assert!(error.contains("check cluster.root and its permissions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_there() {
    let mut settings = CLUSTER.deployed("partition");
    settings.slurm.resources.partition = "gpu-of-dreams".to_owned();
    let server = Server::start(settings).await;
    let answer = server.generate().await;
    assert_eq!(answer.status, 502);
    assert!(answer.error().contains("its operator has to change a setting"), "{}", answer.error());
    let outcome = server.concluded(answer.job.expect("X-Job-Id")).await;
    let detail = outcome.failure.expect("a failure").detail;
    assert!(detail.contains("slurm.partition") && detail.contains("invalid partition"), "{detail}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_frontend() {
    let settings = CLUSTER.deployed("second");
    let first = Server::start(settings.clone()).await;
    let error = refusal(settings.clone()).await;
    assert!(error.contains("another frontend") && error.contains("serves this root"), "{error}");
    first.generate().await.painting();
    first.stop().await;
    let next = Server::start(settings).await;
    next.generate().await.painting();
    next.stop().await;
}
