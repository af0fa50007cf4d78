//! The camera on: painted pictures come, follow the controls, and stop when told to.

use std::time::Duration;

use livewebcam_jobs::{JobId, Status};
use serde::Deserialize;

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::picture::Picture;
use crate::site::Site;

/// One frame as the page sent it.
#[derive(Deserialize)]
struct Answer {
    style: String,
    status: Option<u16>,
    job: Option<JobId>,
}

async fn count_answers(browser: &Browser) {
    browser.call::<()>(include_str!("scripts/answers.js"), &[]).await;
}

/// Those with a picture.
async fn answers(browser: &Browser) -> Vec<Answer> {
    let answers: Vec<Answer> = browser.eval("window.answers").await;
    answers.into_iter().filter(|answer| answer.status == Some(200)).collect()
}

async fn painting(browser: &Browser) -> Picture {
    browser.picture("#picture", false).await
}

/// Chooses a style and waits until pictures in it come.
async fn choose(browser: &Browser, style: &str) {
    browser.click(&format!("input[name=style][value=\"{style}\"]")).await;
    browser
        .until(&format!("window.answers.filter((answer) => answer.style === {style:?} && answer.status).length > 1"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_visitor_is_painted_frame_after_frame() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    assert_eq!(browser.title().await, "LiveWebcamAI");
    count_answers(&browser).await;
    browser.click("#start").await;
    browser.until("window.answers.filter(({ status }) => status === 200).length >= 3").await;
    browser.until("!document.querySelector('#picture').hidden").await;

    // It is this camera's picture, the other way round as in a mirror, and painted.
    let camera = browser.picture("#video", false).await;
    let mirrored = browser.picture("#video", true).await;
    let painted = painting(&browser).await;
    assert_eq!((camera.width, camera.height), clip::SIZE);
    assert!((painted.aspect() - camera.aspect()).abs() < 0.02, "{} instead of {}", painted.aspect(), camera.aspect());
    assert!(painted.contrast() > 20.0, "nothing is to be seen: {}", painted.contrast());
    let likeness = (painted.likeness(&mirrored), painted.likeness(&camera));
    assert!(likeness.0 > 0.5 && likeness.0 > likeness.1 + 0.2, "likeness {likeness:?}");
    assert!(painted.distance(&mirrored) > 8.0, "it is the frame, not a painting: {}", painted.distance(&mirrored));

    browser.until_picture("#picture", |now| now.distance(&painted) > 0.0).await;

    // Each picture is a job of its own.
    let answers = answers(&browser).await;
    let mut named: Vec<JobId> = answers.iter().filter_map(|answer| answer.job).collect();
    let kept = site.jobs();
    assert!(answers.len() >= 3 && named.len() == answers.len());
    for id in &named {
        assert!(kept.contains(id), "the job {id} has no directory");
        let outcome = site.outcome(*id).expect("a job that was answered has ended");
        assert_eq!(outcome.status, Status::Done);
        let output = outcome.output.expect("a painting");
        assert_eq!((output.width, output.height), (painted.width, painted.height));
    }
    assert!(named.first() < named.last(), "{named:?}");
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), answers.len(), "two answers of one job");

    // The picture follows the style, out of which it comes by and by.
    choose(&browser, "midnight").await;
    let dark = painting(&browser).await;
    choose(&browser, "yellow ink").await;
    browser.until_picture("#picture", |now| now.distance(&dark) > 40.0).await;

    assert!(browser.is_shown("#rate").await && browser.is_shown("#delay").await);
    assert_eq!(browser.text("#alert").await, "");
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_stops_the_camera_and_the_frames() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    count_answers(&browser).await;
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;

    browser.click("#toggle").await;
    browser.until("document.querySelector('#painter').dataset.phase === 'idle'").await;
    assert!(browser.eval::<bool>("document.querySelector('#video').srcObject === null").await);
    let sent: usize = browser.eval("window.answers.length").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(browser.eval::<usize>("window.answers.length").await, sent, "frames are still sent");
    assert!(browser.is_shown("#picture").await && browser.is_shown("#save").await, "the last picture stays");

    browser.click("#toggle").await;
    browser.until(&format!("window.answers.slice({sent}).some(({{ status }}) => status === 200)")).await;
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn camera_and_styles_obey_the_keyboard() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    count_answers(&browser).await;
    browser.until("document.activeElement === document.body").await;
    browser.type_text(" ").await;
    browser.until("!document.querySelector('#picture').hidden").await;

    let styles: Vec<String> =
        browser.eval("[...document.querySelectorAll('[name=style]')].map(({ value }) => value)").await;
    let before: String = browser.eval("document.querySelector('[name=style]:checked').value").await;
    browser.eval::<()>("document.querySelector('[name=style]:checked').focus()").await;
    browser.type_text("\u{e014}").await; // the right arrow
    let after: String = browser.eval("document.querySelector('[name=style]:checked').value").await;
    let place = styles.iter().position(|style| *style == before).expect("a style of the list");
    assert_eq!(after, styles[(place + 1) % styles.len()]);
    assert_eq!(browser.text("#style-chosen").await, after);
    browser
        .until(&format!("window.answers.some(({{ style, status }}) => style === {after:?} && status === 200)"))
        .await;
    let answers = answers(&browser).await;
    let job = answers.iter().find(|answer| answer.style == after).and_then(|answer| answer.job).expect("a job");
    let asked = site.request(job).parameters.style.expect("a style");
    assert_eq!(asked.to_string(), after);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_picture_does_not_replace_a_newer_one() {
    // A page takes up to half of the places, so that others find some; here it may have several frames on their way.
    let site = Site::with_places(6).await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.click("input[name=style][value=\"midnight\"]").await;
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    let older = painting(&browser).await;
    browser.call::<()>(include_str!("scripts/late-answer.js"), &[]).await;
    browser.until("window.sent.heldBack").await;
    browser.click("input[name=style][value=\"yellow ink\"]").await;
    browser.until("window.sent.passed").await;
    browser.until_picture("#picture", |now| now.distance(&older) > 40.0).await;
    browser.until("document.querySelector('#picture').dataset.fading === undefined").await;
    let newer = painting(&browser).await;

    browser.eval::<()>("window.release()").await;
    browser.until("window.sent.released").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(painting(&browser).await.distance(&newer), 0.0, "the picture has gone back in time");
    browser.close().await;
    site.close().await;
}
