//! Each rule on a real app: who gets in, who is turned away, and what every response carries.

use actix_web::cookie::SameSite;
use actix_web::http::header::ContentType;
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::{App, FromRequest, error};

use super::*;

/// Sends one request to an app behind the guard and returns its status, its headers and its body.
async fn send(request: TestRequest) -> (StatusCode, HeaderMap, String) {
    async fn page(visitor: Visitor, operator: web::Data<Operator>, request: HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        visitor.cookie().into_iter().for_each(|cookie| {
            response.cookie(cookie);
        });
        let operator = operator.is_operator(&request);
        response.content_type(ContentType::plaintext()).body(format!("{} {operator}", visitor.fingerprint()))
    }
    async fn failure() -> Result<HttpResponse, Error> {
        Err(error::ErrorBadGateway("the cluster is away"))
    }
    let app = App::new()
        .app_data(web::Data::new(Guard::new(["live.example.org", "[2001:db8::7]:8443"]).expect("hosts")))
        .app_data(web::Data::new(Operator::with_token(TOKEN).expect("a token")))
        .wrap(from_fn(check))
        .route("/failure", web::to(failure))
        .route("/", web::to(page));
    let app = test::init_service(app).await;
    let response = test::try_call_service(&app, request.to_request()).await;
    let response =
        response.map_or_else(|error| error.error_response(), |response| response.map_into_boxed_body().into());
    let (status, headers) = (response.status(), response.headers().clone());
    let body = actix_web::body::to_bytes(response.into_body()).await.expect("a body");
    (status, headers, String::from_utf8_lossy(&body).into_owned())
}

const TOKEN: &str = "correct-horse-battery-staple";
const HOST: (&str, &str) = ("Host", "localhost:5000");

async fn status(request: TestRequest) -> u16 {
    send(request).await.0.as_u16()
}

#[actix_web::test]
async fn the_server_answers_for_its_own_names_alone() {
    for host in [
        "localhost",
        "localhost:5000",
        "LOCALHOST:9",
        "127.0.0.1:5000",
        "[::1]",
        "[::1]:5000",
        "live.example.org",
        "Live.Example.org:443",
        "[2001:db8::7]",
        "[2001:db8::7]:8443",
    ] {
        assert_eq!(status(TestRequest::get().insert_header(("Host", host))).await, 200, "{host}");
    }
    for host in [
        "",
        "evil.example",
        "localhost.evil.example:5000",
        "127.0.0.1.evil.example",
        "evil.live.example.org",
        "192.168.1.2:5000",
        "[2001:db8::8]",
        "localhost:5000@evil.example",
        "evil.example:localhost",
        "localhost.",
    ] {
        for request in [TestRequest::get(), TestRequest::post(), TestRequest::get().uri("/nowhere")] {
            let (status, headers, body) = send(request.insert_header(("Host", host))).await;
            assert_eq!(status.as_u16(), 421, "{host}");
            assert_eq!(headers.get("content-type").expect("a type"), "application/json");
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert!(body["error"].as_str().expect("a message").contains("http://localhost"), "{body}");
        }
    }
}

#[actix_web::test]
async fn a_request_names_its_host_once() {
    assert_eq!(status(TestRequest::get()).await, 421);
    assert_eq!(status(TestRequest::get().append_header(HOST).append_header(("Host", "localhost"))).await, 421);
    let forwarded =
        TestRequest::get().insert_header(("Host", "evil.example")).insert_header(("X-Forwarded-Host", "localhost"));
    assert_eq!(status(forwarded).await, 421);
    let absolute = |uri| TestRequest::get().uri(uri).insert_header(HOST);
    assert_eq!(status(absolute("http://localhost:5000/")).await, 200);
    assert_eq!(status(absolute("http://evil.example/")).await, 421);
    assert_eq!(status(absolute("http://localhost:1/")).await, 421);
}

fn changing() -> [Method; 5] {
    [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::from_bytes(b"BREW").expect("a method")]
}

#[actix_web::test]
async fn a_page_of_this_server_may_change_things() {
    for (host, origin) in [
        ("localhost:5000", "http://localhost:5000"),
        ("LOCALHOST:5000", "http://localhost:5000"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost", "http://localhost"),
        ("live.example.org", "https://live.example.org"),
        ("live.example.org:443", "https://live.example.org"),
        // A proxy with TLS that passes its own idea of the host on.
        ("127.0.0.1:5000", "https://live.example.org"),
        ("localhost:5000", "https://[2001:db8::7]:8443"),
    ] {
        for method in changing() {
            let request = TestRequest::default().method(method).insert_header(("Host", host));
            let request = request.insert_header(("Origin", origin)).insert_header(("Sec-Fetch-Site", "same-origin"));
            assert_eq!(status(request).await, 200, "{origin} → {host}");
        }
    }
    // Programs send neither.
    assert_eq!(status(TestRequest::post().insert_header(HOST)).await, 200);
    assert_eq!(status(TestRequest::post().insert_header(HOST).insert_header(("Sec-Fetch-Site", "none"))).await, 200);
}

#[actix_web::test]
async fn a_foreign_page_may_change_nothing() {
    for origin in [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:5000",
        "http://localhost:5000.evil.example",
        "http://localhost:5000, http://evil.example",
        "https://live.example.org:444",
        "http://live.example.org:5000",
        "file://",
        "moz-extension://localhost:5000",
    ] {
        for method in changing() {
            let request = TestRequest::default().method(method).insert_header(HOST).insert_header(("Origin", origin));
            let (status, _, body) = send(request).await;
            assert_eq!(status.as_u16(), 403, "{origin}");
            assert!(body.contains("\"error\":"), "{body}");
        }
        // Looking does no harm: what is sent back, the foreign page cannot read.
        assert_eq!(status(TestRequest::get().insert_header(HOST).insert_header(("Origin", origin))).await, 200);
    }
    let own = ("Origin", "http://localhost:5000");
    for site in ["cross-site", "same-site", "", "anything"] {
        let request = || TestRequest::post().insert_header(HOST).insert_header(("Sec-Fetch-Site", site));
        assert_eq!(status(request()).await, 403, "{site}");
        assert_eq!(status(request().insert_header(own)).await, 403, "{site}");
    }
    let twice =
        TestRequest::post().insert_header(HOST).append_header(own).append_header(("Origin", "http://evil.example"));
    assert_eq!(status(twice).await, 403);
}

#[actix_web::test]
async fn every_response_carries_the_security_headers() {
    for (request, expected) in [
        (TestRequest::get().insert_header(HOST), 200),
        (TestRequest::get().insert_header(HOST).uri("/nowhere"), 404),
        (TestRequest::get().insert_header(HOST).uri("/failure"), 502),
        (TestRequest::post().insert_header(HOST).insert_header(("Origin", "null")), 403),
        (TestRequest::get(), 421),
    ] {
        let (status, headers, _) = send(request).await;
        assert_eq!(status.as_u16(), expected);
        for (name, value) in SECURITY_HEADERS {
            let values: Vec<_> = headers.get_all(&name).collect();
            assert_eq!(values, [value], "{name} of the {expected}");
        }
    }
    let policy = SECURITY_HEADERS[0].1;
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
}

fn set_cookie(headers: &HeaderMap) -> Option<Cookie> {
    let text = headers.get("set-cookie")?.to_str().expect("text").to_owned();
    Some(Cookie::parse(text).expect("a cookie"))
}
type Cookie = actix_web::cookie::Cookie<'static>;

#[actix_web::test]
async fn a_visitor_is_whoever_sends_the_cookie_again() {
    let (_, headers, first) = send(TestRequest::get().insert_header(HOST)).await;
    let cookie = set_cookie(&headers).expect("a new visitor gets a cookie");
    assert_eq!((cookie.name(), cookie.path(), cookie.http_only()), ("visitor", Some("/"), Some(true)));
    assert_eq!((cookie.same_site(), cookie.secure()), (Some(SameSite::Strict), None));
    assert_eq!((cookie.value().len(), cookie.max_age(), cookie.domain()), (32, None, None));

    // Other servers of the same host have cookies, too, and not every one is well made.
    let header = format!("theme; =; a=b=c; visitor=nonsense; \u{a0}=1; visitor={}; z", cookie.value());
    let (_, headers, again) = send(TestRequest::get().insert_header(HOST).insert_header(("Cookie", header))).await;
    assert!(set_cookie(&headers).is_none());
    assert_eq!(first, again);

    let (_, headers, other) = send(TestRequest::get().insert_header(HOST)).await;
    assert_ne!(first, other);
    assert_ne!(set_cookie(&headers).expect("a cookie").value(), cookie.value());
}

#[actix_web::test]
async fn a_malformed_cookie_is_no_cookie() {
    let digits = "0123456789abcdef0123456789abcdef";
    for value in
        ["", "x", &digits[1..], &digits.to_uppercase(), &format!("{digits}0"), &digits.replace('0', "g"), "../../etc"]
    {
        let request = TestRequest::get().insert_header(HOST).insert_header(("Cookie", format!("visitor={value}")));
        let (_, headers, _) = send(request).await;
        let cookie = set_cookie(&headers).unwrap_or_else(|| panic!("a new cookie instead of {value}"));
        assert_ne!(cookie.value(), value);
    }
}

#[actix_web::test]
async fn over_tls_the_cookie_is_secure() {
    let request = TestRequest::get().insert_header(HOST).insert_header(("X-Forwarded-Proto", "https"));
    assert_eq!(set_cookie(&send(request).await.1).expect("a cookie").secure(), Some(true));
}

async fn visitor(cookie: Option<&str>) -> Visitor {
    let request = TestRequest::default();
    let request = match cookie {
        Some(cookie) => request.insert_header(("Cookie", format!("visitor={cookie}"))),
        None => request,
    };
    Visitor::extract(&request.to_http_request()).await.expect("always a visitor")
}

#[actix_web::test]
async fn a_job_is_its_visitors_and_nobody_elses() {
    let digits = "0123456789abcdef0123456789abcdef";
    let owner = visitor(Some(digits)).await;
    // As `printf 0123456789abcdef0123456789abcdef | sha256sum` has it.
    let fingerprint = "3eb1bd439947eb762998e566ccc2e099c791118b2f40579cc4f7da2b5061b7f9";
    assert_eq!(owner.fingerprint(), fingerprint);
    assert!(owner.owns(Some(fingerprint)));
    assert!(!owner.owns(None));
    assert!(!owner.owns(Some("")));
    assert!(!visitor(Some(&digits.replace('0', "1"))).await.owns(Some(fingerprint)));
    let new = visitor(None).await;
    assert!(!new.owns(Some(&new.fingerprint())));
    assert!(!format!("{owner:?}").contains(digits));
}

#[actix_web::test]
async fn the_operator_is_whoever_has_the_token() {
    let operator = Operator::with_token(TOKEN).expect("a token");
    let is_operator = |name: &str, value: String| {
        operator.is_operator(&TestRequest::default().insert_header((name, value)).to_http_request())
    };
    assert!(is_operator("Authorization", format!("Bearer {TOKEN}")));
    assert!(is_operator("Authorization", format!("bearer  {TOKEN}")));
    assert!(is_operator("Cookie", format!("visitor=x; operator={TOKEN}")));
    for wrong in ["", "x", &TOKEN[1..], &TOKEN.to_uppercase(), &format!("{TOKEN}x")] {
        assert!(!is_operator("Authorization", format!("Bearer {wrong}")), "{wrong}");
        assert!(!is_operator("Cookie", format!("operator={wrong}")), "{wrong}");
    }
    assert!(!is_operator("Authorization", format!("Basic {TOKEN}")));
    assert!(!is_operator("Authorization", TOKEN.to_owned()));
    assert!(!is_operator("Cookie", format!("visitor={TOKEN}")));
    let in_query = TestRequest::with_uri(&format!("/jobs?token={TOKEN}")).to_http_request();
    assert!(!operator.is_operator(&in_query), "a link signs in, and does nothing else");
    assert!(!format!("{operator:?}").contains(TOKEN));
}

#[actix_web::test]
async fn a_link_with_the_token_signs_in_and_forgets_it() {
    let operator = Operator::with_token(TOKEN).expect("a token");
    let sign_in = |uri: &str| operator.sign_in(&TestRequest::with_uri(uri).to_http_request());
    for (uri, location) in [
        (format!("/jobs?token={TOKEN}"), "/jobs"),
        (format!("/jobs?page=2&token={TOKEN}&state=failed"), "/jobs?page=2&state=failed"),
        (format!("//evil.example/jobs?token={TOKEN}"), "/evil.example/jobs"),
    ] {
        let SignIn { cookie, location: actual } = sign_in(&uri).expect("the right token");
        assert_eq!(actual, location);
        assert_eq!((cookie.name(), cookie.value(), cookie.path()), ("operator", TOKEN, Some("/")));
        assert_eq!((cookie.http_only(), cookie.same_site()), (Some(true), Some(SameSite::Strict)));
        let request = TestRequest::default().cookie(cookie).to_http_request();
        assert!(operator.is_operator(&request));
    }
    for uri in ["/jobs", "/jobs?token", "/jobs?token=", "/jobs?token=wrong", &format!("/jobs?xtoken={TOKEN}")] {
        assert_eq!(sign_in(uri), None, "{uri}");
    }
    assert_eq!(sign_in(&format!("/jobs?token={TOKEN}&token={TOKEN}")), None);
}

#[actix_web::test]
async fn tokens_are_random_or_long_enough_or_nobodys() {
    let (one, other) = (Operator::with_random_token(), Operator::with_random_token());
    let token = one.token().expect("a token");
    assert_eq!(token.len(), 32);
    assert_ne!(one.token(), other.token());
    assert!(Operator::with_token(token).is_ok());
    for weak in ["", "short", "fifteen-letters", "sixteen letters!!", "semi;colon;semi;colon", &"x".repeat(257)] {
        assert!(matches!(Operator::with_token(weak), Err(WeakToken)), "{weak}");
    }
    let nobody = Operator::nobody();
    assert_eq!(nobody.token(), None);
    for value in ["Bearer ", "Bearer x", &format!("Bearer {TOKEN}")] {
        assert!(!nobody.is_operator(&TestRequest::default().insert_header(("Authorization", value)).to_http_request()));
    }
    assert_eq!(nobody.sign_in(&TestRequest::with_uri("/jobs?token=").to_http_request()), None);
}
