//! What is kept of a model for the next painting: packed weights and embedded prompts. Whatever happens to it, the painting is
//! the same.

use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use candle_core::Tensor;
use image::RgbImage;
use livewebcam_jobs::Unloadable;
use livewebcam_runner::log::Log;
use livewebcam_runner::sd::{Folder, Img2Img, Keep, LoadError, LoadOptions, Pipeline, Precision, verify};

use super::copy::{Copy, Tensors};
use super::small::{Case, case, fixtures, load, paint, picture, request};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const PACKED_UNET: &str = "unet/.livewebcam/f32.weights";
const TEXT: &str = "text_encoder/model.safetensors";
const PROMPTS: &str = ".livewebcam/prompts";

fn turbo() -> (Copy, Case) {
    (Copy::of("sdturbo"), case("sdturbo", "one"))
}

fn keeping(path: &Path, cache: Option<PathBuf>) -> Folder {
    Folder::new(path).keeping(Keep { cache, log: Log::since(Instant::now()) })
}

fn load_keeping(path: &Path, precision: Precision) -> Pipeline {
    let options = LoadOptions { precision, ..LoadOptions::default() };
    Pipeline::load(&keeping(path, None), options).expect("a model")
}

fn paint_keeping(path: &Path, case: &Case) -> RgbImage {
    paint(&load_keeping(path, Precision::F32), case).image
}

/// What is painted where nothing is kept.
fn paint_plainly(path: &Path, case: &Case) -> RgbImage {
    paint(&load(path, false, Precision::F32).expect("a model"), case).image
}

/// Tells whether a file is the same as before, or another one of its name.
fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").ino()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a file")
}

fn set_modified(path: &Path, time: SystemTime) {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a file");
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("text");
    let mut names: Vec<String> = fs::read_dir(folder).expect("a folder").map(name).collect();
    names.sort();
    names
}

fn halved(tensors: Tensors) -> Tensors {
    let half = |tensor: Tensor| (tensor * 0.5).expect("a tensor");
    tensors.into_iter().map(|(name, tensor)| (name, half(tensor))).collect()
}

#[test]
fn packed_weights_paint_the_same_and_are_made_once() {
    for precision in [Precision::F32, Precision::Bf16] {
        let (copy, case) = turbo();
        let plain = paint(&load(copy.path(), false, precision).expect("a model"), &case).image;
        assert!(paint(&load_keeping(copy.path(), precision), &case).image == plain);
        let name = if precision == Precision::F32 { "f32.weights" } else { "bf16.weights" };
        for component in ["unet", "vae", "text_encoder"] {
            assert_eq!(names(&copy.path().join(component).join(".livewebcam")), [name, "lock"]);
        }
        let packed = copy.path().join("unet/.livewebcam").join(name);
        let first = inode(&packed);
        assert!(paint(&load_keeping(copy.path(), precision), &case).image == plain);
        assert_eq!(inode(&packed), first);
    }
}

#[test]
fn weights_that_changed_are_packed_anew() {
    let (copy, case) = turbo();
    let plain = paint_keeping(copy.path(), &case);
    let packed = copy.path().join(PACKED_UNET);
    let first = inode(&packed);
    set_modified(&copy.path().join(UNET), SystemTime::now() - Duration::from_secs(3600));
    assert!(paint_keeping(copy.path(), &case) == plain);
    let second = inode(&packed);
    assert_ne!(second, first);
    copy.edit_tensors(UNET, halved);
    let other = paint_keeping(copy.path(), &case);
    assert!(other == paint_plainly(copy.path(), &case) && other != plain);
    assert_ne!(inode(&packed), second);
    // Another configuration needs other tensors of the same file.
    copy.edit_json("vae/config.json", |config| config["mid_block_add_attention"] = false.into());
    assert!(paint_keeping(copy.path(), &case) == paint_plainly(copy.path(), &case));
}

#[test]
fn damaged_packed_weights_are_made_anew() {
    let (copy, case) = turbo();
    let plain = paint_keeping(copy.path(), &case);
    let packed = copy.path().join(PACKED_UNET);
    let whole = fs::read(&packed).expect("packed weights");
    let mut index = whole.clone();
    index[100] ^= 1;
    let mut start = whole.clone();
    start[16] ^= 1;
    let longer = [&whole[..], &[0]].concat();
    let cut = |length: usize| whole[..length].to_vec();
    let text = b"not at all what was written ".repeat(1000);
    for damaged in [cut(0), cut(7), cut(60), cut(5000), cut(whole.len() - 1), longer, index, start, text] {
        // As everything replaces it: another process may have mapped the old one.
        fs::remove_file(&packed).expect("removed");
        fs::write(&packed, damaged).expect("written");
        assert!(paint_keeping(copy.path(), &case) == plain);
        assert!(fs::read(&packed).expect("packed weights") == whole);
    }
}

#[test]
fn damage_that_only_a_whole_reading_finds_is_found_by_it() {
    let (copy, case) = turbo();
    paint_keeping(copy.path(), &case);
    let folder = keeping(copy.path(), None);
    assert_eq!(verify(&folder).expect("a model"), [""; 0]);
    let packed = copy.path().join(PACKED_UNET);
    let (length, unet) = (fs::metadata(&packed).expect("a file").len(), copy.path().join(UNET));
    let file = OpenOptions::new().write(true).open(&packed).expect("a file");
    file.write_all_at(&[0xa5; 3], length - 3).expect("written");
    let time = modified(&unet);
    let file = OpenOptions::new().write(true).open(&unet).expect("a file");
    let length = file.metadata().expect("a file").len();
    file.write_all_at(&[0x11; 3], length - 3).expect("written");
    set_modified(&unet, time);
    let problems = verify(&folder).expect("a model");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("f32.weights: the tensor `") && problems[0].ends_with("is damaged; remove the file"));
    assert!(problems[1].starts_with(&format!("{UNET} has changed since it was packed")), "{problems:?}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_served_from_the_cache_or_from_memory() {
    let (copy, case) = turbo();
    let plain = paint_plainly(copy.path(), &case);
    // What lies in the way is in the way of root too, who may write anywhere.
    for folder in ["", "unet", "vae", "text_encoder"] {
        fs::write(copy.path().join(folder).join(".livewebcam"), "").expect("a file");
    }
    assert!(paint_keeping(copy.path(), &case) == plain);
    let cache = tempfile::tempdir().expect("a folder");
    let model = cache.path().join("some/model");
    let folder = keeping(copy.path(), Some(model.clone()));
    for _ in 0..2 {
        let pipeline = Pipeline::load(&folder, LoadOptions::default()).expect("a model");
        assert!(paint(&pipeline, &case).image == plain);
    }
    assert_eq!(names(&model), ["prompts", "text_encoder", "unet", "vae"]);
    assert_eq!(names(&model.join("unet")), ["f32.weights", "lock"]);
    assert_eq!(names(&model.join("prompts")).len(), 1);
}

#[test]
fn of_several_packers_one_packs_and_the_others_wait() {
    let (copy, case) = turbo();
    let paintings: Vec<RgbImage> = thread::scope(|scope| {
        let painters: Vec<_> = (0..4).map(|_| scope.spawn(|| paint_keeping(copy.path(), &case))).collect();
        painters.into_iter().map(|painter| painter.join().expect("a painting")).collect()
    });
    assert!(paintings.iter().all(|painting| *painting == paintings[0]));
    for component in ["unet", "vae", "text_encoder"] {
        assert_eq!(names(&copy.path().join(component).join(".livewebcam")), ["f32.weights", "lock"]);
    }
}

#[test]
fn weights_that_cannot_be_used_leave_nothing_behind() {
    let (copy, _) = turbo();
    copy.edit_tensors(UNET, |mut tensors| {
        let bias = tensors.remove("conv_out.bias").expect("a bias");
        let nan = (bias * f64::NAN).expect("a tensor");
        tensors.insert("conv_out.bias".to_owned(), nan);
        tensors
    });
    let loaded = Pipeline::load(&keeping(copy.path(), None), LoadOptions::default());
    let error = loaded.err().expect("not a number").to_string();
    assert!(error.contains("`conv_out.bias` holds values that are not finite"), "{error}");
    assert_eq!(names(&copy.path().join("unet/.livewebcam")), ["lock"]);
}

/// Replaces the numbers of a text encoder's weights, and nothing by which a file is told from another.
fn scramble(copy: &Copy) {
    let path = copy.path().join(TEXT);
    let time = modified(&path);
    let file = OpenOptions::new().write(true).open(&path).expect("weights");
    let length = file.metadata().expect("a file").len() / 2;
    file.write_all_at(&vec![0xff; length as usize], length).expect("written");
    set_modified(&path, time);
    let _ = fs::remove_dir_all(copy.path().join("text_encoder/.livewebcam"));
}

#[test]
fn the_text_encoder_is_not_read_for_a_prompt_whose_embedding_is_kept() {
    let (copy, case) = turbo();
    let plain = paint_keeping(copy.path(), &case);
    assert_eq!(names(&copy.path().join(PROMPTS)).len(), 1);
    scramble(&copy);
    assert!(paint_keeping(copy.path(), &case) == plain);
    assert!(!copy.path().join("text_encoder/.livewebcam").exists());
    let pipeline = load_keeping(copy.path(), Precision::F32);
    let image = picture(&fixtures().join("input.png"));
    let request = Img2Img { prompt: "other words", ..request(&case, &image) };
    let error = pipeline.img2img(&request, &mut |_| ControlFlow::Continue(())).expect_err("damaged weights");
    assert!(error.to_string().starts_with(TEXT), "{error}");
}

#[test]
fn an_embedding_that_is_damaged_or_of_another_text_encoder_is_made_anew() {
    let (copy, case) = turbo();
    let plain = paint_keeping(copy.path(), &case);
    let name = names(&copy.path().join(PROMPTS)).remove(0);
    let kept = copy.path().join(PROMPTS).join(name);
    let whole = fs::read(&kept).expect("an embedding");
    let mut changed = whole.clone();
    changed[200] ^= 1;
    for damaged in [Vec::new(), whole[..30].to_vec(), whole[..whole.len() - 4].to_vec(), changed] {
        fs::write(&kept, damaged).expect("written");
        assert!(paint_keeping(copy.path(), &case) == plain);
        assert!(fs::read(&kept).expect("an embedding") == whole);
    }
    copy.edit_tensors(TEXT, halved);
    let other = paint_keeping(copy.path(), &case);
    assert!(other == paint_plainly(copy.path(), &case) && other != plain);
    assert_eq!(names(&copy.path().join(PROMPTS)).len(), 2);
}

#[test]
fn a_cut_prompt_is_told_of_again_and_other_words_are_another_prompt() {
    let (copy, case) = turbo();
    let pipeline = load_keeping(copy.path(), Precision::F32);
    let image = picture(&fixtures().join("input.png"));
    let paint = |prompt: &str| {
        let request = Img2Img { prompt, ..request(&case, &image) };
        pipeline.img2img(&request, &mut |_| ControlFlow::Continue(())).expect("a painting")
    };
    let long = "word ".repeat(80);
    let [first, second] = [paint(&long), paint(&long)];
    assert_eq!(first.warnings, ["the prompt is too long: its last 5 tokens were left out"]);
    assert!(second.warnings == first.warnings && second.image == first.image);
    assert!(paint("a cat").image != paint("a dog").image);
    assert_eq!(names(&copy.path().join(PROMPTS)).len(), 3);
}

#[test]
fn the_oldest_embeddings_go() {
    let (copy, case) = turbo();
    let folder = copy.path().join(PROMPTS);
    fs::create_dir_all(&folder).expect("a folder");
    let now = SystemTime::now();
    for age in 1..=300 {
        let file = File::create(folder.join(format!("{age:03}"))).expect("a file");
        file.set_modified(now - Duration::from_secs(age)).expect("a time");
    }
    paint_keeping(copy.path(), &case);
    let names = names(&folder);
    assert_eq!(names.len(), 256);
    assert!(names.contains(&"255".to_owned()) && !names.contains(&"256".to_owned()));
}

#[test]
fn half_precision_of_f16_is_refused_on_the_processor() {
    let options = LoadOptions { precision: Precision::F16, ..LoadOptions::default() };
    let loaded = Pipeline::load(&Folder::new(fixtures().join("sdturbo")), options);
    let error = loaded.err().expect("no such kernels");
    assert!(
        matches!(&error, LoadError::Unloadable(Unloadable::F16OnCpu)) && error.to_string().contains("choose `bf16`"),
        "{error}"
    );
}
