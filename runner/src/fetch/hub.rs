//! The hub's protocol. hf-hub knows its addresses and asks for descriptions; files come through an agent of our own, because
//! hf-hub's download sends the token to the storage hosts that the hub redirects to, and does not check what it gets.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Repo, RepoType};
use livewebcam_jobs::HubName;
use serde::Deserialize;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use super::FetchError;
use super::account::{self, Token};
use super::record::{RemoteFile, is_plain};

const MOST_REDIRECTS: usize = 10;
/// No description of a repository comes near this size.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
/// How long a peer may keep silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hub, or another server that speaks its protocol.
pub(super) struct Hub {
    api: Api,
    agent: Agent,
    /// As in the settings, and its parts.
    address: String,
    endpoint: Uri,
    token: Option<Token>,
}

/// A repository at one commit.
pub(super) struct Commit<'a> {
    hub: &'a Hub,
    pub(super) name: HubName,
    pub(super) commit: String,
    repo: ApiRepo,
    files: BTreeMap<String, Told>,
}

/// What the description tells of a file: mirrors leave some of it out.
struct Told {
    size: Option<u64>,
    sha256: Option<String>,
}

/// Why a request has no good answer.
#[derive(Debug)]
pub(super) enum Failure {
    Transport(ureq::Error),
    Status {
        status: u16,
        code: String,
        message: String,
    },
    /// A redirect that leads nowhere, or from https to http.
    Redirect(String),
}

#[derive(Deserialize)]
struct Description {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Hub {
    /// The hub that the environment names.
    pub(super) fn from_env() -> Result<Self, FetchError> {
        let (address, endpoint) = account::endpoint()?;
        let token = account::token()?;
        let cache = account::cache().unwrap_or_else(|| hf_hub::Cache::new("hub".into()));
        let builder = ApiBuilder::from_cache(cache)
            .with_endpoint(address.clone())
            .with_token(token.as_ref().map(|token| token.secret.clone()))
            .with_user_agent(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        let api = builder.build().map_err(|error: ApiError| FetchError::Setup { source: Box::new(error) })?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_per_write(Some(PATIENCE))
            .build();
        Ok(Self { api, agent: agent.into(), address, endpoint, token })
    }

    /// The commit that `revision` is now, and its files.
    pub(super) fn resolve(&self, name: &HubName, revision: &str) -> Result<Commit<'_>, FetchError> {
        let repo = Repo::with_revision(name.to_string(), RepoType::Model, revision.to_owned());
        let request = self.api.repo(repo).info_request().query("blobs", "true");
        let request = request.config().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let answer = request.call().map_err(Failure::Transport).and_then(good);
        let mut answer = answer.map_err(|failure| self.explain(failure, name, revision, "its description"))?;
        let body = answer.body_mut().with_config().limit(LARGEST_DESCRIPTION).read_to_vec();
        let body = body.map_err(|error| self.explain(Failure::Transport(error), name, revision, "its description"))?;
        let description: Description = serde_json::from_slice(&body)
            .map_err(|source| FetchError::Description { name: name.to_string(), source })?;
        if description.sha.len() != 40 || !description.sha.chars().all(|c| c.is_ascii_hexdigit()) {
            let problem = format!("`{}` is no commit", description.sha);
            return Err(FetchError::Protocol { what: format!("the description of {name}"), problem });
        }
        let told = |sibling: Sibling| {
            let sha256 = sibling.lfs.and_then(|lfs| lfs.sha256).filter(|sha256| is_sha256(sha256));
            (sibling.rfilename, Told { size: sibling.size, sha256 })
        };
        let mut commit = self.at(name, description.sha);
        commit.files = description.siblings.into_iter().map(told).collect();
        Ok(commit)
    }

    /// A commit whose files are known already.
    pub(super) fn at(&self, name: &HubName, commit: String) -> Commit<'_> {
        let repo = self.api.repo(Repo::with_revision(name.to_string(), RepoType::Model, commit.clone()));
        Commit { hub: self, name: name.clone(), commit, repo, files: BTreeMap::new() }
    }

    /// Follows redirects. The token goes to the hub alone: the storage that it redirects to has signed addresses.
    fn request(&self, head: bool, address: &str, from: u64) -> Result<Response<Body>, Failure> {
        let nowhere = |address: &str| Failure::Redirect(format!("it redirects to `{address}`"));
        let mut uri: Uri = address.parse().map_err(|_| nowhere(address))?;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = if head { self.agent.head(&uri) } else { self.agent.get(&uri) };
            if let Some(token) = self.token.as_ref().filter(|_| self.is_own(&uri)) {
                request = request.header("authorization", format!("Bearer {}", token.secret));
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let answer = request.call().map_err(Failure::Transport)?;
            // The hub tells of a large file before it redirects to it.
            let told = head && header(answer.headers(), "x-linked-size").is_some();
            if !answer.status().is_redirection() || told {
                return if told { Ok(answer) } else { good(answer) };
            }
            let location = header(answer.headers(), "location").unwrap_or_default().to_owned();
            uri = next(&uri, &location).ok_or_else(|| nowhere(&location))?;
        }
        Err(Failure::Redirect("it redirects on and on".to_owned()))
    }

    fn is_own(&self, uri: &Uri) -> bool {
        uri.scheme() == self.endpoint.scheme() && uri.authority() == self.endpoint.authority()
    }

    /// What to do about a failure.
    pub(super) fn explain(&self, failure: Failure, name: &HubName, revision: &str, what: &str) -> FetchError {
        let (name, endpoint) = (name.to_string(), self.address.clone());
        let (status, code, message) = match failure {
            Failure::Transport(source) => {
                return FetchError::Unreachable { endpoint, name, source: Box::new(source) };
            }
            Failure::Redirect(problem) => return FetchError::Protocol { what: format!("{what} of {name}"), problem },
            Failure::Status { status, code, message } => (status, code, message),
        };
        let token = self.token.is_some();
        match (status, code.as_str(), &self.token) {
            (401 | 403, "GatedRepo", _) => FetchError::Gated { name, endpoint, token },
            (404, "RevisionNotFound", _) => FetchError::NoRevision { name, revision: revision.to_owned(), endpoint },
            (404, "EntryNotFound", _) => FetchError::Lacks { name, file: what.to_owned() },
            (401, code, Some(token)) if code != "RepoNotFound" => {
                FetchError::Refused { source_name: token.source.clone(), endpoint }
            }
            (401 | 404, ..) => FetchError::NoModel { name, endpoint, token },
            _ => {
                let advice = if status == 429 { "; wait a few minutes, or set a token" } else { "" };
                let message = if message.is_empty() { advice.to_owned() } else { format!(": {message}{advice}") };
                FetchError::Answer { status, what: format!("{what} of {name}"), message }
            }
        }
    }
}

impl Commit<'_> {
    /// Whether the repository has this file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// What the hub says of a file.
    pub(super) fn file(&self, path: &str) -> Result<RemoteFile, FetchError> {
        let name = self.name.to_string();
        if !is_plain(path) {
            return Err(FetchError::FileName { name, file: path.to_owned() });
        }
        let lacks = || FetchError::Lacks { name: name.clone(), file: path.to_owned() };
        let told = self.files.get(path).ok_or_else(lacks)?;
        if let Some(size) = told.size {
            return Ok(RemoteFile { path: path.to_owned(), size, sha256: told.sha256.clone() });
        }
        let answer = self.hub.request(true, &self.repo.url(path), 0).map_err(|failure| self.explain(failure, path))?;
        let headers = answer.headers();
        let size = header(headers, "x-linked-size").or_else(|| header(headers, "content-length"));
        let unknown = || FetchError::Protocol {
            what: format!("{path} of {name}"),
            problem: "it does not tell the file's size".to_owned(),
        };
        let size = size.and_then(|size| size.parse().ok()).ok_or_else(unknown)?;
        let tag = header(headers, "x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        Ok(RemoteFile { path: path.to_owned(), size, sha256: tag.filter(|tag| is_sha256(tag)) })
    }

    /// A file's content from the byte `from` on; the answer's status tells whether it begins there (206) or not (200).
    pub(super) fn open(&self, path: &str, from: u64) -> Result<Response<Body>, Failure> {
        self.hub.request(false, &self.repo.url(path), from)
    }

    pub(super) fn explain(&self, failure: Failure, path: &str) -> FetchError {
        self.hub.explain(failure, &self.name, &self.commit, path)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Status { status, .. } => write!(f, "the hub answered {status}"),
            Self::Redirect(problem) => problem.fmt(f),
        }
    }
}

impl Failure {
    /// Whether the same request may have a better answer a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Transport(error) => !matches!(error, ureq::Error::Rustls(_) | ureq::Error::Http(_)),
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            Self::Redirect(_) => false,
        }
    }
}

fn good(answer: Response<Body>) -> Result<Response<Body>, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = |name: &str| header(answer.headers(), name).unwrap_or_default().chars().take(300).collect();
    Err(Failure::Status { status: status.as_u16(), code: text("x-error-code"), message: text("x-error-message") })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Where a redirect leads: to another place on the same host, or to another host.
fn next(from: &Uri, location: &str) -> Option<Uri> {
    let to: Uri = location.parse().ok()?;
    if to.scheme().is_some() {
        return (from.scheme_str() != Some("https") || to.scheme_str() == Some("https")).then_some(to);
    }
    if !location.starts_with('/') || location.starts_with("//") {
        return None;
    }
    let builder = Uri::builder().scheme(from.scheme()?.clone()).authority(from.authority()?.clone());
    builder.path_and_query(to.path_and_query()?.clone()).build().ok()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}
