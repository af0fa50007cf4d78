//! The server goes away and comes back: the page says so, and goes on by itself.

use crate::browser::{Browser, Camera};
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn frames_flow_again_when_the_server_is_back() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;

    let place = site.close().await;
    browser.until("document.querySelector('#status').textContent.startsWith('The connection is lost')").await;
    assert!(browser.is_shown("#picture").await, "the last picture stays");

    let site = Site::reopen(place).await;
    let before = site.jobs().len();
    browser.until("document.querySelector('#status').textContent === ''").await;
    assert_eq!(browser.text("#alert").await, "");
    assert!(site.jobs().len() > before);
    browser.close().await;
    site.close().await;
}
