//! Which hosts and which pages the server listens to, and what it puts on every answer.

use std::sync::Arc;

use reqwest::Method;

use crate::answer::Answer;
use crate::pictures;
use crate::site::{Site, TOKEN};
use crate::tree::Tree;

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_is_turned_away() {
    let site = Site::with(|settings| settings.server.allowed_hosts = vec!["live.example.org".to_owned()]).await;
    let port = site.host.rsplit_once(':').expect("a port").1.to_owned();
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.7"] {
        for (method, path) in [(Method::GET, "/"), (Method::GET, "/static/style.css"), (Method::POST, "/generate")] {
            let answer = Answer::to(site.request(method, path).header("host", host)).await.expect(421);
            assert!(answer.error().contains("open it as http://localhost"), "{}", answer.error());
        }
    }
    for host in [&format!("localhost:{port}"), &format!("127.0.0.1:{port}"), "[::1]:9", "live.example.org", "LocalHost"]
    {
        Answer::to(site.request(Method::GET, "/healthz").header("host", host)).await.expect(200);
    }
    let without = site.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(without.starts_with("HTTP/1.1 4"), "{without}");
    let two = "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(site.raw(two).await.starts_with("HTTP/1.1 4"));
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(site.raw(absolute).await.starts_with("HTTP/1.1 421 "));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_changes_nothing() {
    let site = Site::start().await;
    let port = site.host.rsplit_once(':').expect("a port").1.to_owned();
    let own = format!("http://{}", site.host);
    let job = format!("/jobs/{}", site.paint().await.expect(200).job());
    let foreign = [
        ("origin", "https://evil.example".to_owned()),
        ("origin", "null".to_owned()),
        ("origin", "http://localhost:1".to_owned()),
        ("origin", format!("http://evil.example:{port}")),
        ("origin", format!("{own}, https://evil.example")),
        ("sec-fetch-site", "cross-site".to_owned()),
        ("sec-fetch-site", "same-site".to_owned()),
    ];
    for (name, value) in foreign {
        let post = site.request(Method::POST, "/generate").multipart(pictures::form()).header(name, &value);
        let answer = Answer::to(post).await.expect(403);
        assert!(answer.error().contains("open this server's own page"), "{}", answer.error());
        // Not even with the operator's token.
        let delete = site.request(Method::DELETE, &job).bearer_auth(TOKEN).header(name, &value);
        Answer::to(delete).await.expect(403);
    }
    assert_eq!(site.tree.jobs().len(), 1, "a refused request became a job");
    for (name, value) in [("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")] {
        let post = site.request(Method::POST, "/generate").multipart(pictures::form()).header(name, value);
        Answer::to(post).await.expect(200);
    }
    // Reading is for links, too.
    Answer::to(site.request(Method::GET, "/").header("sec-fetch-site", "cross-site")).await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_security_headers() {
    let site = Site::start().await;
    let job = format!("/jobs/{}", site.paint().await.expect(200).job());
    let malformed = "this/is-no-target%zz";
    let requests = [
        ("GET", "/", 200),
        ("GET", "/serverinfo", 200),
        ("GET", "/static/style.css", 200),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/static/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/generate", 404),
        ("PUT", "/jobs", 404),
        ("GET", "/jobs", 403),
        ("GET", &format!("/jobs?{malformed}"), 403),
        ("GET", &job, 403),
        ("GET", &format!("{job}/output.png"), 403),
        ("POST", "/generate", 400),
    ];
    for (method, path, status) in requests {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = site.request(method, path).header("content-type", "multipart/form-data; boundary=x");
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status, "{path}");
        has_security_headers(&answer);
    }
    has_security_headers(&Answer::to(site.request(Method::GET, "/").header("host", "evil.example")).await.expect(421));
    has_security_headers(&site.paint().await.expect(200));
    has_security_headers(&site.inspect(&format!("{job}/output.png?thumb=1")).await.expect(200));
    site.stop().await;
}

fn has_security_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
    }
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert!(answer.header("permissions-policy").contains("camera=(self)"));
    assert!(answer.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_for_the_world_is_refused_with_advice() {
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        let tree = Arc::new(Tree::new());
        let built =
            Site::try_on(tree.clone(), |settings| settings.server.host = host.parse().expect("an address")).await;
        let error = format!("{:#}", built.err().expect("a refusal"));
        assert!(error.contains("ssh -L") && error.contains("TLS") && error.contains("--insecure"), "{error}");
        assert!(error.contains("server.allowed_hosts"), "the advice names no setting that exists: {error}");
        assert!(!tree.root.frontend().exists() && !tree.root.jobs().exists(), "refused, but the root was taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_means_no_job_pages_no_cancelling_and_no_operator() {
    let site = Site::with(|settings| settings.server.insecure = true).await;
    assert_eq!(site.links.1, None, "a link for an operator that there is not");
    let painted = site.paint().await.expect(200);
    let (cookie, job) = (painted.visitor(), format!("/jobs/{}", painted.job()));
    for path in ["/jobs", &format!("/jobs?token={TOKEN}"), &job, &format!("{job}/input.png")] {
        let as_anybody = site.request(Method::GET, path).bearer_auth(TOKEN).header("cookie", &cookie);
        let answer = Answer::to(as_anybody).await.expect(403);
        assert!(answer.error().contains("off while the server runs with --insecure"), "{}", answer.error());
        assert!(answer.cookie("operator").is_none());
    }
    let delete = site.request(Method::DELETE, &job).bearer_auth(TOKEN).header("cookie", &cookie);
    Answer::to(delete).await.expect(403);
    assert!(Answer::to(site.request(Method::GET, "/healthz").bearer_auth(TOKEN)).await.json()["counters"].is_null());
    site.stop().await;
}
