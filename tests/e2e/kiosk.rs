//! The page at an open day: nothing to set but the style, and a fresh start when nobody is there.

use std::time::Duration;

use crate::browser::{Browser, Camera};
use crate::picture::Picture;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn the_kiosk_shows_styles_only_and_starts_afresh_when_left_alone() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&format!("{}/?kiosk=1&rest=4", site.page)).await;
    for setting in [".top", "#model", "#strength", "#more", "#source", ".choose", "#share"] {
        assert!(!browser.is_shown(setting).await, "{setting} can be set");
    }
    let default: String = browser.eval("document.querySelector('[name=style]:checked').value").await;
    let fits: bool = browser.eval("document.documentElement.scrollHeight <= innerHeight").await;
    assert!(fits, "the kiosk scrolls");

    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    browser.click("input[name=style][value=\"midnight\"]").await;
    browser.until("document.querySelector('[name=style]:checked').value === 'midnight'").await;

    // Nobody touches it, and nothing moves before the camera any more.
    browser.eval::<()>("document.querySelector('#video').pause()").await;
    browser.until("document.querySelector('#painter').dataset.phase === 'idle'").await;
    assert!(
        browser.eval::<bool>("document.querySelector('#video').srcObject === null").await,
        "the camera is still on"
    );
    assert!(browser.is_shown("#start").await && !browser.is_shown("#picture").await);
    assert_eq!(browser.eval::<String>("document.querySelector('[name=style]:checked').value").await, default);
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_style_after_the_other_invites_until_somebody_chooses() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&format!("{}/?kiosk=1", site.page)).await;
    browser.until("document.querySelector('#glow').dataset.style === ''").await;
    let first = browser.picture("#glow", false).await;
    browser.until_picture("#glow", |now| now.distance(&first) > 8.0).await;

    browser.click("input[name=style][value=\"stained glass\"]").await;
    let chosen = browser.picture("img[src$='stained-glass.jpg']", false).await;
    // A canvas is not made smaller in the very way in which an image is.
    let is_chosen = |now: &Picture| now.likeness(&chosen) > 0.95;
    browser.until_picture("#glow", is_chosen).await;
    // Longer than any style is seen.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let now = browser.picture("#glow", false).await;
    assert!(is_chosen(&now), "the chosen style was left: {}", now.likeness(&chosen));
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}
