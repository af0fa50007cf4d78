//! A Chromium with a profile of its own.

use std::time::{Duration, Instant};

use fantoccini::wd::{WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clip;
use crate::driver::driver;
use crate::picture::Picture;

/// How long anything that must happen may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the browser's camera is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Camera {
    /// It shows a photograph that moves a little, and the visitor allows it.
    Photograph,
    /// There are two, which show patterns, and the visitor allows them.
    Pair,
    /// The visitor has blocked it.
    Blocked,
    /// There is none.
    Missing,
}

/// One visitor's browser.
pub(crate) struct Browser {
    client: Client,
}

impl Browser {
    pub(crate) async fn open(camera: Camera) -> Self {
        Self::with_preferences(camera, json!({})).await
    }

    /// Of a visitor who reads this language.
    pub(crate) async fn speaking(language: &str) -> Self {
        Self::with_preferences(Camera::Missing, json!({ "intl.accept_languages": language })).await
    }

    /// Without JavaScript.
    pub(crate) async fn plain() -> Self {
        let no_script = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Self::with_preferences(Camera::Missing, no_script).await
    }

    async fn with_preferences(camera: Camera, mut preferences: Value) -> Self {
        let driver = driver();
        let mut flags: Vec<String> = [
            "--headless=new",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ]
        .map(str::to_owned)
        .to_vec();
        flags.push(format!("--user-data-dir={}", driver.new_folder("profile-").display()));
        if driver.as_root() {
            flags.push("--no-sandbox".to_owned());
        }
        match camera {
            Camera::Photograph => flags.extend([
                "--use-fake-ui-for-media-stream".to_owned(),
                "--use-fake-device-for-media-stream".to_owned(),
                format!("--use-file-for-fake-video-capture={}", clip::moving_photo().display()),
            ]),
            Camera::Pair => flags.extend([
                "--use-fake-ui-for-media-stream".to_owned(),
                "--use-fake-device-for-media-stream=device-count=2".to_owned(),
            ]),
            Camera::Blocked => {
                flags.push("--use-fake-device-for-media-stream".to_owned());
                preferences["profile.default_content_setting_values.media_stream_camera"] = json!(2);
            }
            Camera::Missing => flags.push("--use-fake-device-for-media-stream=device-count=0".to_owned()),
        }
        let capabilities = json!({
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": driver.chromium, "args": flags, "prefs": preferences },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver.url)
            .await
            .expect("failed to start Chromium");
        Self { client }
    }

    pub(crate) async fn close(self) {
        self.client.close().await.expect("failed to close Chromium");
    }

    pub(crate) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("failed to open {url}: {error}"));
    }

    /// Brings another tab in front of the page, which is told for [`Browser::show`].
    pub(crate) async fn hide(&self) -> WindowHandle {
        let page = self.client.window().await.expect("a tab");
        let other = self.client.new_window(true).await.expect("another tab");
        self.client.switch_to_window(other.handle).await.expect("another tab");
        page
    }

    /// Closes the tab in front and shows the page again.
    pub(crate) async fn show(&self, page: WindowHandle) {
        self.client.close_window().await.expect("failed to close a tab");
        self.client.switch_to_window(page).await.expect("the page");
    }

    pub(crate) async fn address(&self) -> Url {
        self.client.current_url().await.expect("an address")
    }

    pub(crate) async fn title(&self) -> String {
        self.client.title().await.expect("a title")
    }

    /// The page as the server sent it, as far as the browser still has it that way.
    pub(crate) async fn source(&self) -> String {
        self.client.source().await.expect("a page")
    }

    /// Clicks where a visitor would: an element that is covered or not shown fails.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.client.find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        element.click().await.unwrap_or_else(|error| panic!("cannot click {selector}: {error}"));
    }

    /// Types into an element; for a file field, the path of the file.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.client.find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        element.send_keys(text).await.unwrap_or_else(|error| panic!("cannot type into {selector}: {error}"));
    }

    /// Types into whatever has the focus.
    pub(crate) async fn type_text(&self, text: &str) {
        let element = self.client.active_element().await.expect("an element with the focus");
        element.send_keys(text).await.expect("failed to type");
    }

    pub(crate) async fn is_shown(&self, selector: &str) -> bool {
        let elements = self.client.find_all(Locator::Css(selector)).await.expect("a list of elements");
        let Some(element) = elements.first() else { return false };
        element.is_displayed().await.expect("whether an element is shown")
    }

    /// The text of an element as it is shown: empty if it is hidden.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.client.find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        element.text().await.expect("a text")
    }

    /// The value of an expression in the page, awaited if it is a promise.
    pub(crate) async fn eval<T: DeserializeOwned>(&self, expression: &str) -> T {
        self.call(&format!("() => ({expression})"), &[]).await
    }

    /// Calls a function of `scripts/` in the page.
    pub(crate) async fn call<T: DeserializeOwned>(&self, function: &str, arguments: &[Value]) -> T {
        let script = format!("return ({})(...arguments)", function.trim().trim_end_matches(';'));
        let value = self.client.execute(&script, arguments.to_vec()).await.expect("the script failed");
        serde_json::from_value(value).expect("another kind of value")
    }

    /// Runs a script of others in the page.
    pub(crate) async fn run(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.expect("the script failed");
    }

    /// What `selector` shows: a canvas, a video or an image; turned about if `mirrored`.
    pub(crate) async fn picture(&self, selector: &str, mirrored: bool) -> Picture {
        self.call(include_str!("scripts/picture.js"), &[json!(selector), json!(mirrored)]).await
    }

    /// Waits until an expression in the page is true.
    pub(crate) async fn until(&self, expression: &str) {
        let start = Instant::now();
        while !self.eval::<bool>(&format!("Boolean({expression})")).await {
            if start.elapsed() > PATIENCE {
                let page: String = self.eval("document.body.innerText").await;
                panic!("still not: {expression}\nthe page says:\n{page}\nthe console: {:?}", self.console().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the browser has arrived at a path.
    pub(crate) async fn until_at(&self, path: &str) {
        let start = Instant::now();
        while self.address().await.path() != path {
            assert!(start.elapsed() < PATIENCE, "still at {}", self.address().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until `selector` shows a picture that meets the condition.
    pub(crate) async fn until_picture(&self, selector: &str, condition: impl Fn(&Picture) -> bool) {
        let start = Instant::now();
        while !condition(&self.picture(selector, false).await) {
            assert!(start.elapsed() < PATIENCE, "{selector} still shows another picture");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the browser has complained about since the last call: scripts' errors, refused requests, violations of the
    /// page's policy.
    pub(crate) async fn console(&self) -> Vec<String> {
        let log = self.issue("se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().expect("a list");
        entries.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.issue("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn issue(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Extension { path, body }).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// A command of chromedriver's own.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
