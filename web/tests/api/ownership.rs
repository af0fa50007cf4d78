//! One frontend a root: a second one, a successor, a usurper, and the end of one.

use std::sync::Arc;

use livewebcam::settings::Settings;
use livewebcam_jobs::{Frontend, JobFile, Status, local};

use crate::command_line::Server;
use crate::pictures;
use crate::runners::{CLAIM, SLEEP};
use crate::site::Site;
use crate::tree::{Tree, eventually};

fn lively(settings: &mut Settings) {
    settings.watch.heartbeat_seconds = 0.2;
}

fn frontend(tree: &Tree) -> Option<Frontend> {
    local::read_json(&tree.root.frontend()).expect("a readable frontend.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_frontend_is_refused_while_the_first_lives() {
    let site = Site::with(lively).await;
    let first = frontend(&site.tree).expect("a frontend.json");
    assert_eq!(first.pid, std::process::id());
    let second = Site::try_on(site.tree.clone(), lively).await.err().expect("a refusal");
    let error = format!("{second:#}");
    assert!(error.contains("another frontend") && error.contains(&format!("process {}", first.pid)), "{error}");
    assert!(error.contains("cluster.root"), "{error}");
    // The first one did not notice.
    site.paint().await.expect(200);
    let tree = site.tree.clone();
    let alive = || frontend(&tree).filter(|now| now.instance == first.instance && now.sequence > first.sequence);
    eventually("another heartbeat", alive).await;
    site.stop().await;
    // A root that was given up is free at once, however slow the heart.
    let next = Site::on(tree, |settings| settings.watch.heartbeat_seconds = 3600.0).await;
    next.paint().await.expect(200);
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_at_once_one_serves() {
    let tree = Arc::new(Tree::new());
    let (a, b) = tokio::join!(Site::try_on(tree.clone(), lively), Site::try_on(tree.clone(), lively));
    let mut started: Vec<Site> = [a, b].into_iter().filter_map(Result::ok).collect();
    assert_eq!(started.len(), 1);
    let site = started.remove(0);
    site.paint().await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_frontend_takes_its_jobs_along_and_its_successor_concludes_them() {
    let tree = Arc::new(Tree::new());
    let environment = [("LIVEWEBCAM__WATCH__HEARTBEAT_SECONDS", "0.2"), ("LIVEWEBCAM__CLUSTER__POLICY", "per-request")];
    let mut first = Server::start(&tree, &environment).await;
    tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let post = reqwest::Client::new().post(format!("{}/generate", first.url)).multipart(pictures::form());
    let waiting = tokio::spawn(post.send());
    let id = tree.only_job().await;
    tree.printed(id, "sleeping").await;
    first.kill().await;
    assert!(waiting.await.expect("no panic").is_err(), "an answer from a killed server");
    tree.quiet().await;
    assert!(tree.root.frontend().exists() && tree.outcome(id).is_none());

    let site = Site::on(tree.clone(), lively).await;
    let outcome = tree.outcome(id).expect("a result by the time of the start");
    assert_eq!(outcome.status, Status::Cancelled);
    assert_eq!(outcome.failure.expect("a reason").reason, "the server was restarted");
    assert_eq!(tree.markers(), [""; 0]);
    site.paint().await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frontend_that_lost_its_root_paints_no_more() {
    let site = Site::with(lively).await;
    let usurper = Frontend { instance: "other".to_owned(), host: "node7".to_owned(), pid: 1, sequence: 0 };
    for _ in 0..2000 {
        // Again and again: a heartbeat that is under way may write over it.
        std::fs::write(site.tree.root.frontend(), local::to_json(&usurper)).expect("a frontend.json");
        if site.get("/healthz").await.status == 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let health = site.get("/healthz").await.expect(503).json();
    assert_eq!(health["cluster"]["root_taken_by_another_frontend"], true);
    let refused = site.paint().await.expect(503);
    assert!(refused.headers.contains_key("retry-after") && !refused.error().contains("node7"));
    let tree = site.leave().await;
    assert_eq!(frontend(&tree), Some(usurper), "it gave up what was another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_frontend_file_is_nobodys() {
    let tree = Arc::new(Tree::new());
    std::fs::write(tree.root.frontend(), "{").expect("a file");
    let site = Site::on(tree, |settings| settings.watch.heartbeat_seconds = 3600.0).await;
    assert!(frontend(&site.tree).is_some());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_cancels_what_is_in_flight_and_gives_the_root_up() {
    let site = Site::start().await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    let tree = site.tree.clone();
    site.stop().await;
    let answer = browser.await.expect("an answer before the end");
    assert!(matches!(answer.status, 502 | 503), "{}", answer.status);
    assert_eq!(tree.outcome(id).expect("a result").status, Status::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_jobs_that_are_being_concluded() {
    let site = Site::start().await;
    // It takes a while to stop, and no request waits for it any more.
    let slow = format!("trap 'sleep 1; exit 1' TERM\n{CLAIM}\necho sleeping\nwhile :; do sleep 0.1; done");
    site.tree.replace_runner(&slow);
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    browser.abort();
    let cancel = site.tree.dir(id).file(JobFile::Cancel);
    eventually("the wish to cancel", || cancel.exists().then_some(())).await;
    let tree = site.tree.clone();
    site.stop().await;
    assert_eq!(tree.outcome(id).expect("a result").status, Status::Cancelled);
}
