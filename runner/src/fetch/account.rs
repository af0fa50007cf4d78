//! What the environment says of the hub: where it is and who asks, by the variables and files that its own tools use.

use std::env;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use hf_hub::Cache;
use ureq::http::Uri;

use super::FetchError;

const ENDPOINT: &str = "https://huggingface.co";

/// A token, and where it is from.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) secret: String,
    pub(super) source: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token from {}", self.source)
    }
}

/// `HF_ENDPOINT`, or the hub itself; without a slash at its end.
pub(super) fn endpoint() -> Result<(String, Uri), FetchError> {
    let text = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
    let text = text.trim_end_matches('/');
    let uri = text.parse::<Uri>().ok();
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    let uri = uri.ok_or_else(|| FetchError::Endpoint { value: text.to_owned() })?;
    Ok((text.to_owned(), uri))
}

/// The first of `HF_TOKEN`, the file `HF_TOKEN_PATH` and the file `token` in the hub's folder in the user's home.
pub(super) fn token() -> Result<Option<Token>, FetchError> {
    let token = |secret: &str, source: String| {
        let secret = secret.trim();
        if secret.is_empty() {
            Ok(None)
        } else if secret.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Some(Token { secret: secret.to_owned(), source }))
        } else {
            Err(FetchError::Token { source_name: source })
        }
    };
    if let Some(secret) = variable("HF_TOKEN") {
        return token(&secret, "HF_TOKEN".to_owned());
    }
    let file = variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| cache().map(|cache| cache.token_path()));
    let Some(path) = file else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(secret) => token(&secret, path.display().to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FetchError::Read { path, source }),
    }
}

/// The hub's folder in the user's home.
pub(super) fn cache() -> Option<Cache> {
    let in_cache = |cache: PathBuf| cache.join("huggingface");
    let home = variable("HF_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| in_cache(cache.into())))
        .or_else(|| env::home_dir().map(|home| in_cache(home.join(".cache"))));
    home.map(|home| Cache::new(home.join("hub")))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}
