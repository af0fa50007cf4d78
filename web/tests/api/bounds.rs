//! What holds a frame in flight within bounds: places, submissions, deadlines, and browsers that go away.

use livewebcam_jobs::{JobFile, Status};
use reqwest::Method;

use crate::answer::Answer;
use crate::pictures;
use crate::runners::{CLAIM, SLEEP};
use crate::site::{Site, TOKEN};
use crate::tree::eventually;

async fn in_flight(site: &Site) -> u64 {
    site.get("/serverinfo").await.json()["in_flight"].as_u64().expect("a number")
}

async fn idle(site: &Site) {
    for _ in 0..2000 {
        if in_flight(site).await == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the frame keeps its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_goes_away_takes_its_claimed_job_with_it() {
    let site = Site::start().await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    assert!(!site.tree.processes().is_empty());
    browser.abort();
    let outcome = site.tree.concluded(id).await;
    assert_eq!(outcome.status, Status::Cancelled);
    assert_eq!(outcome.failure.expect("a reason").reason, "the visitor went away");
    assert!(site.tree.dir(id).file(JobFile::Cancel).exists(), "its runner was not told");
    site.tree.quiet().await;
    idle(&site).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclaimed_job_of_such_a_browser_is_painted_by_nobody() {
    let site = Site::start().await;
    site.tree.replace_runner(SLEEP);
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    browser.abort();
    assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    let claim = std::fs::read_to_string(site.tree.dir(id).file(JobFile::Claim)).expect("a claim");
    assert!(claim.contains("\"frontend\""), "{claim}");
    idle(&site).await;
    assert!(!site.tree.dir(id).file(JobFile::Output).exists());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_ignores_the_signal_is_killed() {
    let site = Site::start().await;
    site.tree.replace_runner(&format!("trap '' TERM\n{CLAIM}{SLEEP}"));
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    browser.abort();
    assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    site.tree.quiet().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_cancels_and_the_waiting_request_learns_of_it() {
    let site = Site::start().await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    let delete = || Answer::to(site.request(Method::DELETE, &format!("/jobs/{id}")).bearer_auth(TOKEN));
    assert_eq!(delete().await.expect(202).json()["state"], "cancelling");
    let answer = browser.await.expect("no panic").expect(502);
    assert_eq!((answer.error().as_str(), answer.job()), ("the frame was cancelled", id));
    assert_eq!(site.tree.concluded(id).await.status, Status::Cancelled);
    let again = delete().await.expect(409);
    assert_eq!(again.error(), "this job has already ended");
    let nobodys = livewebcam_jobs::JobId::new();
    let delete = site.request(Method::DELETE, &format!("/jobs/{nobodys}")).bearer_auth(TOKEN);
    assert!(Answer::to(delete).await.expect(404).error().contains("there is no such job"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_frames_than_places_are_told_to_come_again() {
    let site = Site::with(|settings| (settings.limits.max_in_flight, settings.limits.max_waiting) = (1, 0)).await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let browser = site.paint_later(pictures::form());
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    let info = site.get("/serverinfo").await.json();
    assert_eq!((&info["in_flight"], &info["available_gpus"]), (&1.into(), &1.into()));
    let answer = site.paint().await.expect(429);
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.error().contains("as many frames as allowed are being painted; try again"), "{}", answer.error());
    assert_eq!(site.tree.jobs(), [id], "a refused frame became a job");
    browser.abort();
    idle(&site).await;
    site.tree.replace_runner("exit 3");
    site.paint().await.expect(502);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_submissions_than_a_minute_allows_are_told_to_come_again() {
    let site = Site::with(|settings| settings.limits.submits_per_minute = 2).await;
    site.paint().await.expect(200);
    site.paint().await.expect(200);
    // A frame that is refused for itself costs nobody's place.
    site.generate(pictures::form_with(Vec::new())).await.expect(400);
    let answer = site.paint().await.expect(429);
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(answer.error().contains("submitted in the last minute"), "{}", answer.error());
    let page = site.request(Method::POST, "/generate").multipart(pictures::form()).header("accept", "text/html");
    let page = Answer::to(page).await.expect(429);
    assert!(page.headers.contains_key("retry-after") && page.text().contains("<!doctype html>"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_deadline_is_cancelled() {
    let site = Site::with(|settings| settings.deadlines.job = 0.7).await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let answer = site.paint().await.expect(504);
    assert!(answer.error().contains("the job took longer than 0.7 s"), "{}", answer.error());
    let outcome = site.tree.outcome(answer.job()).expect("a result by the time of the answer");
    assert_eq!(outcome.status, Status::Cancelled);
    assert_eq!(outcome.failure.expect("a reason").reason, "the deadline passed");
    eventually("the end of its markers", || site.tree.markers().is_empty().then_some(())).await;
    site.tree.quiet().await;
    site.stop().await;
}
