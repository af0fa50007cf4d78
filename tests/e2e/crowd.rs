//! Several visitors at once, and visitors with a slow line.

use livewebcam_jobs::JobId;
use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn two_visitors_are_painted_at_once() {
    let site = Site::open().await;
    let (ada, bob) = (Browser::open(Camera::Photograph).await, Browser::open(Camera::Photograph).await);
    for browser in [&ada, &bob] {
        browser.go(&site.page).await;
        browser.call::<()>(include_str!("scripts/answers.js"), &[]).await;
        browser.click("#start").await;
    }
    let mut visitors = Vec::new();
    for browser in [&ada, &bob] {
        browser.until("window.answers.filter(({ status }) => status === 200).length >= 3").await;
        browser.until("!document.querySelector('#picture').hidden").await;
        assert_eq!(browser.text("#alert").await, "");
        let jobs: Vec<JobId> =
            browser.eval("window.answers.filter(({ status }) => status === 200).map(({ job }) => job)").await;
        let of: Vec<Option<String>> = jobs.iter().map(|job| site.request(*job).visitor).collect();
        assert!(of.iter().all(|visitor| visitor.is_some() && *visitor == of[0]), "{of:?}");
        visitors.push(of[0].clone());
    }
    assert_ne!(visitors[0], visitors[1]);
    for browser in [ada, bob] {
        browser.close().await;
    }
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_gets_smaller_frames_and_no_backlog() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.call::<()>(include_str!("scripts/uploads.js"), &[]).await;
    browser.devtools("Network.enable", json!({})).await;
    let slow = json!({ "offline": false, "latency": 400, "uploadThroughput": 20_000, "downloadThroughput": 400_000 });
    browser.devtools("Network.emulateNetworkConditions", slow).await;
    browser.click("#start").await;
    browser.until("window.uploads.sizes.length >= 8").await;
    let (sizes, most): (Vec<u64>, usize) = browser.eval("[window.uploads.sizes, window.uploads.most]").await;
    assert!(sizes.iter().all(|size| *size < 80_000), "larger than the model needs them: {sizes:?}");
    assert!(sizes.last() < sizes.first(), "the frames stay as large: {sizes:?}");
    assert!(most <= 2, "{most} frames on the line at once");
    assert!(browser.is_shown("#picture").await);
    browser.close().await;
    site.close().await;
}
