//! Who may do what: which hosts the server answers for, which pages may change something, whose job a job is.
//!
//! The server listens on loopback and has no accounts, so a browser on the same machine is its likeliest attacker: a
//! foreign page may send requests to `localhost`, and a foreign name may be made to resolve to it. [`check`] turns both
//! away before any handler runs and puts the security headers on every response. A [`Visitor`] is a random cookie, an
//! [`Operator`] whoever holds the token.

mod address;
mod bind;
mod operator;
#[cfg(test)]
mod tests;
mod visitor;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};

pub use address::InvalidHost;
use address::{Address, Origin};
pub use bind::check_bind;
pub use operator::{Operator, SignIn, WeakToken};
pub use visitor::Visitor;

/// The hosts that the server answers for.
#[derive(Clone, Debug)]
pub struct Guard {
    configured: Vec<Address>,
}

impl Guard {
    /// Answers for `localhost`, for the addresses of the loopback (`127.0.0.1`, `[::1]`) and for these hosts: names or
    /// addresses as they stand in a browser's address bar, with a port where it is not the scheme's own
    /// (`live.example.org`, `live.example.org:8443`).
    ///
    /// # Errors
    /// The first text that is no host.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self, InvalidHost> {
        let configured =
            hosts.into_iter().map(|host| Address::from_setting(host.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { configured })
    }

    /// Why this request is turned away, if it is.
    fn refusal(&self, request: &ServiceRequest) -> Option<Refusal> {
        let mut hosts = request.headers().get_all(header::HOST);
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(Address::parse),
            _ => None,
        };
        let Some(host) = host.filter(|host| self.answers_for(host)) else {
            return Some(Refusal::UnknownHost);
        };
        // A request for `http://host/path` names the host a second time.
        let target = request.uri().authority().map(|authority| Address::parse(authority.as_str()));
        if target.is_some_and(|target| target.as_ref() != Some(&host)) {
            return Some(Refusal::UnknownHost);
        }
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let own_page = request.headers().get_all(header::ORIGIN).all(|origin| {
            let origin = origin.to_str().ok().and_then(Origin::parse);
            origin.is_some_and(|origin| origin.is(&host) || self.configured.iter().any(|host| origin.is(host)))
        });
        // `same-site` would be another port of this host, or another host of the same domain: other people's pages.
        let own_site = request.headers().get_all(SEC_FETCH_SITE).all(|site| site == "same-origin" || site == "none");
        (!own_page || !own_site).then_some(Refusal::ForeignPage)
    }

    fn answers_for(&self, host: &Address) -> bool {
        host.is_loopback() || self.configured.iter().any(|configured| configured.same_host(host))
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is turned away. The messages are for whoever opened the page, so they name the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "this server does not answer for the host in the request; open it as http://localhost with its port, \
         or ask the operator to add the name to `server.allowed_hosts`"
    )]
    UnknownHost,
    #[error("another site's page may not do that; open this server's own page and try again")]
    ForeignPage,
}

impl Refusal {
    fn response(self) -> HttpResponse {
        let status = match self {
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignPage => StatusCode::FORBIDDEN,
        };
        HttpResponse::build(status).json(serde_json::json!({ "error": self.to_string() }))
    }
}

/// The middleware: the outermost one, for `App::wrap(from_fn(guard::check))` with the [`Guard`] in the app's data.
///
/// # Errors
/// Those of the services within, with the security headers on their responses.
pub async fn check<B: MessageBody + 'static>(
    guard: web::Data<Guard>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let mut response = match guard.refusal(&request) {
        Some(refusal) => request.into_response(refusal.response()).map_into_right_body(),
        None => match next.call(request).await {
            Ok(response) => response.map_into_left_body(),
            Err(error) => {
                let mut response = error.error_response();
                secure(response.headers_mut());
                return Err(InternalError::from_response(error, response).into());
            }
        },
    };
    secure(response.headers_mut());
    Ok(response)
}

/// What a browser may do with anything that this server sends: run its own scripts, show its own pictures, nothing
/// else.
const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Under `no-referrer` browsers send `Origin: null` with a form, which the guard refuses.
    (header::REFERRER_POLICY, "same-origin"),
    (header::PERMISSIONS_POLICY, "camera=(self), microphone=(), geolocation=(), display-capture=(self)"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // For browsers that do not know `frame-ancestors`.
    (header::X_FRAME_OPTIONS, "DENY"),
];

fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The values of a cookie in a request, unread otherwise.
///
/// Cookies know no ports, so other servers on the same host leave theirs here. One of them that is malformed must not
/// hide ours.
fn cookie_values<'a>(request: &'a HttpRequest, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs =
        request.headers().get_all(header::COOKIE).flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let (key, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}
