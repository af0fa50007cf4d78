//! Flow control: as many frames on their way as the server shares out, nothing from a page that nobody looks at, and what a
//! busy server answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{Browser, Camera};
use crate::site::Site;

pub(crate) async fn stand_in(browser: &Browser, fields: Value, statuses: &[u16]) {
    browser.call::<()>(include_str!("scripts/stand-in.js"), &[fields, json!(statuses)]).await;
}

async fn start(browser: &Browser) {
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_as_many_frames_on_their_way_as_the_server_shares_out() {
    let site = Site::with_places(6).await;
    let browser = Browser::open(Camera::Photograph).await;
    for (shared_out, expected) in [(1, 1), (2, 2), (99, 4)] {
        browser.go(&site.page).await;
        stand_in(&browser, json!({ "frames_per_visitor": shared_out }), &[200, 0]).await;
        start(&browser).await;
        browser.until(&format!("standIn.unanswered >= {expected}")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(browser.eval::<usize>("standIn.unanswered").await, expected, "of {shared_out} shared out");
    }
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_a_newer_one_replaced_is_no_trouble() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    start(&browser).await;
    stand_in(&browser, json!({}), &[409, 409, 409, 200]).await;
    browser.until("standIn.answered >= 2").await;
    assert_eq!(browser.eval::<Vec<String>>("standIn.said").await, [""; 0]);

    // Nor is it one for the first frame of all.
    browser.go(&site.page).await;
    stand_in(&browser, json!({}), &[409, 409, 200]).await;
    start(&browser).await;
    assert_eq!(browser.eval::<Vec<String>>("standIn.said").await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_when_it_said() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    start(&browser).await;
    stand_in(&browser, json!({}), &[429, 200]).await;
    browser.until("standIn.answered >= 2").await;
    let said: Vec<String> = browser.eval("standIn.said").await;
    assert_eq!(said, ["Many people are being painted. Next try in 1 s."]);
    assert_eq!(browser.text("#status").await + &browser.text("#alert").await, "", "it is over");
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_sees_sends_nothing() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    start(&browser).await;
    let page = browser.hide().await;
    let end = Instant::now() + Duration::from_secs(60);
    let mut sent = site.jobs().len();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = site.jobs().len();
        if now == sent {
            break;
        }
        sent = now;
        assert!(Instant::now() < end, "frames are still sent");
    }
    browser.show(page).await;
    while site.jobs().len() == sent {
        assert!(Instant::now() < end + Duration::from_secs(60), "no frame is sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(browser.text("#alert").await, "");
    browser.close().await;
    site.close().await;
}
