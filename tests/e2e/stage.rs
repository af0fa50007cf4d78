//! The stage: views, pausing, sources, recording, sharing, shortcuts.

use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::driver::driver;
use crate::site::Site;

/// Left, top, right and bottom of an element on the screen.
async fn place(browser: &Browser, selector: &str) -> [f64; 4] {
    let bounds = format!(
        "(({{ left, top, right, bottom }}) => [left, top, right, bottom])(document.querySelector('{selector}').getBoundingClientRect())"
    );
    browser.eval(&bounds).await
}

async fn painted(browser: &Browser) {
    browser.click("#start").await;
    browser.until("!document.querySelector('#picture').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_camera_is_in_the_corner_beside_or_under_the_picture() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    painted(&browser).await;

    let (camera, stage) = (place(&browser, "#camera").await, place(&browser, "#stage").await);
    assert!(camera[0] >= stage[0] && camera[2] <= stage[2] && camera[3] <= stage[3], "{camera:?} outside {stage:?}");
    assert!(camera[2] - camera[0] < (stage[2] - stage[0]) / 2.0, "{camera:?} is half of {stage:?}");
    browser.click("#views input[value=side]").await;
    let (camera, picture) = (place(&browser, "#camera").await, place(&browser, "#painted").await);
    assert!(camera[2] <= picture[0] && (camera[1] - picture[1]).abs() < 1.0, "{camera:?} beside {picture:?}");

    browser.click("#views input[value=compare]").await;
    browser.until("!document.querySelector('#cut').hidden").await;
    let (camera, picture) = (place(&browser, "#camera").await, place(&browser, "#painted").await);
    assert_eq!(camera, picture, "what is compared does not lie upon each other");
    browser.eval::<()>("document.querySelector('#cut').focus()").await;
    browser.type_text("\u{e011}").await; // Home: nothing of the camera
    let clip: String = browser.eval("getComputedStyle(document.querySelector('#camera')).clipPath").await;
    assert!(clip.contains("100%"), "{clip}");

    // The choice is remembered.
    browser.go(&site.page).await;
    browser.until("document.querySelector('#painter').dataset.view === 'compare'").await;
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_screen_shows_the_picture_alone_after_a_while() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    painted(&browser).await;
    browser.click("#fullscreen").await;
    browser.until("document.fullscreenElement === document.querySelector('#theatre')").await;
    let bar = "getComputedStyle(document.querySelector('#bar')).opacity";
    browser.until(&format!("{bar} === '1'")).await;
    let (camera, tools) = (place(&browser, "#camera").await, place(&browser, "#bar").await);
    assert!(camera[3] <= tools[1], "{camera:?} under {tools:?}");
    // The button that was clicked still has the focus.
    browser.until(&format!("{bar} === '0'")).await;
    assert_eq!(browser.eval::<String>("document.activeElement.id").await, "fullscreen");
    browser.type_text("f").await;
    browser.until("document.fullscreenElement === null").await;
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_sends_nothing_and_keeps_the_camera() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    painted(&browser).await;
    browser.click("#pause").await;
    assert_eq!(browser.text("#status").await, "Paused");
    let sent = site.jobs().len();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(site.jobs().len(), sent, "frames are sent in a pause");
    assert!(browser.eval::<bool>("document.querySelector('#video').srcObject.active").await);
    browser.click("#pause").await;
    browser.until("document.querySelector('#status').textContent === ''").await;
    while site.jobs().len() == sent {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_saved_as_it_came_and_the_video_has_its_frames() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    let folder = driver().new_folder("saved-");
    let allow = json!({ "behavior": "allow", "downloadPath": folder });
    browser.devtools("Browser.setDownloadBehavior", allow).await;
    browser.go(&site.page).await;
    painted(&browser).await;
    browser.click("#record").await;
    browser.until("document.querySelector('#record').getAttribute('aria-pressed') === 'true'").await;
    let shown = browser.picture("#picture", false).await;
    browser.until_picture("#picture", |now| now.distance(&shown) > 0.0).await;
    browser.click("#pause").await;
    browser.click("#save").await;
    browser.click("#record").await;
    let saved = |ending: &'static str| {
        let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == ending))
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while saved("png").is_none() || saved("webm").is_none() {
        assert!(std::time::Instant::now() < end, "nothing is saved in {}", folder.display());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let png = saved("png").expect("a picture");
    let name = png.file_stem().and_then(|name| name.to_str()).expect("a name");
    let job = name.strip_prefix("livewebcam-").expect("the job's id").parse().expect("the job's id");
    let original = std::fs::read(site.root().job(job).file(livewebcam_jobs::JobFile::Output)).expect("a painting");
    assert_eq!(std::fs::read(&png).expect("the saved picture"), original);
    assert!(std::fs::metadata(saved("webm").expect("a video")).expect("its size").len() > 1000);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_brings_the_settings_and_nothing_else() {
    let site = Site::with_models(&["sd15"]).await;
    let browser = Browser::open(Camera::Missing).await;
    let link = "#model=tiny/sd15&prompt=a+cat&steps=7&seed=12&view=side&device=spy";
    browser.go(&format!("{}/{link}", site.page)).await;
    browser.until("document.querySelector('#model').value === 'tiny/sd15'").await;
    let values: Vec<String> =
        browser.eval("['prompt', 'steps', 'seed'].map((id) => document.getElementById(id).value)").await;
    assert_eq!(values, ["a cat", "7", "12"]);
    assert_eq!(browser.eval::<String>("document.querySelector('#painter').dataset.view").await, "side");
    assert_eq!(browser.eval::<String>("location.hash").await, "", "the address keeps what may change");

    // And out again, from where a photo is being painted.
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("!document.querySelector('#picture').hidden").await;
    browser.eval::<()>("void (navigator.clipboard.writeText = async (text) => { window.copied = text })").await;
    browser.click("#share").await;
    browser.until("window.copied").await;
    let copied: String = browser.eval("window.copied").await;
    let (address, settings) = copied.split_once('#').expect("settings");
    assert_eq!(address, format!("{}/", site.page));
    assert_eq!(settings, "model=tiny%2Fsd15&prompt=a+cat&steps=7&scale=7.5&strength=0.5&seed=12&view=side");
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shortcuts_work_are_explained_and_can_be_switched_off() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("!document.querySelector('#picture').hidden").await;
    browser.eval::<()>("document.activeElement.blur()").await;
    browser.type_text("v").await;
    browser.until("document.querySelector('#painter').dataset.view === 'side'").await;
    browser.type_text("?").await;
    browser.until("document.querySelector('#keys-sheet').open").await;
    assert!(browser.text("#keys-sheet").await.contains("next view"));
    browser.click("#keys-on").await;
    browser.click("#keys-sheet button").await;
    browser.until("!document.querySelector('#keys-sheet').open").await;
    browser.eval::<()>("document.activeElement.blur()").await;
    browser.type_text("v").await;
    assert_eq!(browser.eval::<String>("document.querySelector('#painter').dataset.view").await, "side");
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ideas_fill_the_prompt_and_the_dice_the_seed() {
    let site = Site::with_models(&["sd15"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&format!("{}/#model=tiny/sd15", site.page)).await;
    browser.until("document.querySelector('#model').value === 'tiny/sd15'").await;
    browser.click(".preset:nth-of-type(2)").await;
    let prompt: String = browser.eval("document.querySelector('#prompt').value").await;
    assert!(prompt.contains("van Gogh"), "{prompt}");
    let marked: Vec<bool> =
        browser.eval("[...document.querySelectorAll('.preset')].map((p) => p.ariaPressed === 'true')").await;
    assert_eq!(marked.iter().filter(|marked| **marked).count(), 1);
    assert!(marked[1]);
    crate::switching::open_more(&browser).await;
    browser.click("#dice").await;
    let seed: u64 = browser.eval("Number(document.querySelector('#seed').value)").await;
    browser
        .until(&format!(
            "(document.querySelector('#dice').click(), Number(document.querySelector('#seed').value) !== {seed})"
        ))
        .await;
    browser.close().await;
    site.close().await;
}
