//! A visitor: whoever sends the same random cookie again.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use sha2::{Digest, Sha256};

use super::cookie_values;

const NAME: &str = "visitor";

/// Whose request it is. An extractor that never fails: without a sound cookie the visitor is a new one.
///
/// The cookie is the visitor's secret, so it is neither shown nor stored; [`Visitor::fingerprint`] is what stands in
/// files.
#[derive(Clone, PartialEq, Eq)]
pub struct Visitor {
    /// 128 random bits in hexadecimal.
    secret: String,
    new: bool,
    over_tls: bool,
}

impl Visitor {
    /// SHA-256 of the cookie in hexadecimal: the `visitor` of a job's `request.json`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Sha256::digest(&self.secret).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a job with this fingerprint is this visitor's.
    #[must_use]
    pub fn owns(&self, fingerprint: Option<&str>) -> bool {
        !self.new && fingerprint == Some(self.fingerprint().as_str())
    }

    /// The cookie that makes a new visitor known again; `None` for one who sent it.
    #[must_use]
    pub fn cookie(&self) -> Option<Cookie<'static>> {
        let cookie = Cookie::build(NAME, self.secret.clone()).path("/").http_only(true).same_site(SameSite::Strict);
        self.new.then(|| cookie.secure(self.over_tls).finish())
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("fingerprint", &self.fingerprint()).field("new", &self.new).finish()
    }
}

impl FromRequest for Visitor {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let sound =
            |secret: &&str| secret.len() == 32 && secret.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let known = cookie_values(request, NAME).find(sound).map(str::to_owned);
        ready(Ok(Self {
            new: known.is_none(),
            // `rand::random` draws from a generator that is fit for secrets.
            secret: known.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>())),
            over_tls: over_tls(request),
        }))
    }
}

/// Whether the browser speaks TLS, to this server or to a proxy in front of it. Who lies about it harms their own
/// cookie.
pub(super) fn over_tls(request: &HttpRequest) -> bool {
    request.connection_info().scheme() == "https"
}
