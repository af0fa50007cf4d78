//! What a start finds and tidies, and what the sweeper keeps.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livewebcam::settings::PolicyChoice;
use livewebcam_jobs::{Author, JobFile, JobId, Marker, RunnerId, Status};

use crate::pictures;
use crate::runners::SLEEP;
use crate::site::Site;
use crate::tree::{Tree, eventually, names};

fn queued() -> Marker {
    Marker::Queued { model_key: "starter".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_cancels_what_was_left_unfinished_and_empties_the_index() {
    let tree = Arc::new(Tree::new());
    let staged = tree.stage(|_| {});
    tree.mark(&queued(), staged);
    let claimed = tree.stage(|_| {});
    let claim = r#"{"by": "runner", "host": "node7", "pid": 1, "nonce": "0"}"#;
    fs::write(tree.dir(claimed).file(JobFile::Claim), claim).expect("a claim");
    tree.mark(&Marker::Running, claimed);
    let damaged = tree.stage(|_| {});
    fs::write(tree.dir(damaged).file(JobFile::Request), "{").expect("a request");
    tree.mark(&Marker::Queued { model_key: "gone".to_owned() }, damaged);
    let done = tree.stage(|_| {});
    tree.conclude(done, Status::Done);
    tree.mark(&Marker::Done, done);
    tree.mark(&Marker::Done, JobId::new());
    tree.mark(&Marker::Running, JobId::new());
    let result = fs::read(tree.dir(done).file(JobFile::Outcome)).expect("a result");

    let site = Site::on(tree.clone(), |_| {}).await;
    for id in [staged, claimed, damaged] {
        let outcome = tree.outcome(id).expect("a result by the time of the start");
        assert_eq!(outcome.status, Status::Cancelled);
        assert!(matches!(outcome.author, Author::Frontend { .. }));
        assert_eq!(outcome.failure.expect("a reason").reason, "the server was restarted");
        assert!(tree.dir(id).file(JobFile::Claim).exists(), "a late runner could still claim it");
    }
    assert!(tree.dir(claimed).file(JobFile::Cancel).exists(), "a runner that still lives is not told");
    assert_eq!(fs::read_to_string(tree.dir(claimed).file(JobFile::Claim)).expect("a claim"), claim);
    assert_eq!(fs::read(tree.dir(done).file(JobFile::Outcome)).expect("a result"), result);
    assert_eq!(tree.markers(), [""; 0]);
    site.paint().await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_warm_runners_that_are_gone() {
    let tree = Arc::new(Tree::new());
    let claimed: Vec<JobId> = (0..6).map(|_| tree.stage(|_| {})).collect();
    let runner = RunnerId::new();
    for id in &claimed {
        let claim = format!(r#"{{"by": "runner", "host": "node7", "pid": 1, "runner": "{runner}", "nonce": "0"}}"#);
        fs::write(tree.dir(*id).file(JobFile::Claim), claim).expect("a claim");
        tree.mark(&Marker::Running, *id);
    }
    let begun = Instant::now();
    let site = Site::on(tree.clone(), |settings| settings.cluster.policy = PolicyChoice::Warm).await;
    // One that lives would be given half a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "the start took {:?}", begun.elapsed());
    for id in claimed {
        assert_eq!(tree.outcome(id).expect("a result by the time of the start").status, Status::Cancelled);
    }
    assert_eq!(tree.markers(), [""; 0]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_jobs_and_some_older_failures_are_kept() {
    let tree = Arc::new(Tree::new());
    let (done, failed, cancelled) = (Status::Done, Status::Failed, Status::Cancelled);
    let history = [failed, done, failed, failed, cancelled, done, done];
    let ids = history.map(|status| {
        let id = tree.stage(|_| {});
        tree.conclude(id, status);
        id
    });
    let site = Site::on(tree.clone(), |settings| (settings.keep.count, settings.keep.failed) = (2, 2)).await;
    assert_eq!(tree.jobs(), [ids[2], ids[3], ids[5], ids[6]]);
    site.stop().await;

    let site = Site::on(tree.clone(), |settings| settings.keep.bytes = 1).await;
    assert_eq!(tree.jobs(), []);
    assert_eq!(names(&tree.root.jobs()), [""; 0]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_processes_that_died_go_and_young_ones_stay() {
    let tree = Arc::new(Tree::new());
    let id = tree.stage(|_| {});
    tree.conclude(id, Status::Done);
    let jobs = tree.root.jobs();
    let old_staging = jobs.join(format!(".staging-{}", JobId::new()));
    let removed = jobs.join(format!(".removed-{}", JobId::new()));
    let young_staging = jobs.join(format!(".staging-{}", JobId::new()));
    for folder in [&old_staging, &removed, &young_staging] {
        fs::create_dir(folder).expect("a folder");
        fs::write(folder.join("input.png"), "half").expect("a file");
    }
    let old_temporary = tree.root.path().join(".tmp-frontend.json-0123456789abcdef");
    let foreign = jobs.join("notes.txt");
    fs::write(&old_temporary, "half").expect("a file");
    fs::write(&foreign, "a person's").expect("a file");
    for path in [&old_staging, &old_temporary, &foreign] {
        age(path);
    }
    let site = Site::on(tree, |_| {}).await;
    for path in [&old_staging, &removed, &old_temporary] {
        assert!(!path.exists(), "{} is still there", path.display());
    }
    for path in [&young_staging, &foreign] {
        assert!(path.exists(), "{} is gone", path.display());
    }
    site.stop().await;
}

fn age(path: &Path) {
    let days = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    File::open(path).and_then(|file| file.set_modified(days)).expect("an old file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_sweeps_but_never_what_is_unfinished() {
    let site = Site::with(|settings| (settings.keep.count, settings.keep.failed) = (3, 0)).await;
    site.tree.replace_runner(&format!("grep -q patient request.json || exit 3\n{SLEEP}"));
    let browser = site.paint_later(pictures::form().text("prompt", "patient"));
    let patient = site.tree.only_job().await;
    site.tree.printed(patient, "sleeping").await;
    // More than may conclude before a sweep.
    for _ in 0..25 {
        site.paint().await.expect(502);
    }
    let swept = || (site.tree.jobs().len() <= 3 + 20 + 1).then(|| site.tree.jobs());
    let left = eventually("a sweep", swept).await;
    assert_eq!(left[0], patient, "the oldest job is unfinished and was swept");
    assert!(site.tree.outcome(patient).is_none() && !browser.is_finished());
    browser.abort();
    site.tree.concluded(patient).await;
    site.stop().await;
}
