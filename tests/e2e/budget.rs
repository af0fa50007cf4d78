//! What a visit costs the visitor's line, and that it costs nobody else's: the page works on a LAN without the internet.

use serde::Deserialize;

use crate::browser::{Browser, Camera};
use crate::site::Site;

/// Bytes of everything but the style pictures.
const MOST_BYTES: u64 = 100_000;
const MOST_REQUESTS: usize = 40;
const MOST_ELEMENTS: usize = 700;

#[derive(Debug, Deserialize)]
struct Load {
    address: String,
    bytes: u64,
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
            "performance.getEntriesByType('resource').map(({ name, encodedBodySize }) => ({ address: name, bytes: encodedBodySize }))",
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
        let entry = bytes.entry(load.address.as_str()).or_insert(0);
        *entry = load.bytes.max(*entry);
    }
    let total: u64 = bytes.values().sum();
    assert!(total > 10_000, "nothing was counted: {loads:?}");
    assert!(total < MOST_BYTES, "{total} bytes: {bytes:?}");
    assert!(bytes.len() < MOST_REQUESTS, "{} files: {bytes:?}", bytes.len());
    let elements: usize = browser.eval("document.querySelectorAll('*').length").await;
    assert!(elements < MOST_ELEMENTS, "{elements} elements");
    browser.close().await;
    site.close().await;
}
