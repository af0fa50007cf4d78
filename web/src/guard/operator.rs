//! The operator: whoever holds the token.

use std::fmt;

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use sha2::{Digest, Sha256};

use super::cookie_values;
use super::visitor::over_tls;

const COOKIE: &str = "operator";
const PARAMETER: &str = "token";

/// A token in the settings that is too short, or cannot stand in an address and a cookie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the operator's token must have 16 to 256 letters, digits, `-`, `_`, `.` or `~`; leave it empty for a random one"
)]
pub struct WeakToken;

/// Who may list all jobs and open or cancel any of them. The token is shown once, at the start, and compared in
/// constant time.
#[derive(Clone)]
pub struct Operator {
    token: Option<String>,
}

/// What follows from a link with the right token in it.
#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    /// Makes the browser the operator's until it is closed.
    pub cookie: Cookie<'static>,
    /// The same path and query without the token, to be redirected to: a token should not stay in an address bar.
    pub location: String,
}

impl Operator {
    /// Whoever has a token that is made now, at random.
    #[must_use]
    pub fn with_random_token() -> Self {
        Self { token: Some(format!("{:032x}", rand::random::<u128>())) }
    }

    /// Whoever has this token.
    ///
    /// # Errors
    /// See [`WeakToken`].
    pub fn with_token(token: &str) -> Result<Self, WeakToken> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        if !(16..=256).contains(&token.len()) || !token.chars().all(sound) {
            return Err(WeakToken);
        }
        Ok(Self { token: Some(token.to_owned()) })
    }

    /// Nobody at all: for a server that listens to the world without TLS.
    #[must_use]
    pub fn nobody() -> Self {
        Self { token: None }
    }

    /// The token, for the line at the start that shows the link; `None` if nobody is the operator.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether the request carries the token, as `Authorization: Bearer …` or as the cookie of a [`SignIn`].
    #[must_use]
    pub fn is_operator(&self, request: &HttpRequest) -> bool {
        let mut authorization =
            request.headers().get_all(header::AUTHORIZATION).filter_map(|value| value.to_str().ok());
        let bearer = |value: &str| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| self.holds(token.trim()))
        };
        authorization.any(|value| bearer(value) == Some(true))
            || cookie_values(request, COOKIE).any(|token| self.holds(token))
    }

    /// What to do with a request whose query has the right `token`; `None` for every other request.
    #[must_use]
    pub fn sign_in(&self, request: &HttpRequest) -> Option<SignIn> {
        // A sound token needs no escapes, so the pairs can be compared as they are.
        let token = |pair: &&str| pair.split_once('=').is_some_and(|(key, _)| key == PARAMETER);
        let (tokens, rest): (Vec<&str>, Vec<&str>) = request.query_string().split('&').partition(token);
        let [pair] = tokens.as_slice() else { return None };
        let token = pair.split_once('=')?.1;
        if !self.holds(token) {
            return None;
        }
        // `//host/path` would be another server's address.
        let mut location = format!("/{}", request.path().trim_start_matches('/'));
        if !rest.is_empty() {
            location = format!("{location}?{}", rest.join("&"));
        }
        let cookie = Cookie::build(COOKIE, token.to_owned()).path("/").http_only(true).same_site(SameSite::Strict);
        Some(SignIn { cookie: cookie.secure(over_tls(request)).finish(), location })
    }

    fn holds(&self, token: &str) -> bool {
        // Digests have one length and nothing in common with their neighbours; how long this takes says nothing.
        let differing = |expected: &String| {
            let pairs = Sha256::digest(expected).into_iter().zip(Sha256::digest(token));
            pairs.fold(0, |differing, (a, b)| differing | (a ^ b))
        };
        self.token.as_ref().map(differing) == Some(0)
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.token.is_some() { "Operator { .. }" } else { "Operator(nobody)" })
    }
}
