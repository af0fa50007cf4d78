//! Without JavaScript the page is a form, and its answer is the picture.

use crate::browser::Browser;
use crate::clip;
use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_form_answers_with_the_painting() {
    let site = Site::open().await;
    let browser = Browser::plain().await;
    browser.go(&site.page).await;
    assert!(!browser.is_shown("#start").await, "a button that can do nothing");
    let photo = clip::photo("coffee.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.click("input[name=style][value=\"embers\"]").await;
    browser.click("button[type=submit]").await;

    browser.until_at("/generate").await;
    // Browsers name an image after its file and its size. 600 × 400 fit into the model's 512 × 512 as 512 × 341.
    let title = browser.title().await;
    assert!(title.contains("512×341"), "{title}");
    let jobs = site.jobs();
    let [job] = jobs.as_slice() else { panic!("one form, one job: {jobs:?}") };
    assert_eq!(site.request(*job).parameters.style.expect("a style").to_string(), "embers");
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_form_answers_with_a_page_where_there_is_no_painting() {
    let site = Site::open().await;
    let browser = Browser::plain().await;
    browser.go(&site.page).await;
    let text = crate::driver::driver().new_folder("text-").join("text.png");
    std::fs::write(&text, "no picture").expect("a file");
    browser.type_into("#input", &text.to_string_lossy()).await;
    browser.click("button[type=submit]").await;
    browser.until_at("/generate").await;
    assert_eq!(browser.title().await, "Unsupported Media Type · LiveWebcamAI");
    assert!(browser.is_shown("main a[href='/']").await, "there is no way back");
    assert!(browser.source().await.contains("lost-number"));
    browser.close().await;
    site.close().await;
}
