//! `GET /jobs/{id}` and its pictures: what a person reads off a job directory, however hostile its content.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use livewebcam_jobs::{Blend, JobFile, JobId, Status, local};

use crate::pictures;
use crate::site::Site;
use crate::tree::{Tree, outcome};

const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[31mred\u{1b}]0;title\u{7}\u{202e}\0\"'&";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_the_jobs_story() {
    let site = Site::start().await;
    let form = pictures::form().text("prompt", "a fox, midnight").text("strength", "0.75");
    let id = site.generate(form).await.expect(200).job();
    let page = site.inspect(&format!("/jobs/{id}")).await.expect(200);
    assert_eq!(page.header("cache-control"), "no-store");
    let text = page.text();
    let position = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is not on the page"));
    assert!(position(&format!("src=\"/jobs/{id}/input.png\"")) < position(&format!("src=\"/jobs/{id}/output.png\"")));
    for row in
        ["<dt>Prompt</dt><dd>a fox, midnight</dd>", "<dt>Strength</dt><dd>0.75</dd>", "<dt>Style</dt><dd>midnight</dd>"]
    {
        position(row);
    }
    for part in ["part-load", "part-paint", "part-write", "UTC", "state-done"] {
        position(part);
    }
    let log = text.split("id=\"log\"").nth(1).expect("a log");
    assert!(log.contains(&format!("job {id}: claimed by process")), "the log's lines are missing");
    let runner = site.tree.root.runner().display().to_string().replace('/', "&#x2F;");
    position(&runner);
    position("replay --job");
    assert!(!text.contains("Cancel this job"));
    // The command on the page is one that works.
    let replayed = site.tree.beside("replay.png");
    let status = std::process::Command::new(site.tree.root.runner())
        .args(["replay", "--job"])
        .arg(site.tree.dir(id).path())
        .arg("--output")
        .arg(&replayed)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.expect("a runner").success());
    assert_eq!(fs::read(replayed).expect("a replay"), fs::read(site.tree.dir(id).file(JobFile::Output)).expect("it"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_shown_as_texts() {
    let tree = Arc::new(Tree::new());
    let id = tree.stage(|request| {
        request.model = HOSTILE.to_owned();
        request.parameters.prompt = HOSTILE.to_owned();
        request.parameters.negative_prompt = HOSTILE.to_owned();
        request.parameters.style = Some(HOSTILE.parse::<Blend>().expect("a blend of nothing known"));
        request.parameters.scheduler = Some(HOSTILE.to_owned());
    });
    let mut result = outcome(Status::Failed, None);
    result.warnings = vec![HOSTILE.to_owned()];
    let failure = result.failure.as_mut().expect("a failure");
    (failure.reason, failure.detail) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    fs::write(tree.dir(id).file(JobFile::Outcome), local::to_json(&result)).expect("a result");
    let log = [HOSTILE.as_bytes(), b"\xff\xfe\n</pre><h1>not ours</h1>\r\n"].concat();
    fs::write(tree.dir(id).file(JobFile::Log), log).expect("a log");
    let submission = r#"{"scheduler": "slurm", "job_name": "x", "scheduler_job_id": "<script>alert(1)</script>"}"#;
    fs::write(tree.dir(id).file(JobFile::Submission), submission).expect("a submission");
    let site = Site::on(tree, |_| {}).await;
    for path in [format!("/jobs/{id}"), "/jobs".to_owned()] {
        let page = site.inspect(&path).await.expect(200);
        assert!(page.text().contains("&lt;script&gt;alert(1)&lt;"), "{path} hides the text");
        for hostile in ["<script>alert", "</pre><h1>", "\u{1b}", "\0", "\u{202e}", "\u{7}"] {
            assert!(!page.text().contains(hostile), "{hostile:?} is on {path}");
        }
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_long_log_is_shown() {
    let tree = Arc::new(Tree::new());
    let id = tree.stage(|_| {});
    tree.conclude(id, Status::Failed);
    let log = format!("the first line\n{}the last line\n", "x".repeat(100_000));
    fs::write(tree.dir(id).file(JobFile::Log), log).expect("a log");
    let site = Site::on(tree, |_| {}).await;
    let page = site.inspect(&format!("/jobs/{id}")).await.expect(200);
    assert!(page.text().contains("the last line") && !page.text().contains("the first line"));
    assert!(page.text().contains("its end") && page.body.len() < 200_000);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_a_job_directory_are_not_followed() {
    let tree = Arc::new(Tree::new());
    let id = tree.stage(|_| {});
    tree.conclude(id, Status::Done);
    let secret = tree.beside("secret.png");
    fs::write(&secret, pictures::png(32, 32)).expect("a secret");
    let dir = tree.dir(id);
    for file in [JobFile::Input, JobFile::Output] {
        fs::remove_file(dir.file(file)).expect("a picture");
        symlink(&secret, dir.file(file)).expect("a link");
    }
    symlink("/etc/passwd", dir.file(JobFile::Log)).expect("a link");
    let site = Site::on(tree, |_| {}).await;
    for name in ["input.png", "output.png", "input.png?thumb=1", "output.png?thumb=1"] {
        site.inspect(&format!("/jobs/{id}/{name}")).await.expect(404);
    }
    let page = site.inspect(&format!("/jobs/{id}")).await.expect(200);
    assert!(!page.text().contains("root:"), "the page shows /etc/passwd");
    // A whole directory that is a link is no job either.
    let linked = JobId::new();
    symlink(site.tree.dir(id).path(), site.tree.root.jobs().join(linked.to_string())).expect("a link");
    site.inspect(&format!("/jobs/{linked}")).await.expect(404);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_whole_or_as_small_jpegs() {
    let site = Site::start().await;
    let answer = site.generate(pictures::form_with(pictures::png(480, 320))).await.expect(200);
    let job = format!("/jobs/{}", answer.job());
    let output = site.inspect(&format!("{job}/output.png")).await.expect(200);
    assert_eq!((output.header("content-type"), &output.body), ("image/png", &answer.body));
    assert_eq!(output.header("cache-control"), "private, max-age=86400, immutable");
    for name in ["input.png", "output.png"] {
        let small = site.inspect(&format!("{job}/{name}?thumb=1")).await.expect(200);
        assert_eq!(small.header("content-type"), "image/jpeg");
        assert_eq!(image::guess_format(&small.body).expect("a picture"), image::ImageFormat::Jpeg);
        let picture = image::load_from_memory(&small.body).expect("a picture");
        assert_eq!((picture.width(), picture.height()), (240, 160));
        assert!(small.body.len() < 40_000);
    }
    fs::write(site.tree.dir(answer.job()).file(JobFile::Output), "no picture").expect("a file");
    let error = site.inspect(&format!("{job}/output.png?thumb=1")).await.expect(502).error();
    assert_eq!(error, "this picture is damaged");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_job_directory_has_a_page_too() {
    let tree = Arc::new(Tree::new());
    let bare = JobId::new();
    fs::create_dir_all(tree.dir(bare).path()).expect("a folder");
    let site = Site::on(tree, |_| {}).await;
    let page = site.inspect(&format!("/jobs/{bare}")).await.expect(200);
    assert!(page.text().contains("state-cancelled") && page.text().contains("no frame"));
    site.inspect("/jobs").await.expect(200);
    site.inspect(&format!("/jobs/{bare}/input.png")).await.expect(404);
    // Without a request it is nobody's but the operator's.
    site.get(&format!("/jobs/{bare}")).await.expect(404);
    site.stop().await;
}
