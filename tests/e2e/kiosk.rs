//! The page at an open day: nothing to set but the style, and a fresh start when nobody is there.

use crate::browser::{Browser, Camera};
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
