//! Uploads that are no frames: each is refused with a status of its own and a sentence that says what to do.

use livewebcam_jobs::JobFile;
use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::answer::Answer;
use crate::pictures::{self, form_with};
use crate::site::Site;

/// The status of an upload, and words that its answer must have.
async fn refused(site: &Site, form: Form, status: u16, words: &str) {
    let answer = site.generate(form).await.expect(status);
    let error = answer.error();
    assert!(error.contains(words), "{words:?} is not in {error:?}");
    assert!(answer.json()["job"].is_null() && answer.headers.get("x-job-id").is_none());
    assert!(answer.cookie("visitor").is_some(), "a first mistake makes a visitor, too");
    assert!(site.tree.jobs().is_empty(), "a bad upload became a job");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_refused() {
    let site = Site::start().await;
    let input = "send a PNG, JPEG or WebP in the form's file field `input`";
    refused(&site, Form::new().text("prompt", "a fox"), 400, input).await;
    refused(&site, Form::new().part("image", Part::bytes(pictures::png(8, 8)).file_name("a.png")), 400, input).await;
    refused(&site, form_with(Vec::new()), 400, "the upload is empty; send a picture").await;
    refused(&site, form_with(b"I am a text, whatever my name says.".to_vec()), 415, "is not a PNG, JPEG or WebP").await;
    refused(&site, form_with(b"GIF89a\x01\0\x01\0\0\0\0;".to_vec()), 415, "convert it").await;
    refused(&site, form_with(vec![0; 4096]), 415, "convert it").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_picture_is_refused() {
    let site = Site::start().await;
    let png = pictures::png(64, 48);
    let jpeg = pictures::jpeg_with_orientation(&pictures::photo(64, 48), 1);
    for cut in [8, 20, 40, png.len() / 2, png.len() - 20] {
        refused(&site, form_with(png[..cut].to_vec()), 400, "the PNG picture is damaged or incomplete").await;
    }
    for cut in [4, 30, jpeg.len() / 2, jpeg.len() - 2] {
        refused(&site, form_with(jpeg[..cut].to_vec()), 400, "the JPEG picture is damaged or incomplete").await;
    }
    let mut flipped = png;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    refused(&site, form_with(flipped), 400, "save or take it again").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_pixels_or_bytes_are_refused() {
    let site = Site::start().await;
    let bomb = pictures::bomb();
    assert!(bomb.len() < 300_000, "{} bytes are no bomb", bomb.len());
    refused(&site, form_with(bomb), 413, "7000 × 7000 pixels and at most 40000000 are taken").await;
    for (width, height) in [(100_000, 100_000), (u32::MAX >> 1, 1), (1, 1 << 26)] {
        refused(&site, form_with(pictures::boastful(width, height)), 413, "send it scaled down").await;
    }
    // Below the bound, but not there.
    refused(&site, form_with(pictures::boastful(6000, 6000)), 400, "damaged or incomplete").await;
    let mut large = pictures::png(64, 48);
    large.resize(20 << 20, 0);
    refused(&site, form_with(large), 413, "larger than 12 MiB; send a smaller one").await;
    // The server goes on as if nothing had been.
    site.paint().await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_form_is_refused() {
    let site = Site::start().await;
    let post = || site.request(Method::POST, "/generate");
    let form = "--x\r\nContent-Disposition: form-data; name=\"input\"; filename=\"a.png\"\r\n\r\nbytes";
    let bodies = [
        post(),
        post().header("content-type", "application/json").body("{\"prompt\": \"a fox\"}"),
        post().header("content-type", "application/x-www-form-urlencoded").body("prompt=fox"),
        post().header("content-type", "image/png").body(pictures::png(8, 8)),
        post().header("content-type", "multipart/form-data").body(form),
        post().header("content-type", "multipart/form-data; boundary=y").body(form),
        post().header("content-type", "multipart/form-data; boundary=x").body(form),
        post().header("content-type", "multipart/form-data; boundary=x").body("--x\r\n\r\n"),
    ];
    for body in bodies {
        let error = Answer::to(body).await.expect(400).error();
        assert!(error.contains("send it as multipart/form-data with a file field `input`"), "{error}");
    }
    let many = (0..100).fold(pictures::form(), |form, n| form.text(format!("field{n}"), "x"));
    refused(&site, many, 400, "more than 64 fields").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_or_stalls_leaves_nothing() {
    let site = Site::with(|settings| settings.deadlines.validate = 0.5).await;
    let head = format!(
        "POST /generate HTTP/1.1\r\nHost: {}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n\
         Connection: close\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"input\"\r\n\r\nbytes",
        site.host
    );
    // The rest never comes.
    let answer = site.raw(&head).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not arrive within 0.5 s"), "{answer}");
    assert!(site.tree.jobs().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_navigates_gets_a_page_and_not_json() {
    let site = Site::start().await;
    let form = form_with(b"no picture".to_vec());
    let request = site.request(Method::POST, "/generate").header("accept", "text/html,*/*").multipart(form);
    let answer = Answer::to(request).await.expect(415);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.text().contains("is not a PNG, JPEG or WebP picture") && answer.text().contains("href=\"/\""));
    // A form without JavaScript gets the painting itself.
    let request = site.request(Method::POST, "/generate").header("accept", "text/html,*/*").multipart(pictures::form());
    let answer = Answer::to(request).await.expect(200);
    let output = site.tree.dir(answer.job()).file(JobFile::Output);
    assert_eq!(std::fs::read(output).expect("an output.png"), answer.body);
    site.stop().await;
}
