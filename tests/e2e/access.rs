//! For everyone: axe-core finds nothing to complain about, in any state of any page, in light and dark.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::site::Site;
use crate::switching::{choose, open_more};

/// axe-core, fetched by the first test that asks.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/axe.sh");
    let output = Command::new("sh").arg(script).arg(env!("CARGO_TARGET_TMPDIR")).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "axe-core cannot be fetched from npm's registry: {said}");
    let path = String::from_utf8(output.stdout).expect("a path");
    std::fs::read_to_string(path.trim_end()).expect("axe-core's script")
});

async fn everyone_can_use(browser: &Browser, page: &str) {
    for scheme in ["light", "dark"] {
        let feature = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            // What fades in is not looked at halfway.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        browser.devtools("Emulation.setEmulatedMedia", feature).await;
        browser.run(&AXE).await;
        let found: Vec<String> = browser.call(include_str!("scripts/axe.js"), &[]).await;
        assert_eq!(found, [""; 0], "{page} in {scheme}");
    }
}

async fn width(browser: &Browser, pixels: u32) {
    let metrics = json!({ "width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 500 });
    browser.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stage_is_for_everyone() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.until("!document.querySelector('#start').disabled").await;
    everyone_can_use(&browser, "the first page").await;
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    browser.click("#source > summary").await;
    for view in ["picture", "side", "compare"] {
        browser.click(&format!("#views input[value={view}]")).await;
        everyone_can_use(&browser, view).await;
    }
    width(&browser, 390).await;
    everyone_can_use(&browser, "a phone").await;
    width(&browser, 1280).await;
    browser.click("#keys").await;
    everyone_can_use(&browser, "the shortcuts").await;
    browser.go(&format!("{}/?kiosk=1", site.page)).await;
    browser.until("document.documentElement.matches('.kiosk')").await;
    everyone_can_use(&browser, "the kiosk").await;
    browser.go(&site.jobs_link).await;
    everyone_can_use(&browser, "the list of jobs").await;
    browser.click(".job a").await;
    everyone_can_use(&browser, "a job").await;
    browser.go(&format!("{}/nowhere", site.page)).await;
    everyone_can_use(&browser, "an error").await;
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_and_their_troubles_are_for_everyone() {
    let site = Site::with_models(&["sd15"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').options.length === 2").await;
    choose(&browser, "tiny/sd15").await;
    open_more(&browser).await;
    browser.click(".preset").await;
    everyone_can_use(&browser, "a model's settings").await;
    browser.click("#start").await;
    browser.until("document.querySelector('#trouble').textContent").await;
    everyone_can_use(&browser, "no camera").await;
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("!document.querySelector('#waiting').hidden || !document.querySelector('#picture').hidden").await;
    everyone_can_use(&browser, "a photo").await;
    browser.close().await;
    site.close().await;
}
