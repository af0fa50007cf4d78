//! Small Stable Diffusion models for tests: those that the runner's own tests hold to diffusers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::RgbImage;
use livewebcam_jobs::Root;

/// Installs a model of `runner/tests/parity` as `tiny/<model>`, and gives its name.
pub(crate) fn install(root: &Root, model: &str) -> String {
    let name = format!("tiny/{model}");
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/tests/parity");
    copy(&parity.join(model), &root.models().join(&name));
    name
}

/// Copies a folder; links in it become files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a listing") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// What the runner of this root gives on the command line: `arguments`, and `--output` with a file of its own.
pub(crate) fn painted(root: &Root, arguments: &[&str]) -> RgbImage {
    let folder = tempfile::tempdir().expect("a folder");
    let output: PathBuf = folder.path().join("painted.png");
    let ended = Command::new(root.runner()).args(arguments).arg("--output").arg(&output).output();
    let Output { status, stderr, .. } = ended.expect("the runner starts");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    image::open(output).expect("a picture").into_rgb8()
}

/// The largest difference of a channel of a pixel.
pub(crate) fn worst(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}
