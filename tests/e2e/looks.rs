//! What every screen must allow: a phone's width, light and dark, letters that can be read.

use serde::Deserialize;
use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::site::Site;
use crate::switching::{choose, open_more};

#[derive(Deserialize)]
struct Contrast {
    seen: usize,
    faint: Vec<String>,
}

async fn is_legible(browser: &Browser, page: &str) {
    for scheme in ["light", "dark"] {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", feature).await;
        let dark: bool = browser.eval("matchMedia('(prefers-color-scheme: dark)').matches").await;
        assert_eq!(dark, scheme == "dark");
        let brightness: f64 =
            browser.eval("Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g))").await;
        assert_eq!(brightness < 128.0, dark, "{page} is as bright in {scheme}");
        let contrast: Contrast = browser.call(include_str!("scripts/faint-text.js"), &[]).await;
        assert!(contrast.seen > 3, "{page} has no text");
        assert_eq!(contrast.faint, [""; 0], "hard to read on {page} in {scheme}");
    }
}

async fn phone(browser: &Browser) {
    let metrics = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
}

async fn fits(browser: &Browser, page: &str) {
    let (needed, there): (u32, u32) =
        browser.eval("[document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
    assert_eq!(there, 390);
    assert!(needed <= there, "{page} scrolls sideways: {needed} pixels");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone_and_can_be_read() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    is_legible(&browser, "the first page").await;
    phone(&browser).await;
    fits(&browser, "the first page").await;
    is_legible(&browser, "the first page on a phone").await;
    let inside: bool = browser
        .eval("(({ top, bottom }) => top >= 0 && bottom <= innerHeight)(document.querySelector('#start').getBoundingClientRect())")
        .await;
    assert!(inside && browser.is_shown("#start").await, "the visitor has to look for the start button");

    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    fits(&browser, "the page at work").await;
    assert!(browser.is_shown("#toggle").await);
    browser.click("#toggle").await;
    is_legible(&browser, "the page after work").await;

    browser.go(&site.jobs_link).await;
    fits(&browser, "the list of jobs").await;
    is_legible(&browser, "the list of jobs").await;
    browser.click(".job a").await;
    fits(&browser, "a job's page").await;
    is_legible(&browser, "a job's page").await;
    browser.go(&format!("{}/nowhere", site.page)).await;
    fits(&browser, "the page of an error").await;
    is_legible(&browser, "the page of an error").await;
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_a_model_with_a_prompt_fits_a_phone_and_can_be_read() {
    let site = Site::with_models(&["sd15"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').options.length === 2").await;
    choose(&browser, "tiny/sd15").await;
    open_more(&browser).await;
    assert!(browser.is_shown("#negative_prompt").await && browser.is_shown("#scheduler").await);
    is_legible(&browser, "the form").await;
    phone(&browser).await;
    fits(&browser, "the form").await;
    is_legible(&browser, "the form on a phone").await;
    browser.close().await;
    site.close().await;
}
