//! What the server says of itself, its page and its static files.

use crate::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn serverinfo_has_what_clients_of_the_python_version_read() {
    let site = Site::with(|settings| settings.limits.max_in_flight = 3).await;
    let info = site.get("/serverinfo").await.expect(200).json();
    assert!(info["hostname"].as_str().is_some_and(|name| !name.is_empty()));
    assert_eq!((&info["available_gpus"], &info["in_flight"]), (&3.into(), &0.into()));
    assert_eq!((&info["transport"], &info["scheduler"]), (&"local".into(), &"process".into()));
    assert_eq!(info["default_model"], "starter");
    let model = &info["models"][0];
    assert_eq!((&model["name"], &model["size"]["width"]), (&"starter".into(), &512.into()));
    assert_eq!(model["controls"]["styles"].as_array().map(Vec::len), Some(26));
    assert!(!info.to_string().contains(site.tree.root.path().to_str().expect("a path of text")), "a path is told");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn healthz_is_for_monitors_and_its_counters_for_the_operator() {
    let site = Site::start().await;
    let health = site.get("/healthz").await.expect(200).json();
    assert_eq!((&health["status"], &health["cluster"]["connected"]), (&"ok".into(), &true.into()));
    assert!(health["counters"].is_null(), "a visitor reads the counters");
    let health = site.inspect("/healthz").await.expect(200).json();
    assert_eq!((&health["counters"]["sbatch"], &health["counters"]["transport"]["channels"]), (&0.into(), &0.into()));
    assert_eq!(health["counters"]["transport"]["commands"], 1, "the runner was asked for its models, once");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_counted_for_the_operator() {
    let site = Site::start().await;
    site.get("/metrics").await.expect(403);
    site.paint().await.expect(200);
    site.generate(crate::pictures::form_with(Vec::new())).await.expect(400);
    let answer = site.inspect("/metrics").await.expect(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "livewebcam_answers_total{status=\"200\"} 1",
        "livewebcam_answers_total{status=\"400\"} 1",
        "livewebcam_stage_seconds_count{stage=\"paint\"} 1",
        "livewebcam_frames_in_flight 0",
        "livewebcam_cluster_connected 1",
        "livewebcam_sbatch_calls_total 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_the_models_controls() {
    let site = Site::start().await;
    let page = site.get("/").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    for part in ["action=\"/generate\"", "enctype=\"multipart/form-data\"", "name=\"input\"", "<noscript>"] {
        assert!(text.contains(part), "{part} is missing");
    }
    assert_eq!(
        text.matches("type=\"radio\" name=\"style\" value=\"").count(),
        26 + 1,
        "each style, and the template's"
    );
    assert!(text.contains("value=\"soft watercolour\" checked"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_files_have_their_types_and_nothing_else_is_served() {
    let site = Site::start().await;
    let page = site.get("/").await.expect(200).text().to_owned();
    let mut linked = 0;
    for rest in page.split("\"/static/").skip(1) {
        let path = format!("/static/{}", rest.split('"').next().expect("an end").replace("{{", ""));
        if path == "/static/styles/.jpg" {
            continue; // The template's picture, which the script fills in.
        }
        let file = site.get(&path).await.expect(200);
        let expected = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some("json") => "application/json",
            Some("svg") => "image/svg+xml",
            Some("jpg") => "image/jpeg",
            other => panic!("{path}: no type is expected for {other:?}"),
        };
        assert!(file.header("content-type").starts_with(expected), "{path} is {}", file.header("content-type"));
        assert_eq!(file.header("cache-control"), "no-cache");
        assert!(file.headers.contains_key("etag"));
        linked += 1;
    }
    assert!(linked > 30, "{linked} files are not all of them");
    for target in [
        "/static/../Cargo.toml",
        "/static/%2e%2e/Cargo.toml",
        "/static/..%2fCargo.toml",
        "/static/js/../../Cargo.toml",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/js",
        "/static/js/",
        "/static/styles/make.sh/..",
        "/templates/index.html",
        "/../Cargo.toml",
        "/static/style.css%00.png",
    ] {
        let status = site.raw_status("GET", target).await;
        assert!(matches!(status, 400 | 404), "{target}: {status}");
    }
    site.stop().await;
}
