//! A frame's way through the whole server, and what is left of it in the tree.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use image::{ImageFormat, Rgb, RgbImage};
use livewebcam_jobs::{BatchJob, JobFile, REQUEST_VERSION, Status, Submission, local};
use reqwest::multipart::{Form, Part};

use crate::pictures::{self, difference, form_with};
use crate::site::Site;
use crate::tree::{eventually, names};

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_comes_back_painted_with_its_story_in_the_headers() {
    let site = Site::start().await;
    let answer = site.paint().await.expect(200);
    let picture = answer.picture();
    assert_eq!(picture.dimensions(), (64, 48));
    assert!(difference(&picture, &pictures::photo(64, 48)) > 5.0, "the frame came back as it was");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("x-model"), "starter");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.headers.get("x-clamped").is_none());

    let parts: Vec<(&str, f64)> = answer
        .header("server-timing")
        .split(", ")
        .map(|part| part.split_once(";dur=").map(|(name, ms)| (name, ms.parse().expect("a number"))).expect("a part"))
        .collect();
    let stages: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    assert_eq!(stages, ["validate", "stage", "submit", "queue", "load", "paint", "retrieve"]);
    assert!(parts.iter().all(|(_, ms)| *ms >= 0.0) && parts.iter().any(|(name, ms)| *name == "paint" && *ms > 0.0));

    let (_, attributes) = answer.cookie("visitor").expect("a cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(!attributes.contains("Secure"), "a cookie that plain HTTP does not bring back");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_directory_tells_the_whole_story() {
    let site = Site::start().await;
    let answer = site.paint().await.expect(200);
    let (id, tree) = (answer.job(), site.tree.clone());
    let dir = tree.dir(id);
    let submission = eventually("submission.json", || {
        local::read_json::<Submission>(&dir.file(JobFile::Submission)).expect("readable")
    })
    .await;
    assert_eq!((submission.scheduler.as_str(), submission.job_name), ("process", BatchJob::Frame(id).to_string()));
    let expected = JobFile::ALL.iter().filter(|file| **file != JobFile::Cancel).map(|file| file.name().to_owned());
    let mut expected: Vec<String> = expected.collect();
    expected.sort();
    assert_eq!(names(dir.path()), expected);
    for path in [tree.root.path().to_owned(), tree.root.jobs(), dir.path().to_owned()] {
        let mode = fs::metadata(&path).expect("a folder").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", path.display());
    }
    for name in names(dir.path()) {
        let mode = fs::metadata(dir.path().join(&name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may read {name}");
    }

    let request = tree.request(id);
    assert_eq!((request.version, request.id, request.model.as_str()), (REQUEST_VERSION, id, "starter"));
    assert_eq!((request.width, request.height), (64, 48));
    let secret = answer.visitor().split_once('=').expect("a value").1.to_owned();
    assert_eq!(request.visitor, Some(pictures::sha256(secret.as_bytes())), "whose job it is");
    let outcome = tree.outcome(id).expect("a result");
    assert_eq!((outcome.status, outcome.output), (Status::Done, Some(pictures::described(&answer.body))));
    assert_eq!(fs::read(dir.file(JobFile::Output)).expect("an output.png"), answer.body);

    let empty = || tree.markers().is_empty().then_some(());
    eventually("the end of every marker", empty).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_upload_but_its_pixels_reaches_the_cluster() {
    let site = Site::start().await;
    let plain = pictures::png(64, 48);
    // A text chunk behind the header, and bytes behind the end.
    let text = b"tEXtComment\0SECRET";
    let chunk = [&[0, 0, 0, 14][..], text, &pictures::crc32(text).to_be_bytes()].concat();
    let with_text = [&plain[..33], &chunk, &plain[33..], b"SECRET"].concat();
    let part = Part::bytes(with_text.clone()).file_name("../../SECRET.png");
    let id = site.generate(Form::new().part("input", part)).await.expect(200).job();
    let staged = fs::read(site.tree.dir(id).file(JobFile::Input)).expect("an input.png");
    assert_ne!(staged, with_text);
    for name in names(site.tree.dir(id).path()) {
        let content = fs::read(site.tree.dir(id).path().join(&name)).expect("a file");
        assert!(!content.windows(6).any(|window| window == b"SECRET"), "{name} has something of the client's");
    }
    let same = image::load_from_memory(&staged).expect("a picture").into_rgb8();
    assert_eq!(difference(&same, &pictures::photo(64, 48)), 0.0);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photograph_is_turned_upright_by_its_exif_block() {
    let site = Site::start().await;
    let red_left = RgbImage::from_fn(64, 48, |x, _| if x < 32 { Rgb([230, 20, 20]) } else { Rgb([20, 20, 230]) });
    // 6: the camera's left side is the top of the scene.
    let upload = pictures::jpeg_with_orientation(&red_left, 6);
    let answer = site.generate(form_with(upload)).await.expect(200);
    assert_eq!(answer.picture().dimensions(), (48, 64));
    let staged = image::open(site.tree.dir(answer.job()).file(JobFile::Input)).expect("a picture").into_rgb8();
    let (top, bottom) = (staged.get_pixel(24, 8).0, staged.get_pixel(24, 56).0);
    assert!(top[0] > 180 && top[2] < 70 && bottom[2] > 180 && bottom[0] < 70, "{top:?} above {bottom:?}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webp_is_taken_and_a_large_frame_is_scaled_to_the_models_size() {
    let site = Site::start().await;
    let upload = pictures::encoded(&pictures::photo(1024, 256), ImageFormat::WebP);
    let answer = site.generate(form_with(upload)).await.expect(200);
    assert_eq!(answer.picture().dimensions(), (512, 128));
    assert_eq!(site.tree.request(answer.job()).width, 512);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn styles_blends_prompts_and_strength_change_the_picture() {
    let site = Site::start().await;
    let paint = async |fields: &[(&'static str, &'static str)]| {
        let form = fields.iter().fold(pictures::form(), |form, (name, value)| form.text(*name, *value));
        let answer = site.generate(form).await.expect(200);
        let style = site.tree.outcome(answer.job()).and_then(|outcome| outcome.parameters?.style);
        (answer.picture(), style.map(|style| style.to_string()).unwrap_or_default())
    };
    let (midnight, style) = paint(&[("style", "Midnight")]).await;
    assert_eq!(style, "Midnight");
    let (pastel, style) = paint(&[("prompt", "a pastel of the sea")]).await;
    assert_eq!(style, "pastel");
    assert!(difference(&midnight, &pastel) > 5.0, "two styles give one picture");
    let (blend, style) = paint(&[("style", "midnight:0.5, pastel:0.5")]).await;
    assert_eq!(style, "midnight:0.5, pastel:0.5");
    assert!(difference(&blend, &midnight) > 2.0 && difference(&blend, &pastel) > 2.0, "the blend is one of its parts");
    let (untouched, _) = paint(&[("style", "midnight"), ("strength", "0")]).await;
    assert!(difference(&untouched, &pictures::photo(64, 48)) < 1.0, "a strength of 0 leaves the frame");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_versions_page_works_unchanged() {
    let site = Site::start().await;
    let fields = [
        ("strength", "0.5"),
        ("prompt", "A fantasy landscape, trending on artstation"),
        ("negative_prompt", "ugly, blurry"),
        ("model", "lykon/dreamshaper-8"),
        ("steps", "5"),
        ("scale", "7.5"),
        ("seed", "33"),
        // Its page has the selector in the form and adds the choice once more.
        ("model", "prompthero/openjourney"),
    ];
    let form = fields.iter().fold(pictures::form(), |form, (name, value)| form.text(*name, *value));
    let answer = site.generate(form).await.expect(200);
    assert_eq!(answer.header("x-model"), "starter");
    assert_eq!(answer.picture().dimensions(), (64, 48));
    assert!(answer.header("x-warnings").contains("no use for a seed"), "{}", answer.header("x-warnings"));
    let asked = site.tree.request(answer.job()).parameters;
    assert_eq!((asked.steps, asked.seed), (Some(5), Some(33)));
    assert_eq!((asked.strength, asked.guidance_scale), (Some(0.5), Some(7.5)));
    assert_eq!((asked.prompt.as_str(), asked.negative_prompt.as_str()), (fields[1].1, fields[2].1));
    site.stop().await;
}
