//! `GET /events` and `GET /jobs/{id}/events`: how far a frame is, told to its visitor as it happens.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::pictures;
use crate::runners::{CLAIM, SLEEP};
use crate::site::Site;

const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of events, read one by one.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(site: &Site, cookie: &str, path: &str) -> Self {
        let response = site.request(Method::GET, path).header("cookie", cookie).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event, or `None` at the stream's end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(|data| serde_json::from_str(data).expect("JSON"));
                self.text = rest.to_owned();
                match data {
                    Some(data) => return Some(data),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("news in time");
            self.text.push_str(std::str::from_utf8(&chunk.expect("a connection")?).expect("a text"));
        }
    }

    /// Everything up to an event in this state, with it.
    async fn until(&mut self, state: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &Value| event["state"] != state) {
            seen.push(self.next().await.unwrap_or_else(|| panic!("the stream ended before {state}: {seen:?}")));
        }
        seen
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_follows_their_frame_and_nobody_elses() {
    let site = Site::start().await;
    let progress = r#"printf '{"phase":"paint","step":3,"steps":20}' >progress.json"#;
    site.tree.replace_runner(&format!("{CLAIM}\n{progress}{SLEEP}"));
    let cookie = site.get("/").await.visitor();
    let other = site.get("/").await.visitor();

    // The page asks before its frame is there, by a name of its own.
    let mut events = Events::open(&site, &cookie, "/events?request=mine").await;
    let mut stranger = Events::open(&site, &other, "/events?request=mine").await;
    let form = pictures::form().text("request", "mine");
    let request = site.request(Method::POST, "/generate").multipart(form).header("cookie", &cookie);
    let waiting = tokio::spawn(Answer::to(request));
    let seen = events.until("painting").await;
    assert_eq!(seen.last(), Some(&json!({ "state": "painting", "step": 3, "steps": 20 })));

    // By the job's own address too: for its visitor and the operator.
    let id = site.tree.only_job().await;
    let path = format!("/jobs/{id}/events");
    let mut of_job = Events::open(&site, &cookie, &path).await;
    of_job.until("painting").await;
    site.get_as(&other, &path).await.expect(403);
    let nothing = tokio::time::timeout(Duration::from_secs(2), stranger.next()).await;
    assert!(nothing.is_err(), "a stranger is told {nothing:?}");

    let delete = site.request(Method::DELETE, &format!("/jobs/{id}")).header("cookie", &cookie);
    Answer::to(delete).await.expect(202);
    for mut stream in [events, of_job] {
        assert_eq!(stream.until("ended").await.last(), Some(&json!({ "state": "ended" })));
        assert_eq!(stream.next().await, None);
    }
    waiting.await.expect("no panic").expect(502);
    drop(stranger);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_has_one_last_event() {
    let site = Site::start().await;
    let painted = site.paint().await.expect(200);
    let mut events = Events::open(&site, &painted.visitor(), &format!("/jobs/{}/events", painted.job())).await;
    assert_eq!(events.next().await, Some(json!({ "state": "ended" })));
    assert_eq!(events.next().await, None);
    site.stop().await;
}
