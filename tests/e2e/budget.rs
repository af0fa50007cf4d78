//! What a visit costs the visitor's line, and that it costs nobody else's: the page works on a LAN without the internet.

use serde::Deserialize;

use crate::browser::{Browser, Camera};
use crate::site::Site;

/// Bytes of everything but the style pictures, as the files are and as they go over the line.
const MOST_BYTES: u64 = 100_000;
const MOST_BYTES_SENT: u64 = 50_000;
const MOST_REQUESTS: usize = 40;
const MOST_ELEMENTS: usize = 700;

#[derive(Debug, Deserialize)]
struct Load {
    address: String,
    bytes: u64,
    sent: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stays_small_and_at_home() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    let loads: Vec<Load> = browser
        .eval(
            "performance.getEntriesByType('resource').map((entry) => ({ address: entry.name, bytes: entry.decodedBodySize, sent: entry.encodedBodySize }))",
        )
        .await;
    for Load { address, .. } in &loads {
        assert!(address.starts_with(&site.page) || address.starts_with("blob:"), "{address} is not of this server");
    }
    let assets: Vec<&Load> = loads
        .iter()
        .filter(|load| load.address.contains("/static/") && !load.address.contains("/static/styles/"))
        .collect();
    // A preload and its use are two entries of one request.
    let mut bytes = std::collections::BTreeMap::new();
    for load in &assets {
        let (size, sent) = bytes.entry(load.address.as_str()).or_insert((0, 0));
        (*size, *sent) = (load.bytes.max(*size), load.sent.max(*sent));
    }
    let total: u64 = bytes.values().map(|(size, _)| size).sum();
    let sent: u64 = bytes.values().map(|(_, sent)| sent).sum();
    assert!(sent > 10_000, "nothing was counted: {loads:?}");
    assert!(total < MOST_BYTES && sent < MOST_BYTES_SENT, "{total} bytes, {sent} over the line: {bytes:?}");
    assert!(bytes.len() < MOST_REQUESTS, "{} files: {bytes:?}", bytes.len());
    let elements: usize = browser.eval("document.querySelectorAll('*').length").await;
    assert!(elements < MOST_ELEMENTS, "{elements} elements");
    browser.close().await;
    site.close().await;
}

/// Nothing moves away from under a finger: the sum of layout shifts, as browsers score them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_jumps_while_the_page_loads() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Missing).await;
    for page in ["", "?kiosk=1"] {
        browser.go(&format!("{}/{page}", site.page)).await;
        browser.until("document.querySelector('#glow').dataset.style === ''").await;
        let shifts: f64 = browser.call(include_str!("scripts/shifts.js"), &[]).await;
        assert!(shifts < 0.02, "/{page} jumps by {shifts}");
    }
    browser.close().await;
    site.close().await;
}
