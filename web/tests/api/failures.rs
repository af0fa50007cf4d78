//! Runners that fail, die or lie: the visitor gets a reason soon, and the job one result.

use livewebcam_jobs::{Author, Status};

use crate::answer::Answer;
use crate::pictures;
use crate::runners::{CLAIM, conclude, conclude_with};
use crate::site::Site;
use crate::tree::{eventually, outcome};

/// Has a frame painted by this script. The job's deadline is minutes, so an answer at all is one that did not wait for it.
async fn paint_with(site: &Site, script: &str) -> Answer {
    site.tree.replace_runner(script);
    site.paint().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_without_a_word_ends_in_its_reason() {
    let site = Site::start().await;
    let killed = format!("echo 'last words'{CLAIM}\nkill -9 $$");
    let cases = [
        ("exit 3", "exit status: 3"),
        ("exit 0", "exit status: 0"),
        (killed.as_str(), "exit status: 137"),
        ("kill -SEGV $$", "exit status: 139"),
        ("exec /no/such/binary", "exit status: 127"),
    ];
    for (script, words) in cases {
        let answer = paint_with(&site, script).await.expect(502);
        let error = answer.error();
        assert!(error.starts_with("the job ended without a result (") && error.contains(words), "{script}: {error}");
        let outcome = site.tree.outcome(answer.job()).expect("a result");
        assert!(matches!(outcome.author, Author::Frontend { .. }), "{:?}", outcome.author);
        let failure = outcome.failure.expect("a failure");
        assert_eq!((outcome.status, failure.reason), (Status::Failed, error));
        assert!(failure.detail.contains("starts on "), "the log's end is missing: {}", failure.detail);
    }
    let log = site.tree.outcome(site.tree.jobs()[2]).and_then(|outcome| outcome.failure).expect("a failure").detail;
    assert!(log.contains("last words"), "{log}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_missing_is_said_to_be() {
    let site = Site::start().await;
    std::fs::remove_file(site.tree.root.runner()).expect("the runner");
    let error = site.paint().await.expect(502).error();
    assert!(error.starts_with("the job ended without a result"), "{error}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runners_own_reason_reaches_the_visitor_without_its_detail() {
    let site = Site::start().await;
    let script = format!("{CLAIM}\n{}\nexit 1", conclude_with(&outcome(Status::Failed, None)));
    let answer = paint_with(&site, &script).await.expect(502);
    assert_eq!(answer.error(), "the model refuses");
    let page = site.get_as(&answer.visitor(), &format!("/jobs/{}", answer.job())).await.expect(200);
    assert!(page.text().contains("the model refuses") && !page.text().contains("/opt/secret"));
    let page = site.inspect(&format!("/jobs/{}", answer.job())).await.expect(200);
    assert!(page.text().contains("in &#x2F;opt&#x2F;secret"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_painting_that_is_not_what_the_result_promises_is_not_shown() {
    let site = Site::start().await;
    let promised = pictures::described(&pictures::png(64, 48));
    let done = |output| conclude_with(&outcome(Status::Done, Some(output)));
    let shorter = livewebcam_jobs::Output { bytes: 4, ..promised.clone() };
    let same_length = format!("head -c {} /dev/zero >output.png", promised.bytes);
    let cases = [
        format!("printf fake >output.png{CLAIM}\n{}", done(promised.clone())),
        format!("printf fake >output.png{CLAIM}\n{}", done(shorter)),
        format!("{same_length}{CLAIM}\n{}", done(promised.clone())),
        format!("{CLAIM}\n{}", done(promised.clone())),
        format!("ln -s /etc/passwd output.png{CLAIM}\n{}", done(promised.clone())),
        format!("mkdir output.png{CLAIM}\n{}", done(promised)),
    ];
    for script in cases {
        let answer = paint_with(&site, &script).await.expect(502);
        assert_eq!(answer.error(), "the painting could not be fetched from the cluster", "{script}");
        assert_eq!(answer.job(), *site.tree.jobs().last().expect("a job"));
        eventually("the end of its marker", || site.tree.markers().is_empty().then_some(())).await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_result_is_a_failure_and_not_a_wait() {
    let site = Site::start().await;
    let no_output = "{\"status\": \"done\", \"by\": \"runner\", \"author\": 7}";
    for result in ["", "{", "null", "<html>", no_output] {
        let answer = paint_with(&site, &format!("{CLAIM}\n{}", conclude(result.as_bytes()))).await.expect(502);
        assert_eq!(answer.error(), "the painting could not be fetched from the cluster");
        eventually("the end of its marker", || site.tree.markers().is_empty().then_some(())).await;
        let page = site.inspect(&format!("/jobs/{}", answer.job())).await.expect(200);
        assert!(page.text().contains("state-failed"), "a job with a damaged result is still said to run");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_without_a_marker_is_found_when_the_runner_ends() {
    let site = Site::start().await;
    let png = pictures::png(64, 48);
    let staged = site.tree.beside("painting.png");
    std::fs::write(&staged, &png).expect("a painting");
    let result = conclude_with(&outcome(Status::Done, Some(pictures::described(&png))));
    let result = result.lines().filter(|line| !line.starts_with("mv ")).collect::<Vec<_>>().join("\n");
    let script = format!("cp {} output.png{CLAIM}\n{result}\nexit 0", staged.display());
    let answer = paint_with(&site, &script).await.expect(200);
    assert_eq!(answer.body, png);
    eventually("the end of its markers", || site.tree.markers().is_empty().then_some(())).await;
    site.stop().await;
}
