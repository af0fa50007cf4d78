//! The page speaks the browser's language, with and without its script.

use crate::browser::Browser;
use crate::clip;
use crate::site::Site;
use crate::switching::{choose, fill};

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
async fn what_models_and_the_cluster_say_is_german_too() {
    let site = Site::with_models(&["sd15"]).await;
    let browser = Browser::speaking("de").await;
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').options.length === 2").await;
    let styles = "[...document.querySelectorAll('#palette .style')].map((card) => [card.querySelector('input').value, card.innerText.trim()])";
    let drawn_by_the_server: Vec<(String, String)> = browser.eval(styles).await;
    assert_eq!(drawn_by_the_server.len(), 26);
    for (english, german) in &drawn_by_the_server {
        assert!(english != german && !german.is_empty(), "{english} is still English");
    }
    assert_eq!(browser.text("#style-chosen").await, "Zartes Aquarell");
    choose(&browser, "tiny/sd15").await;
    browser.until("document.querySelector('#palette').children.length === 0").await;
    choose(&browser, "starter").await;
    browser.until("document.querySelector('#palette').children.length === 26").await;
    assert_eq!(browser.eval::<Vec<(String, String)>>(styles).await, drawn_by_the_server);
    assert_eq!(
        browser.eval::<String>("document.querySelector('#model').selectedOptions[0].text").await,
        "Starter: 26 Malstile"
    );

    // A warning of the runner's, and the job's page.
    choose(&browser, "tiny/sd15").await;
    fill(&browser, "#prompt", &"word ".repeat(80)).await;
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("document.querySelector('#status').textContent").await;
    assert_eq!(browser.text("#status").await, "Der Prompt ist zu lang: seine letzten 5 Tokens fielen weg.");
    let jobs = site.jobs();
    browser.go(&format!("{}/jobs/{}", site.page, jobs.last().expect("a job"))).await;
    let page = browser.text("main").await;
    for part in ["fertig", "der Prompt ist zu lang: seine letzten 5 Tokens fielen weg", "auf cpu in f32", "Startwert"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    browser.go(&format!("{}/nowhere", site.page)).await;
    assert_eq!(browser.text("h1").await, "Nicht gefunden");
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
