//! The commands for people: `replay`, `img2img`, `models`.

use std::fs;
use std::path::Path;
use std::process::Output;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, RgbImage};
use livewebcam_jobs::{JobFile, ModelInfo, Status};

use crate::support::{Job, content, photo, runner};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn replay(job: &Path, output: &Path) -> Output {
    runner().arg("replay").arg("--job").arg(job).arg("--output").arg(output).output().expect("the runner starts")
}

#[test]
fn a_replay_gives_the_same_bytes_and_leaves_the_job_alone() {
    let job = Job::with(&photo(), |request| {
        request.parameters.prompt = "\"quotes\" `backticks` $(reboot)\n\u{1b}[31m\0 <script>".to_owned();
        request.parameters.style = Some("embers:0.3, starry night:0.7".parse().expect("a blend"));
        request.parameters.strength = Some(0.8);
    });
    job.run();
    assert_eq!(job.outcome().map(|outcome| outcome.status), Some(Status::Done));
    let state = || {
        let modified = |name: &String| fs::metadata(job.dir.path().join(name)).expect("a file").modified().ok();
        job.listing().into_iter().map(|name| (modified(&name), name)).collect::<Vec<_>>()
    };
    let before = state();
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("again.png");
    let ended = replay(job.dir.path(), &output);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(content(&output) == content(&job.dir.file(JobFile::Output)), "other bytes");
    assert_eq!(state(), before);

    let inside = replay(job.dir.path(), &job.dir.path().join("again.png"));
    assert!(!inside.status.success() && stderr(&inside).contains("in which a replay writes nothing"));
    assert_eq!(state(), before);
}

#[test]
fn a_job_without_a_result_is_not_replayed() {
    let job = Job::new(&photo());
    let folder = tempfile::tempdir().expect("a folder");
    let ended = replay(job.dir.path(), &folder.path().join("again.png"));
    assert!(!ended.status.success());
    assert!(stderr(&ended).contains("the job is not concluded yet; `run` paints it"), "{}", stderr(&ended));
    assert_eq!(fs::read_dir(folder.path()).expect("a listing").count(), 0);
}

/// Runs `img2img` on `input` with more options.
fn img2img(input: &Path, output: &Path, options: &[&str]) -> Output {
    let mut command = runner();
    command.args(["img2img", "--model", "starter", "--input"]).arg(input).arg("--output").arg(output).args(options);
    command.output().expect("the runner starts")
}

#[test]
fn photographs_are_painted_upright() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input"), folder.path().join("output.png"));
    let frame = photo();
    // EXIF, little endian, one entry: orientation 6, to be turned right.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 95);
    encoder.set_exif_metadata(exif.to_vec()).expect("room for it");
    encoder.encode_image(&frame).expect("a JPEG");
    fs::write(&input, &jpeg).expect("a file");
    let ended = img2img(&input, &output, &["--strength", "0"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let upright = image::open(&output).expect("a picture").into_rgb8();
    let turned = image::imageops::rotate90(&frame);
    assert_eq!(upright.dimensions(), turned.dimensions());
    let distance: u64 = upright.as_raw().iter().zip(turned.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    // JPEG loses a little of each value; another orientation would be off by tens.
    assert!(distance / (upright.as_raw().len() as u64) < 5);

    let mut webp = Vec::new();
    frame.write_to(&mut std::io::Cursor::new(&mut webp), image::ImageFormat::WebP).expect("a WebP");
    fs::write(&input, &webp).expect("a file");
    assert!(img2img(&input, &output, &["--strength", "0"]).status.success());
    assert_eq!(image::open(&output).expect("a picture").into_rgb8(), frame);
}

#[test]
fn what_an_option_does_not_do_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input.png"), folder.path().join("output.png"));
    photo().save(&input).expect("a picture");
    let options = ["--strength", "-3", "--steps", "5", "--negative-prompt", "blurry", "--style", "pastel"];
    let ended = img2img(&input, &output, &options);
    assert!(ended.status.success());
    let log = stderr(&ended);
    for warning in [
        "strength -3 is out of bounds; 0 is taken",
        "has no use for a number of steps; it is ignored",
        "has no use for a negative prompt; it is ignored",
    ] {
        assert!(log.contains(warning), "{log}");
    }
    fs::remove_file(&output).expect("a picture");
    for (options, message) in [
        (["--style", "vermeer"], "unknown style `vermeer`; this model has: pastel"),
        (["--style", "pastel:0"], "the share of style `pastel` is not a positive number"),
        (["--strength", "NaN"], "not a number"),
        (["--model", "vermeer"], "the argument '--model <MODEL>' cannot be used multiple times"),
    ] {
        let ended = img2img(&input, &output, &options);
        assert!(!ended.status.success() && stderr(&ended).contains(message), "{}", stderr(&ended));
        assert!(!output.exists());
    }
}

#[test]
fn a_painting_carries_its_parameters_where_image_tools_read_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input.png"), folder.path().join("output.png"));
    photo().save(&input).expect("a picture");
    assert!(img2img(&input, &output, &["--prompt", "Köln,\nat starry night", "--strength", "0.5"]).status.success());
    let file = std::io::BufReader::new(fs::File::open(&output).expect("a picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a header");
    reader.finish().expect("its chunks");
    let chunk = reader.info().utf8_text.first().expect("a text");
    let expected =
        "Köln, at starry night\nSize: 96x72, Model: starter, Denoising strength: 0.5, Style: \"starry night\"";
    assert_eq!((chunk.keyword.as_str(), chunk.get_text().expect("text").as_str()), ("parameters", expected));
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input.png"), folder.path().join("output.png"));
    let missing = img2img(&input, &output, &[]);
    assert!(!missing.status.success() && stderr(&missing).contains("input.png"), "{}", stderr(&missing));
    RgbImage::new(2, 2).save(&input).expect("a picture");
    let nowhere = img2img(&input, &folder.path().join("no/folder.png"), &[]);
    assert!(!nowhere.status.success() && stderr(&nowhere).contains("no/folder.png"), "{}", stderr(&nowhere));
}

#[test]
fn installed_models_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("models/stabilityai/sd-turbo");
    fs::create_dir_all(&model).expect("a folder");
    fs::write(model.join("model_index.json"), "{}").expect("a file");
    let list = |options: &[&str]| {
        let mut command = runner();
        let output = command.arg("models").args(options).arg("--root").arg(folder.path()).output();
        output.expect("the runner starts").stdout
    };
    let models: Vec<ModelInfo> = serde_json::from_slice(&list(&["--json"])).expect("a list of models");
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["starter", "stabilityai/sd-turbo"]);
    assert_eq!((models[0].controls.styles.len(), models[0].broken.as_deref()), (26, None));
    assert!(models[1].broken.is_some());
    let table = String::from_utf8(list(&[])).expect("text");
    assert_eq!(table.lines().count(), 2);
    assert!(table.starts_with("starter ") && table.contains("cannot paint: "), "{table}");
}
