//! What is painted in place of the camera, and how a frame is cut: each as the visitor chose it.

use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::driver::driver;
use crate::site::Site;

async fn painted(browser: &Browser) {
    browser.until("!document.querySelector('#picture').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_file_is_painted_again_and_again() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser.call::<()>(include_str!("scripts/clip.js"), &[]).await;
    painted(&browser).await;
    let clip = browser.picture("#video", false).await;
    let picture = browser.picture("#picture", false).await;
    assert_eq!((clip.width, clip.height, picture.width, picture.height), (320, 240, 320, 240));
    assert!(picture.contrast() > 20.0, "nothing is to be seen: {}", picture.contrast());
    assert!(browser.is_shown("#pause").await && browser.is_shown("#camera").await);

    // It begins anew where it ends, and so do the pictures.
    browser
        .eval::<()>("document.querySelector('#video').addEventListener('seeked', () => { window.again = true })")
        .await;
    browser.until("window.again").await;
    let sent = site.jobs().len();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while site.jobs().len() < sent + 5 {
        assert!(std::time::Instant::now() < end, "the second time round it is not painted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let text = driver().new_folder("text-").join("text.webm");
    std::fs::write(&text, "no video").expect("a file");
    browser.eval::<()>("void (document.querySelector('#clip').hidden = false)").await;
    browser.type_into("#clip", &text.to_string_lossy()).await;
    browser.until("document.querySelector('#trouble').textContent.includes('no video')").await;
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_is_painted_until_it_is_no_longer_shared() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.click("#source > summary").await;
    browser.click("#choose-screen").await;
    painted(&browser).await;
    let surface: Option<String> = browser
        .eval("document.querySelector('#video').srcObject.getVideoTracks()[0].getSettings().displaySurface ?? null")
        .await;
    assert!(surface.is_some(), "this is no screen");
    // A screen is not a mirror.
    let screen = browser.picture("#video", false).await;
    let picture = browser.picture("#picture", false).await;
    assert!((picture.aspect() - screen.aspect()).abs() < 0.02, "{} of {}", picture.aspect(), screen.aspect());
    assert!(!browser.eval::<bool>("document.querySelector('#video').matches('.mirrored')").await);

    // The browser's own button ends it.
    browser
        .eval::<()>(
            "void document.querySelector('#video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))",
        )
        .await;
    browser.until("document.querySelector('#trouble').textContent.startsWith('The screen is no longer shared')").await;
    assert!(browser.is_shown("#start").await);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_no_screen_reads_what_to_choose() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser
        .eval::<()>(
            "void (navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException('', 'NotAllowedError') })",
        )
        .await;
    browser.click("#source > summary").await;
    browser.click("#choose-screen").await;
    browser.until("document.querySelector('#trouble').textContent").await;
    let said = browser.text("#trouble").await;
    assert!(said.starts_with("No screen was shared"), "{said}");
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_is_cut_and_turned_as_chosen() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    browser.click("#source > summary").await;
    browser.click("#aspect option[value=\"1\"]").await;
    browser.click("#start").await;
    painted(&browser).await;
    let square = browser.picture("#picture", false).await;
    assert_eq!(square.width, square.height);

    browser.click("#aspect option[value=\"\"]").await;
    browser.until("document.querySelector('#picture').width === 448").await;
    browser.click("#mirror").await;
    assert!(!browser.eval::<bool>("document.querySelector('#video').matches('.mirrored')").await);
    let (there, mirrored) = (browser.picture("#video", false).await, browser.picture("#video", true).await);
    browser.until_picture("#picture", |now| now.likeness(&there) > now.likeness(&mirrored) + 0.2).await;

    // All of it is remembered.
    browser.go(&site.page).await;
    browser.click("#start").await;
    painted(&browser).await;
    assert!(!browser.eval::<bool>("document.querySelector('#mirror').checked").await);
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_camera_can_be_chosen() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Pair).await;
    browser.go(&site.page).await;
    browser.click("#start").await;
    painted(&browser).await;
    let open = "document.querySelector('#video').srcObject.getVideoTracks()[0].getSettings().deviceId";
    let first: String = browser.eval(open).await;
    browser.click("#source > summary").await;
    assert!(browser.is_shown("#device").await);
    let cameras: Vec<String> =
        browser.eval("[...document.querySelector('#device').options].map(({ value }) => value)").await;
    assert!(cameras.len() == 2 && cameras[0] == first, "{first} of {cameras:?}");
    browser.click("#device option:nth-of-type(2)").await;
    browser.until(&format!("document.querySelector('#video').srcObject && {open} === {}", json!(cameras[1]))).await;
    painted(&browser).await;

    // It is the one that is opened next time.
    browser.go(&site.page).await;
    browser.click("#start").await;
    painted(&browser).await;
    assert_eq!(browser.eval::<String>(open).await, cameras[1]);
    browser.close().await;
    site.close().await;
}
