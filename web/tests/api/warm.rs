//! Warm runners: one process paints frame after frame, comes with the first and leaves after the last; one that dies takes
//! no frame along; and what waits in line waits in the frontend's memory.

use std::fs;

use livewebcam::settings::{PolicyChoice, Settings};
use livewebcam_jobs::{Author, Claim, JobFile, JobId, Status, local};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::pictures;
use crate::site::Site;
use crate::tree::{Tree, eventually, names};

/// The fake ones are started in the root, with their id in the fifth word. As the real ones do, they publish a claim whole.
const TAKE: &str = r#"
take() {
    while :; do
        for marker in queue/starter/*; do
            job=${marker##*/}
            [ -e "jobs/$job/claim.json" ] || [ ! -d "jobs/$job" ] || break 2
        done
        sleep 0.02
    done
    printf '{"by":"runner","host":"node7","pid":%d,"runner":"%s","nonce":"0"}' $$ "$5" >"jobs/$job/.claim"
    mv "jobs/$job/.claim" "jobs/$job/claim.json"
    mv "queue/starter/$job" "running/$job"
}
"#;

fn warm(settings: &mut Settings) {
    settings.cluster.policy = PolicyChoice::Auto;
}

async fn site(change: impl FnOnce(&mut Settings)) -> Site {
    Site::with(|settings| {
        warm(settings);
        change(settings);
    })
    .await
}

fn claim(tree: &Tree, id: JobId) -> Option<Claim> {
    local::read_json(&tree.dir(id).file(JobFile::Claim)).expect("a readable claim")
}

fn runner_of(tree: &Tree, id: JobId) -> String {
    match claim(tree, id).expect("a claim").author {
        Author::Runner { runner: Some(runner), .. } => runner.to_string(),
        other => panic!("{other:?} is no warm runner"),
    }
}

async fn runners(site: &Site) -> Vec<Value> {
    site.get("/serverinfo").await.json()["runners"].as_array().expect("a list").clone()
}

/// A small frame of the visitor with this cookie.
fn frame(site: &Site, cookie: &str) -> JoinHandle<Answer> {
    let request = site.request(Method::POST, "/generate").multipart(pictures::form()).header("cookie", cookie);
    tokio::spawn(Answer::to(request))
}

/// Waits until so many frames wait in line.
async fn waiting(site: &Site, frames: u64) {
    for _ in 0..2000 {
        if site.get("/serverinfo").await.json()["waiting"] == frames {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    panic!("never {frames} frames wait");
}

/// Puts a script in the runner's place that can go on as `bin/real`.
fn replace(tree: &Tree, script: &str) {
    fs::hard_link(tree.root.runner(), tree.root.path().join("bin/real")).expect("a link");
    tree.replace_runner(&format!("{TAKE}{script}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_stays_for_the_next_frame() {
    let site = site(|_| {}).await;
    assert_eq!(names(&site.tree.root.runners()), [""; 0], "a runner although nobody watches");
    let first = site.paint().await.expect(200);
    let again = [site.paint().await.expect(200), site.paint().await.expect(200)];
    let runner = runner_of(&site.tree, first.job());
    for answer in &again {
        assert_eq!(runner_of(&site.tree, answer.job()), runner, "another runner");
        let timings = site.tree.outcome(answer.job()).expect("a result").timings;
        assert!(timings.load_ms == 0.0 && timings.total_ms > 0.0, "{timings:?}");
        assert_eq!(answer.body, first.body, "the same frame is another picture");
    }
    assert_eq!(names(&site.tree.root.runners()), [runner.as_str()]);
    for _ in 0..400 {
        let runners = runners(&site).await;
        assert_eq!((runners.len(), runners[0]["id"].as_str()), (1, Some(runner.as_str())));
        if runners[0]["painted"] == 3 && runners[0]["device"] == "cpu" && runners[0]["state"] == "idle" {
            return site.stop().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the runner's heartbeat tells nothing: {:?}", self::runners(&site).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_when_nobody_watches() {
    let site = site(|settings| settings.warm.idle_exit = 1).await;
    let first = site.paint().await.expect(200);
    site.tree.quiet().await;
    let again = site.paint().await.expect(200);
    assert_ne!(runner_of(&site.tree, again.job()), runner_of(&site.tree, first.job()));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_on_standby_is_there_before_the_first_frame_and_stays() {
    let site = site(|settings| (settings.warm.min_standby, settings.warm.idle_exit) = (1, 1)).await;
    let tree = site.tree.clone();
    eventually("a runner", || (names(&tree.root.runners()).len() == 1).then_some(())).await;
    let script = tree.root.runners().join(&names(&tree.root.runners())[0]).join("job.sbatch");
    let script = eventually("its script", || fs::read_to_string(&script).ok()).await;
    assert!(script.contains("--idle-exit never"), "{script}");
    let painted = site.paint().await.expect(200);
    assert_eq!(names(&tree.root.runners()), [runner_of(&tree, painted.job())]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_takes_no_frame_along() {
    let site = site(|_| {}).await;
    replace(&site.tree, "if mkdir died 2>/dev/null; then\n take \"$@\"\n kill -9 $$\nfi\nexec bin/real \"$@\"");
    let answer = site.paint().await.expect(200);
    let [first, second] = site.tree.jobs()[..] else { panic!("{:?}", site.tree.jobs()) };
    assert_eq!((answer.job(), site.tree.request(second).retry_of), (second, Some(first)));
    let outcome = site.tree.outcome(first).expect("a result");
    let reason = outcome.failure.expect("a reason").reason;
    assert!(outcome.status == Status::Failed && reason.contains("ended without a result"), "{reason}");
    assert_ne!(runner_of(&site.tree, first), runner_of(&site.tree, second));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_cannot_be_read_at_once_is_read_later() {
    let site = site(|settings| settings.deadlines.job = 60.0).await;
    // In a session of its own, because the runner's ends with it, and the runner must not end before it has that.
    let later = "setsid sh -c 'mkdir own; sleep 2; rmdir claim.json own; mv claim claim.json' & \
                 until [ -d own ]; do sleep 0.02; done";
    let hidden = format!("(cd jobs/$job; mv claim.json claim; mkdir claim.json; {later})");
    replace(
        &site.tree,
        &format!("if mkdir died 2>/dev/null; then\n take \"$@\"\n {hidden}\n kill -9 $$\nfi\nexec bin/real \"$@\""),
    );
    let answer = site.paint().await.expect(200);
    let [first, second] = site.tree.jobs()[..] else { panic!("{:?}", site.tree.jobs()) };
    assert_eq!((answer.job(), site.tree.request(second).retry_of), (second, Some(first)));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_tried_twice_and_no_more() {
    let site = site(|_| {}).await;
    replace(&site.tree, "take \"$@\"\nkill -9 $$");
    let answer = site.paint().await.expect(502);
    assert!(answer.error().contains("ended without a result"), "{}", answer.error());
    let jobs = site.tree.jobs();
    assert_eq!((jobs.len(), answer.job()), (2, jobs[1]));
    assert!(jobs.iter().all(|id| site.tree.outcome(*id).is_some_and(|outcome| outcome.status == Status::Failed)));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_that_do_not_stay_are_a_reason_and_are_not_started_again_and_again() {
    let site = site(|_| {}).await;
    site.tree.replace_runner("echo 'the module is missing' >&2\nexit 3");
    let answer = site.paint().await.expect(502);
    assert!(answer.error().contains("no runner stays on the cluster"), "{}", answer.error());
    let started = names(&site.tree.root.runners()).len();
    assert_eq!(started, 2, "the pause before the next one is not kept");
    site.paint().await.expect(502);
    assert_eq!(names(&site.tree.root.runners()).len(), started, "a runner in the pause");
    for id in site.tree.jobs() {
        let failure = site.tree.outcome(id).expect("a result").failure.expect("a reason");
        assert!(failure.detail.contains("the module is missing"), "{}", failure.detail);
    }
    let health = site.inspect("/healthz").await.json();
    let trouble = health["runners"]["troubles"]["starter"].as_str().expect("the operator is told");
    assert!(trouble.contains("no runner stays"), "{trouble}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_in_line_leaves_no_trace_and_is_superseded_by_a_newer_one() {
    let site = site(|settings| settings.limits.max_in_flight = 1).await;
    replace(&site.tree, "take \"$@\"\nexec sleep 600");
    let (ada, bob) = (site.get("/").await.visitor(), site.get("/").await.visitor());
    let painted = frame(&site, &ada);
    let id = site.tree.only_job().await;
    eventually("a claim", || claim(&site.tree, id)).await;
    let stale = frame(&site, &ada);
    waiting(&site, 1).await;
    let other = frame(&site, &bob);
    waiting(&site, 2).await;
    let newest = frame(&site, &ada);
    let answer = stale.await.expect("no panic").expect(409);
    assert_eq!(answer.error(), "a newer frame of yours took this one's place");
    newest.abort();
    other.abort();
    waiting(&site, 0).await;
    assert_eq!(site.tree.jobs(), [id], "a frame in line has a directory");
    painted.abort();
    assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_lies_ready_is_superseded_before_it_is_claimed() {
    let site = site(|_| {}).await;
    replace(&site.tree, "take \"$@\"\nexec sleep 600");
    let ada = site.get("/").await.visitor();
    let painted = frame(&site, &ada);
    let first = site.tree.only_job().await;
    eventually("a claim", || claim(&site.tree, first)).await;
    let stale = frame(&site, &ada);
    let second = eventually("the frame lies ready", || site.tree.jobs().get(1).copied()).await;
    let newest = frame(&site, &ada);
    let answer = stale.await.expect("no panic").expect(409);
    assert_eq!(answer.job(), second);
    let outcome = site.tree.concluded(second).await;
    assert_eq!(outcome.status, Status::Cancelled);
    assert!(matches!(claim(&site.tree, second).expect("a claim").author, Author::Frontend { .. }));
    let third = eventually("the newest frame lies ready", || site.tree.jobs().get(2).copied()).await;
    newest.abort();
    painted.abort();
    for id in [first, third] {
        assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_frame_leaves_its_runner_to_the_next() {
    let site = site(|_| {}).await;
    // It stops when it is told to, as a model with steps does, and then paints as the real one.
    let script = r#"
if mkdir first 2>/dev/null; then
    take "$@"
    until [ -e "jobs/$job/cancel" ]; do sleep 0.02; done
    printf '{"status":"cancelled","by":"runner","author":{"by":"runner","host":"node7","pid":1},"model":"starter",
        "failure":{"stage":"paint","reason":"nobody wants the painting any more"}}' >"jobs/$job/result.json"
    mv "running/$job" "done/$job"
fi
exec bin/real "$@""#;
    replace(&site.tree, script);
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    eventually("a claim", || claim(&site.tree, id)).await;
    browser.abort();
    assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    let next = site.paint().await.expect(200);
    assert_eq!(runner_of(&site.tree, next.job()), runner_of(&site.tree, id));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_who_come_at_once_are_all_served_by_few_runners() {
    let site = site(|settings| settings.warm.max_runners = 2).await;
    let mut frames = Vec::new();
    for _ in 0..12 {
        let cookie = site.get("/").await.visitor();
        frames.push(frame(&site, &cookie));
    }
    for frame in frames {
        frame.await.expect("no panic").expect(200);
    }
    let jobs = site.tree.jobs();
    assert_eq!(jobs.len(), 12, "a frame was painted twice");
    assert!(names(&site.tree.root.runners()).len() <= 2);
    site.stop().await;
}
