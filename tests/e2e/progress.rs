//! What is going on: the quiet line and the wait for a picture, as the server tells of them.

use serde_json::{Value, json};

use crate::browser::{Browser, Camera};
use crate::flow::stand_in;
use crate::site::Site;

fn runner(device: &str, state: &str) -> Value {
    json!({ "id": "of nobody's interest", "model": "starter", "device": device, "state": state, "painted": 3 })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quiet_line_tells_of_runners_and_the_line_where_there_is_something_to_tell() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    let cases = [
        (json!({}), "0 of 8 frames in work"),
        (json!({ "runners": [], "waiting": 0, "policy": "warm" }), "0 of 8 frames in work"),
        (json!({ "runners": [runner("cpu", "idle")] }), "1 runner on CPU · 0 of 8 frames in work"),
        (
            json!({ "runners": [runner("cuda", "painting"), runner("cuda", "starting"), runner("", "pending")], "waiting": 5 }),
            "3 runners on GPU, 2 starting · 0 of 8 frames in work · 5 waiting",
        ),
        (json!({ "runners": [runner("cpu", "idle"), runner("metal", "idle")] }), "2 runners · 0 of 8 frames in work"),
    ];
    for (fields, expected) in cases {
        browser.go(&site.page).await;
        let mut fields = fields;
        fields["in_flight"] = json!(0);
        fields["max_in_flight"] = json!(8);
        stand_in(&browser, fields, &[200]).await;
        browser.click("#start").await;
        browser.until("!document.querySelector('#figures').hidden").await;
        browser.until(&format!("document.querySelector('#work').textContent === {}", json!(expected))).await;
        browser.click("#toggle").await;
    }
    browser.close().await;
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_is_explained_with_the_place_in_line_and_an_estimate() {
    let site = Site::open().await;
    let browser = Browser::open(Camera::Photograph).await;
    browser.go(&site.page).await;
    stand_in(&browser, json!({}), &[0]).await;
    browser.click("#start").await;
    browser.until("window.standIn.tell").await;
    for (stage, now, then) in [
        (json!({ "state": "staging", "ahead": 2 }), "Your frame is on its way to the cluster.", ""),
        (
            json!({ "state": "staging", "ahead": 2, "seconds": 12 }),
            "Your frame waits for its turn; 2 came earlier.",
            "About 12 s until it is painted.",
        ),
        (
            json!({ "state": "staging", "ahead": 0, "seconds": 3 }),
            "Your frame is on its way to the cluster.",
            "About 3 s until it is painted.",
        ),
        (
            json!({ "state": "queued", "ahead": 1, "seconds": 190, "waits": null }),
            "Your frame waits for its turn; one came earlier.",
            "About 3 min until it is painted.",
        ),
        (
            json!({ "state": "queued", "ahead": 0, "waits": "other jobs of the cluster are first in line" }),
            "Your frame waits on the cluster: other jobs of the cluster are first in line.",
            "",
        ),
        (json!({ "state": "loading" }), "The model is being loaded.", ""),
        (json!({ "state": "painting", "step": 2, "steps": 8 }), "Painting, step 2 of 8.", ""),
    ] {
        browser.eval::<bool>(&format!("standIn.tell({stage})")).await;
        assert_eq!((browser.text("#stage-now").await.as_str(), browser.text("#estimate").await.as_str()), (now, then));
        let line: String = browser.eval("document.querySelector('#step-now').textContent").await;
        assert_eq!(line, format!("{now} {then}").trim());
    }
    assert_eq!(browser.eval::<f64>("document.querySelector('#progress').position").await, 0.25);
    browser.close().await;
    site.close().await;
}
