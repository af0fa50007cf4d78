//! Another model, another form: what a model says of itself is what the visitor can ask of it, and what is painted.

use std::time::Duration;

use image::RgbImage;
use livewebcam_jobs::{JobFile, JobId, Parameters};
use serde_json::{Value, json};

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::models::{painted, worst};
use crate::site::Site;

async fn form(browser: &Browser) -> Value {
    browser.call(include_str!("scripts/form.js"), &[]).await
}

pub(crate) async fn choose(browser: &Browser, model: &str) {
    browser.click(&format!("#model option[value=\"{model}\"]")).await;
}

/// Opens the further settings, which the page then keeps open.
pub(crate) async fn open_more(browser: &Browser) {
    if browser.is_shown("#more").await && !browser.eval::<bool>("document.querySelector('#more').open").await {
        browser.click("#more > summary").await;
    }
}

pub(crate) async fn fill(browser: &Browser, selector: &str, value: &str) {
    let now: String = browser.call(include_str!("scripts/fill.js"), &[json!(selector), json!(value)]).await;
    assert_eq!(now, value, "{selector}");
}

/// Waits for a picture of these parameters, and gives the newest job and its picture.
async fn picture_of(site: &Site, browser: &Browser, met: impl Fn(&Parameters) -> bool) -> (JobId, RgbImage) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let newest = site.jobs().last().copied();
        let done = newest.filter(|id| met(&site.request(*id).parameters) && site.outcome(*id).is_some());
        if let Some(id) = done {
            browser.until("!document.querySelector('#picture').hidden").await;
            let output = image::open(site.root().job(id).file(JobFile::Output)).expect("a painting").into_rgb8();
            return (id, output);
        }
        assert!(
            std::time::Instant::now() < end,
            "no picture of what was asked: {:?}",
            newest.map(|id| site.request(id))
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_follows_the_model() {
    let site = Site::with_models(&["sd15", "sdturbo"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    let models: Vec<String> =
        browser.eval("[...document.querySelector('#model').options].map(({ value }) => value)").await;
    assert_eq!(models, ["starter", "tiny/sd15", "tiny/sdturbo"]);
    let starter = json!({ "style": "soft watercolour", "strength": "0 to 1: 1" });
    assert_eq!(form(&browser).await, starter);

    choose(&browser, "tiny/sdturbo").await;
    assert_eq!(form(&browser).await, json!({ "prompt": "", "strength": "0.01 to 1: 0.5" }));
    open_more(&browser).await;
    let turbo = json!({
        "prompt": "", "steps": "1 to 4: 2", "strength": "0.01 to 1: 0.5", "seed": "", "scheduler": "",
    });
    assert_eq!(form(&browser).await, turbo);
    choose(&browser, "tiny/sd15").await;
    let usual = json!({
        "prompt": "", "negative_prompt": "", "steps": "1 to 150: 20", "scale": "0 to 30: 7.5",
        "strength": "0.01 to 1: 0.5", "seed": "", "scheduler": "",
    });
    assert_eq!(form(&browser).await, usual);
    let schedulers: Vec<String> =
        browser.eval("[...document.querySelector('#scheduler').options].map(({ value }) => value)").await;
    assert_eq!(schedulers[..2], ["", "pndm"]);
    assert!(schedulers.contains(&"euler_a_trailing".to_owned()));

    // What was chosen for a model comes back with it, and after a reload too.
    fill(&browser, "#steps", "8").await;
    choose(&browser, "starter").await;
    assert_eq!(form(&browser).await, starter);
    choose(&browser, "tiny/sd15").await;
    assert_eq!(form(&browser).await["steps"], "1 to 150: 8");
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').value === 'tiny/sd15'").await;
    assert_eq!(form(&browser).await["steps"], "1 to 150: 8");
    assert_eq!(site.jobs(), []);
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_painted_and_models_change_without_a_restart() {
    let site = Site::with_models(&["sd15", "sdturbo"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').options.length === 3").await;
    choose(&browser, "tiny/sd15").await;
    open_more(&browser).await;
    browser.type_into("#prompt", "a cat in the style of Van Gogh").await;
    browser.type_into("#negative_prompt", "blurry").await;
    browser.type_into("#seed", "4711").await;
    for (field, value) in [("#steps", "6"), ("#scale", "5.5"), ("#strength", "0.75"), ("#scheduler", "euler")] {
        fill(&browser, field, value).await;
    }
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    let asked = |seed: u64| Parameters {
        prompt: "a cat in the style of Van Gogh".to_owned(),
        negative_prompt: "blurry".to_owned(),
        style: None,
        steps: Some(6),
        guidance_scale: Some(5.5),
        strength: Some(0.75),
        seed: Some(seed),
        scheduler: Some("euler".to_owned()),
    };
    let (job, first) = picture_of(&site, &browser, |parameters| *parameters == asked(4711)).await;
    assert_eq!((site.request(job).model.as_str(), first.dimensions()), ("tiny/sd15", (128, 128)));

    // It is the picture that the runner paints by hand.
    let (root, input) = (site.root(), site.root().job(job).file(JobFile::Input));
    let by_hand = [
        ["--root", root.path().to_str().expect("text")],
        ["--model", "tiny/sd15"],
        ["--input", input.to_str().expect("text")],
        ["--prompt", "a cat in the style of Van Gogh"],
        ["--negative-prompt", "blurry"],
        ["--steps", "6"],
        ["--guidance", "5.5"],
        ["--strength", "0.75"],
        ["--seed", "4711"],
        ["--scheduler", "euler"],
    ];
    let by_hand = painted(&root, &[&["img2img"][..], by_hand.as_flattened()].concat());
    // The same machine, though perhaps not the same number of threads.
    assert!(worst(&first, &by_hand) <= 1);
    let shown = browser.picture("#picture", false).await;
    assert_eq!((shown.width, shown.height), (128, 128));

    // Another seed, another picture; the first one again, and the first picture is back.
    fill(&browser, "#seed", "4712").await;
    let (_, second) = picture_of(&site, &browser, |parameters| *parameters == asked(4712)).await;
    assert!(worst(&first, &second) > 10, "the seed makes no difference");
    browser.until_picture("#picture", |now| now.distance(&shown) > 0.5).await;
    fill(&browser, "#seed", "4711").await;
    let (again, third) = picture_of(&site, &browser, |parameters| *parameters == asked(4711)).await;
    assert!(again != job && first.as_raw() == third.as_raw(), "another picture of the same seed");
    browser.until_picture("#picture", |now| now.distance(&shown) == 0.0).await;

    // Too few steps for the strength.
    fill(&browser, "#strength", "0.05").await;
    fill(&browser, "#steps", "1").await;
    browser.until("document.querySelector('#status').textContent.includes('steps 1 → 20')").await;
    assert!(browser.text("#status").await.starts_with("Changed to what the model takes"));

    choose(&browser, "tiny/sdturbo").await;
    let (turbo, _) = picture_of(&site, &browser, |parameters| parameters.steps == Some(2)).await;
    let Parameters { guidance_scale, seed, prompt, .. } = site.request(turbo).parameters;
    assert_eq!(
        (site.request(turbo).model.as_str(), guidance_scale, seed, prompt.as_str()),
        ("tiny/sdturbo", None, None, "")
    );
    choose(&browser, "starter").await;
    let (starter, picture) = picture_of(&site, &browser, |parameters| parameters.style.is_some()).await;
    assert_eq!((site.request(starter).model.as_str(), picture.dimensions()), ("starter", (451, 300)));
    browser.until("document.querySelector('#picture').width === 451").await;
    assert_eq!(browser.text("#alert").await, "");
    assert_eq!(browser.console().await, [""; 0]);
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_is_told() {
    let site = Site::with_models(&["sdturbo"]).await;
    let browser = Browser::open(Camera::Missing).await;
    browser.go(&site.page).await;
    browser.until("document.querySelector('#model').options.length === 2").await;
    choose(&browser, "tiny/sdturbo").await;
    fill(&browser, "#prompt", &"word ".repeat(80)).await;
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    browser.until("document.querySelector('#status').textContent").await;
    assert_eq!(browser.text("#status").await, "The prompt is too long: its last 5 tokens were left out.");
    browser.close().await;
    site.close().await;
}
