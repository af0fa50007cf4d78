//! A server of a test's own, built as `livewebcam serve` builds it, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use livewebcam::application::Application;
use livewebcam::settings::Settings;
use reqwest::multipart::Form;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::pictures;
use crate::tree::Tree;

/// The operator's token of every test.
pub const TOKEN: &str = "the-token-of-the-operator";

pub struct Site {
    pub tree: Arc<Tree>,
    /// `127.0.0.1` and the port.
    pub host: String,
    /// The address of the page and the operator's link.
    pub links: (String, Option<String>),
    client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Site {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other settings than the embedded default's.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(Arc::new(Tree::new()), change).await
    }

    /// A server on a tree that is there already.
    pub async fn on(tree: Arc<Tree>, change: impl FnOnce(&mut Settings)) -> Self {
        Self::try_on(tree, change).await.unwrap_or_else(|error| panic!("no server: {error:#}"))
    }

    pub async fn try_on(tree: Arc<Tree>, change: impl FnOnce(&mut Settings)) -> anyhow::Result<Self> {
        let mut settings = tree.settings();
        settings.server.operator_token = TOKEN.to_owned();
        change(&mut settings);
        let application = Application::build(settings).await?;
        let (host, links) = (application.address().to_string(), application.links());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(application.run_until(async {
            let _ = stopped.await;
        }));
        Ok(Self { tree, host, links, client: client(), stop, server })
    }

    /// Shuts down and checks what every shutdown must leave: nobody's root, no marker, no process.
    pub async fn stop(self) {
        let tree = self.leave().await;
        assert!(!tree.root.frontend().exists(), "the root was not given up");
        assert_eq!(tree.markers(), [""; 0]);
        tree.quiet().await;
    }

    /// Shuts down without those checks.
    pub async fn leave(self) -> Arc<Tree> {
        drop(self.stop);
        let ended = tokio::time::timeout(Duration::from_secs(60), self.server).await;
        ended.expect("an end of the server").expect("no panic").expect("no error");
        self.tree
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.host))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// As the operator.
    pub async fn inspect(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path).bearer_auth(TOKEN)).await
    }

    /// As whoever has this cookie.
    pub async fn get_as(&self, cookie: &str, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path).header("cookie", cookie)).await
    }

    pub async fn generate(&self, form: Form) -> Answer {
        Answer::to(self.request(Method::POST, "/generate").multipart(form)).await
    }

    /// A small frame with the model's defaults.
    pub async fn paint(&self) -> Answer {
        self.generate(pictures::form()).await
    }

    /// A small frame that somebody waits for elsewhere. Aborting the task is a browser that goes away.
    pub fn paint_later(&self, form: Form) -> JoinHandle<Answer> {
        tokio::spawn(Answer::to(self.request(Method::POST, "/generate").multipart(form)))
    }

    /// Sends these bytes as they are, for requests that no decent client makes, and reads to the end of the connection.
    pub async fn raw(&self, request: &str) -> String {
        let mut connection = TcpStream::connect(&self.host).await.expect("a connection");
        connection.write_all(request.as_bytes()).await.expect("a request sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), connection.read_to_end(&mut answer)).await;
        read.expect("an answer in time").expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request line as it is, as the operator; the status.
    pub async fn raw_status(&self, method: &str, target: &str) -> u16 {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n",
            self.host
        );
        let answer = self.raw(&request).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no answer to {target}: {answer:?}"))
    }
}

fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(60));
    builder.build().expect("a client")
}
