//! What the server answered, read for tests.

use image::RgbImage;
use livewebcam_jobs::JobId;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a whole answer").to_vec();
        Self { status, headers, body }
    }

    /// Panics with the answer's text unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]));
        self
    }

    /// The header's value; panics if there is none.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("there is no header {name}: {:?}", self.headers));
        value.to_str().expect("an ASCII header")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The reason in an error's JSON. No reason ever names a path of this machine or breaks a line.
    #[track_caller]
    pub fn error(&self) -> String {
        let json = self.json();
        let error = json["error"].as_str().expect("an error").to_owned();
        assert!(!error.contains(env!("CARGO_TARGET_TMPDIR")) && !error.contains(char::is_control), "{error:?}");
        error
    }

    #[track_caller]
    pub fn job(&self) -> JobId {
        self.header("x-job-id").parse().expect("a job id")
    }

    #[track_caller]
    pub fn picture(&self) -> RgbImage {
        assert_eq!(self.header("content-type"), "image/png");
        image::load_from_memory(&self.body).expect("a picture").into_rgb8()
    }

    /// The cookie of this name as it is sent back, and its attributes.
    pub fn cookie(&self, name: &str) -> Option<(String, String)> {
        let cookies = self.headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let mut named = cookies.filter(|cookie| cookie.starts_with(&format!("{name}=")));
        let (pair, attributes) = named.next()?.split_once(';')?;
        Some((pair.to_owned(), attributes.to_owned()))
    }

    /// The visitor's cookie, as it is sent back.
    #[track_caller]
    pub fn visitor(&self) -> String {
        self.cookie("visitor").expect("a visitor's cookie").0
    }
}
