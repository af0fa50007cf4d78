//! Accidents: jobs that die, answers that get lost, connections that break. No frame is lost without a reason.

use std::process::Command;

use livewebcam_jobs::{JobFile, Status};

use crate::support::{CLUSTER, Server, eventually, install, install_script, is_failure, runner};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_dies_without_a_word_is_a_502_with_its_reason() {
    let settings = CLUSTER.settings("dies");
    install_script(&settings.cluster.root, "echo 'about to die' \u{1b}'[31m'; kill -9 $$");
    let server = Server::start(settings).await;
    let answer = server.generate().await;
    assert_eq!(answer.status, 502);
    let id = answer.job.expect("X-Job-Id");
    let outcome = server.concluded(id).await;
    is_failure(&outcome, "failed on the cluster");
    assert!(answer.error().contains("failed on the cluster"), "{}", answer.error());
    let detail = outcome.failure.expect("a failure").detail;
    assert!(detail.contains("about to die") && !detail.contains('\u{1b}'), "{detail:?}");
    let page = server.job_page(id).await;
    assert!(page.contains("about to die"), "the operator's page shows the end of the log");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_cancels_on_the_cluster_is_a_502() {
    let mut settings = CLUSTER.deployed("scancel");
    settings.slurm.resources.directives = vec!["--hold".to_owned()];
    let server = Server::start(settings).await;
    let root = server.root.clone();
    let cancel = async {
        let id = eventually("a job is submitted", || {
            let id = std::fs::read_dir(root.jobs())
                .ok()?
                .find_map(|entry| entry.ok()?.file_name().to_str()?.parse::<livewebcam_jobs::JobId>().ok())?;
            root.job(id).file(JobFile::Submission).is_file().then_some(id)
        })
        .await;
        CLUSTER.slurm("scancel", &[&format!("--name={}", livewebcam_jobs::BatchJob::Frame(id))]);
    };
    let (answer, ()) = tokio::join!(server.generate(), cancel);
    assert_eq!(answer.status, 502);
    assert!(answer.error().contains("cancelled on the cluster"), "{}", answer.error());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_sbatch_gives_one_painting() {
    let mut settings = CLUSTER.deployed("lost-answer");
    let sbatch = "sbatch \"$@\" >/dev/null; echo 'sbatch: error: Batch job submission failed: Socket timed out on \
                  send/recv operation' >&2; exit 1";
    settings.slurm.bin = CLUSTER.commands("lost-answer", &[("sbatch", sbatch)]);
    let server = Server::start(settings).await;
    let id = server.generate().await.painting();
    assert_eq!(server.jobs(), [id]);
    let counters = server.counters().await;
    assert_eq!(counters["sbatch"], 1, "the job was found by its name and not submitted again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_without_a_job_is_submitted_once_more() {
    let mut settings = CLUSTER.deployed("lost-job");
    let first = CLUSTER.folder.join("lost-job-first");
    let sbatch = format!(
        "if [ -e '{0}' ]; then exec sbatch \"$@\"; fi; touch '{0}'; echo 'sbatch: error: Socket timed out on send/recv \
         operation' >&2; exit 1",
        first.display()
    );
    settings.slurm.bin = CLUSTER.commands("lost-job", &[("sbatch", &sbatch)]);
    let server = Server::start(settings).await;
    server.generate().await.painting();
    assert_eq!(server.counters().await["sbatch"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_squeue_is_not_taken_for_an_end() {
    let mut settings = CLUSTER.settings("squeue");
    install_script(&settings.cluster.root, "sleep 2; exec \"$(dirname \"$0\")/real\" \"$@\"");
    settings.watch.squeue_seconds = 0.2;
    let squeue = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1";
    settings.slurm.bin = CLUSTER.commands("squeue", &[("squeue", squeue)]);
    let server = Server::start(settings).await;
    server.generate().await.painting();
    assert!(server.counters().await["squeue"].as_u64().expect("a count") >= 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_job_submitted_twice_paints_once() {
    let mut settings = CLUSTER.deployed("twice");
    settings.slurm.bin = CLUSTER.commands("twice", &[("sbatch", "sbatch \"$@\" >/dev/null; exec sbatch \"$@\"")]);
    let server = Server::start(settings).await;
    let id = server.generate().await.painting();
    let log = server.root.job(id).file(JobFile::Log);
    let log = eventually("both have started", || {
        let log = std::fs::read_to_string(&log).ok()?;
        (log.matches("starts on").count() == 2 && log.lines().count() >= 4).then_some(log)
    })
    .await;
    assert_eq!(log.matches("painted in").count(), 1, "{log}");
    assert_eq!(server.concluded(id).await.status, Status::Done);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_opened_anew() {
    let mut settings = CLUSTER.deployed("broken");
    // A config of its own tells this server's ssh apart from the other tests'.
    let config = CLUSTER.folder.join("ssh_config-broken");
    std::fs::copy(&settings.ssh.config, &config).expect("a copy of the config");
    settings.ssh.config = config.clone();
    let server = Server::start(settings).await;
    server.generate().await.painting();
    let listed = Command::new("pgrep").arg("-f").arg(&config).output().expect("pgrep runs");
    let masters = String::from_utf8(listed.stdout).expect("numbers");
    assert_eq!(masters.lines().count(), 1, "one master: {masters}");
    let killed = Command::new("kill").arg("-9").arg(masters.trim()).status().expect("kill runs");
    assert!(killed.success());
    assert!(eventually_painted(&server).await, "frames flow again");
    assert_eq!(server.counters().await["transport"]["connections"], 2);
    server.stop().await;
}

async fn eventually_painted(server: &Server) -> bool {
    for _ in 0..20 {
        let answer = server.generate().await;
        if answer.status == 200 {
            answer.painting();
            return true;
        }
        assert_eq!(answer.status, 502, "{}", answer.error());
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_disappears_and_comes_back() {
    let server = Server::start(CLUSTER.deployed("vanishes")).await;
    server.generate().await.painting();
    let aside = server.root.path().with_extension("aside");
    std::fs::rename(server.root.path(), &aside).expect("the root is moved away");
    let answer = server.generate().await;
    assert_eq!(answer.status, 502);
    assert!(answer.error().contains("could not be sent to the cluster"), "{}", answer.error());
    std::fs::rename(&aside, server.root.path()).expect("the root is back");
    install(server.root.path(), &runner());
    server.generate().await.painting();
    server.stop().await;
}
