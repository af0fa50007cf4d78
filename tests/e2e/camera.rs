//! Without a camera: the visitor reads why, and what to do.

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::site::Site;

async fn start_without(camera: Camera) -> (Site, Browser, String) {
    let site = Site::open().await;
    let browser = Browser::open(camera).await;
    browser.go(&site.page).await;
    browser.click("#start").await;
    browser.until("document.querySelector('#trouble').textContent").await;
    assert!(browser.eval::<bool>("document.querySelector('#trouble').matches('[role=alert]')").await);
    let said = browser.text("#trouble").await;
    (site, browser, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_camera_is_told_from_a_missing_one() {
    let (site, browser, said) = start_without(Camera::Blocked).await;
    assert!(said.starts_with("The camera is blocked"), "{said}");
    assert!(said.contains("Allow it for this page"), "{said}");
    assert!(browser.is_shown("#start").await, "there is no second try");
    browser.close().await;
    assert_eq!(site.jobs(), []);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_camera_a_photo_can_be_painted() {
    let (site, browser, said) = start_without(Camera::Missing).await;
    assert!(said.starts_with("No camera found"), "{said}");
    assert!(said.contains("choose a photo"), "{said}");

    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("!document.querySelector('#picture').hidden").await;
    let still = browser.picture("#still", false).await;
    let painted = browser.picture("#picture", false).await;
    assert!((painted.aspect() - still.aspect()).abs() < 0.02, "{} instead of {}", painted.aspect(), still.aspect());
    let likeness = painted.likeness(&still);
    assert!(likeness > 0.7 && painted.distance(&still) > 8.0, "{likeness}, {}", painted.distance(&still));
    assert_eq!(site.jobs().len(), 1, "a photo is painted once");

    // Another style, another picture of it.
    browser.click("input[name=style][value=\"midnight\"]").await;
    browser.until_picture("#picture", |now| now.distance(&painted) > 8.0).await;
    assert_eq!(site.jobs().len(), 2);

    let text = crate::driver::driver().new_folder("text-").join("text.png");
    std::fs::write(&text, "no picture").expect("a file");
    browser.type_into("#input", &text.to_string_lossy()).await;
    browser.until("document.querySelector('#trouble').textContent.includes('no picture')").await;
    assert_eq!(site.jobs().len(), 2);
    browser.close().await;
    site.close().await;
}
