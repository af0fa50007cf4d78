//! The inspection pages, as the operator, the visitor and a stranger see them.

use livewebcam_jobs::JobId;
use serde_json::json;

use crate::browser::{Browser, Camera};
use crate::clip;
use crate::site::Site;

const HOSTILE: &str = "<script>document.title = 'taken'</script> \" ' & {{ 7 * 7 }} \u{1b}[31m";

/// Has a photograph painted in the page's own way, with a prompt that the page's form does not offer.
async fn paint(browser: &Browser) -> JobId {
    let photo = clip::photo("chelsea.png").canonicalize().expect("a photograph");
    browser.type_into("#input", &photo.to_string_lossy()).await;
    // The page paints it by itself too, and of two frames that wait the newer one would take the other's place.
    browser.until("!document.querySelector('#picture').hidden").await;
    browser.call(include_str!("scripts/paint.js"), &[json!(HOSTILE)]).await
}

async fn loaded(browser: &Browser, images: &str) {
    browser.until(&format!("document.querySelectorAll('{images}').length")).await;
    browser
        .until(&format!(
            "[...document.querySelectorAll('{images}')].every((image) => image.complete && image.naturalWidth)"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_every_job_and_a_stranger_none() {
    let site = Site::open().await;
    let visitor = Browser::open(Camera::Missing).await;
    visitor.go(&site.page).await;
    let job = paint(&visitor).await;
    let address = format!("{}/jobs/{job}", site.page);

    let operator = Browser::open(Camera::Missing).await;
    operator.go(&site.jobs_link).await;
    assert_eq!(operator.address().await.as_str(), format!("{}/jobs", site.page), "the token stays in the address");
    assert_eq!(operator.title().await, "Jobs · LiveWebcamAI");
    loaded(&operator, ".job img").await;
    operator.click(&format!(".job a[href='/jobs/{job}']")).await;
    loaded(&operator, ".pair.large img").await;
    let input = operator.picture(".half:first-child img", false).await;
    let output = operator.picture(".half:last-child img", false).await;
    assert_eq!((input.width, input.height), (451, 300));
    assert_eq!((output.width, output.height), (input.width, input.height));
    assert!(output.likeness(&input) > 0.5 && output.distance(&input) > 8.0);

    // The bar is whole, and each part of it has a colour of its own.
    let widths: Vec<f64> = operator
        .eval("[...document.querySelectorAll('.split rect')].map((part) => part.width.baseVal.valueInSpecifiedUnits)")
        .await;
    assert!(widths.len() >= 3 && (widths.iter().sum::<f64>() - 100.0).abs() < 0.5, "{widths:?}");
    let mut colours: Vec<String> =
        operator.eval("[...document.querySelectorAll('.split rect')].map((part) => getComputedStyle(part).fill)").await;
    colours.sort_unstable();
    colours.dedup();
    assert_eq!(colours.len(), widths.len(), "{colours:?}");
    let replay = operator.text("#replay-command").await;
    assert!(replay.contains("livewebcam-runner replay --job") && replay.contains(&job.to_string()), "{replay}");
    assert!(operator.is_shown("[aria-labelledby=log] pre").await);

    // What a visitor wrote is text.
    let title = format!("Job {job} · LiveWebcamAI");
    assert_eq!(operator.title().await, title);
    let page = operator.text("main").await;
    assert!(page.contains("<script>document.title = 'taken'</script> \" ' & {{ 7 * 7 }}"), "{page}");
    assert!(!page.contains('\u{1b}'));
    let scripts: Vec<String> = operator.eval("[...document.scripts].map(({ src }) => new URL(src).pathname)").await;
    assert_eq!(scripts, ["/static/js/job.js"]);
    assert_eq!(operator.console().await, [""; 0]);
    operator.close().await;

    // The visitor sees the own job, without the log and the paths; and not the list.
    visitor.go(&address).await;
    assert_eq!(visitor.title().await, title);
    loaded(&visitor, ".pair.large img").await;
    assert!(!visitor.is_shown("#replay-command").await && !visitor.is_shown("[aria-labelledby=log]").await);
    visitor.go(&format!("{}/jobs", site.page)).await;
    assert_eq!(visitor.title().await, "Forbidden · LiveWebcamAI");
    visitor.close().await;

    let stranger = Browser::open(Camera::Missing).await;
    stranger.go(&site.page).await;
    for address in [address.clone(), format!("{address}/output.png"), format!("{}/jobs", site.page)] {
        stranger.go(&address).await;
        assert_eq!(stranger.title().await, "Forbidden · LiveWebcamAI", "{address}");
        assert!(stranger.text("main").await.contains("403"));
    }
    stranger.close().await;
    site.close().await;
}

/// The ids of the jobs on the wall, newest first.
async fn hung(browser: &Browser) -> Vec<String> {
    browser.eval("[...document.querySelectorAll('.job')].map(({ id }) => id.slice('job-'.length))").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_of_jobs_is_live_and_can_be_filtered() {
    let site = Site::with_models(&["sd15"]).await;
    let visitor = Browser::open(Camera::Missing).await;
    visitor.go(&site.page).await;
    paint(&visitor).await;
    let first: Vec<String> = site.jobs().iter().rev().map(ToString::to_string).collect();

    let operator = Browser::open(Camera::Missing).await;
    operator.go(&site.jobs_link).await;
    operator.eval::<()>("void (window.since = document.querySelector('.job img'))").await;
    assert_eq!((hung(&operator).await, first.len()), (first.clone(), 2));

    // A new job comes, and what hung there stays as it is.
    let again = async || visitor.call::<JobId>(include_str!("scripts/paint.js"), &[json!("")]).await.to_string();
    let second = again().await;
    operator.until("document.querySelectorAll('.job').length === 3").await;
    assert_eq!(hung(&operator).await, [&[second][..], &first].concat());
    assert!(operator.eval::<bool>("window.since?.isConnected === true").await, "the page was loaded anew");
    loaded(&operator, ".job img").await;
    operator.until("document.querySelector('.lead p').textContent.startsWith('3 ')").await;

    operator.click("[name=state] option[value=failed]").await;
    operator.until("location.search.includes('state=failed') && document.querySelector('.empty')").await;
    operator.click("[name=state] option[value=done]").await;
    operator.until("location.search.includes('state=done') && document.querySelectorAll('.job').length === 3").await;
    operator.click("[name=model] option:nth-of-type(3)").await;
    operator.until("location.search.includes('model=tiny') && document.querySelector('.empty')").await;
    operator.click("[name=model] option:nth-of-type(2)").await;
    operator.until("location.search.includes('model=starter') && document.querySelectorAll('.job').length === 3").await;
    let third = again().await;
    operator.until("document.querySelectorAll('.job').length === 4").await;
    assert_eq!(hung(&operator).await[0], third, "a filtered wall is not live");
    for browser in [visitor, operator] {
        browser.close().await;
    }
    site.close().await;
}
