//! The page speaks the browser's language, with and without its script.

use crate::browser::Browser;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_german_browser_reads_german() {
    let site = Site::open().await;
    let browser = Browser::speaking("de-AT,de").await;
    browser.go(&site.page).await;
    assert_eq!(browser.eval::<String>("document.documentElement.lang").await, "de");
    assert_eq!(browser.text("#start").await, "Kamera starten");
    browser.click("#start").await;
    browser.until("document.querySelector('#trouble').textContent").await;
    let said = browser.text("#trouble").await;
    assert!(said.starts_with("Keine Kamera gefunden"), "{said}");
    browser.go(&site.jobs_link).await;
    assert_eq!(browser.text("h1").await, "Aufträge");
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_that_there_is_not_is_english() {
    let site = Site::open().await;
    let browser = Browser::speaking("xx").await;
    browser.go(&site.page).await;
    assert_eq!(browser.eval::<String>("document.documentElement.lang").await, "en");
    assert_eq!(browser.text("#start").await, "Start the camera");
    browser.close().await;
    site.close().await;
}
