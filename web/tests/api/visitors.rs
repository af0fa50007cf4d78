//! Whose job it is: the visitor's cookie, the operator's link and token, and what each may read.

use reqwest::Method;

use crate::answer::Answer;
use crate::pictures;
use crate::runners::{CLAIM, SLEEP};
use crate::site::{Site, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_its_visitors_and_nobody_elses() {
    let site = Site::start().await;
    let painted = site.paint().await.expect(200);
    let (mine, job) = (painted.visitor(), format!("/jobs/{}", painted.job()));
    let other = site.paint().await.expect(200).visitor();
    assert_ne!(mine, other);
    let paths = [&job, &format!("{job}/input.png"), &format!("{job}/output.png"), &format!("{job}/output.png?thumb=1")];
    for path in paths {
        site.get_as(&mine, path).await.expect(200);
        for cookie in [other.as_str(), "visitor=", "visitor=*", "visitor=0", "", "operator=0", "a=b; c"] {
            let answer = site.get_as(cookie, path).await.expect(403);
            assert_eq!(answer.error(), "this job is another visitor's");
        }
    }
    // One's own cookie among others, as browsers send those of every port.
    site.get_as(&format!("theme=dark; {mine}; x=1"), &job).await.expect(200);
    // The visitor's fingerprint in request.json is not the cookie.
    let fingerprint = site.tree.request(painted.job()).visitor.expect("a fingerprint");
    site.get_as(&format!("visitor={}", &fingerprint[..32]), &job).await.expect(403);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_given_once_and_kept() {
    let site = Site::start().await;
    let cookie = site.get("/").await.expect(200).visitor();
    let request = site.request(Method::POST, "/generate").multipart(pictures::form()).header("cookie", &cookie);
    let painted = Answer::to(request).await.expect(200);
    assert!(painted.cookie("visitor").is_none(), "a known visitor gets another cookie");
    site.get_as(&cookie, &format!("/jobs/{}", painted.job())).await.expect(200);
    // A cookie that somebody made up is not taken over.
    let made_up = "visitor=<script>alert(1)</script>";
    let request = site.request(Method::POST, "/generate").multipart(pictures::form()).header("cookie", made_up);
    assert!(Answer::to(request).await.expect(200).visitor().len() == "visitor=".len() + 32);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_visitor_or_the_operator_cancels_a_job() {
    let site = Site::start().await;
    site.tree.replace_runner(&format!("{CLAIM}{SLEEP}"));
    let cookie = site.get("/").await.visitor();
    let request = site.request(Method::POST, "/generate").multipart(pictures::form()).header("cookie", &cookie);
    let waiting = tokio::spawn(Answer::to(request));
    let id = site.tree.only_job().await;
    site.tree.printed(id, "sleeping").await;
    let job = format!("/jobs/{id}");
    let delete = |cookie: &str| Answer::to(site.request(Method::DELETE, &job).header("cookie", cookie));
    for stranger in ["", "visitor=0123456789abcdef0123456789abcdef", "operator=0123456789abcdef"] {
        delete(stranger).await.expect(403);
    }
    assert!(site.tree.outcome(id).is_none() && !waiting.is_finished(), "a stranger cancelled the job");
    let answer = delete(&cookie).await.expect(202);
    assert_eq!(answer.json()["job"], id.to_string());
    waiting.await.expect("no panic").expect(502);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_link_signs_in_and_hides_the_token() {
    let site = Site::start().await;
    let (page, link) = site.links.clone();
    assert!(page.starts_with("http://localhost:"));
    let link = link.expect("a link");
    let path = link.strip_prefix(&page).expect("a link of this server");
    assert_eq!(path, format!("/jobs?token={TOKEN}"));
    let answer = site.get(path).await.expect(303);
    assert_eq!(answer.header("location"), "/jobs");
    let (cookie, attributes) = answer.cookie("operator").expect("a cookie");
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"), "{attributes}");
    site.get_as(&cookie, "/jobs").await.expect(200);
    let home = site.get_as(&cookie, "/").await.expect(200);
    assert!(home.text().contains("href=\"/jobs\""), "the operator finds no way to the jobs");
    assert!(!site.get("/").await.text().contains("href=\"/jobs\""), "a visitor is shown the way to the jobs");
    let answer = site.get(&format!("/jobs?page=2&token={TOKEN}")).await.expect(303);
    assert_eq!(answer.header("location"), "/jobs?page=2");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_the_operators_and_a_wrong_token_opens_nothing() {
    let site = Site::start().await;
    let visitor = site.paint().await.expect(200).visitor();
    for path in ["/jobs", "/jobs?token=", "/jobs?token=wrong", &format!("/jobs?token={TOKEN}&token={TOKEN}")] {
        let answer = site.get(path).await.expect(403);
        assert!(answer.error().contains("open the link that `livewebcam serve` printed"), "{}", answer.error());
        assert!(answer.cookie("operator").is_none());
    }
    site.get_as(&visitor, "/jobs").await.expect(403);
    let longer = format!("{TOKEN}x");
    for authorization in ["Bearer wrong", "Bearer", "Basic abc", TOKEN, &format!("Bearer {longer}"), "Bearer \u{e9}"] {
        Answer::to(site.request(Method::GET, "/jobs").header("authorization", authorization)).await.expect(403);
    }
    for authorization in [format!("Bearer {TOKEN}"), format!("bearer  {TOKEN}")] {
        Answer::to(site.request(Method::GET, "/jobs").header("authorization", authorization)).await.expect(200);
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_reads_the_reason_and_the_operator_the_log() {
    let site = Site::start().await;
    site.tree.replace_runner("echo \"no weights in $PWD for $(id -un)\"\necho 'secret-of-the-log' >&2\nexit 3");
    let answer = site.paint().await.expect(502);
    let error = answer.error();
    assert_eq!(error, "the job ended without a result (exit status: 3)");
    let (cookie, job) = (answer.visitor(), format!("/jobs/{}", answer.job()));
    let root = site.tree.root.path().to_str().expect("a path of text");
    let visitors = site.get_as(&cookie, &job).await.expect(200);
    let visitors = visitors.text().replace("&#x2F;", "/");
    assert!(visitors.contains("the job ended without a result (exit status: 3)"));
    for secret in [root, "no weights", "secret-of-the-log", "livewebcam-runner", "result.json", "frontend"] {
        assert!(!visitors.contains(secret), "a visitor is shown {secret:?}");
    }
    let operators = site.inspect(&job).await.expect(200).text().replace("&#x2F;", "/");
    for told in [root, "no weights", "secret-of-the-log", "replay --job", "result.json"] {
        assert!(operators.contains(told), "the operator is not shown {told:?}");
    }
    site.stop().await;
}
