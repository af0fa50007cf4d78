//! A shared tree in a temporary folder, the runner's processes, and repositories made of the models in `tests/parity`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use image::RgbImage;
use livewebcam_jobs::ModelInfo;
use serde_json::Value;
use tempfile::TempDir;

use crate::hub::{Asked, Files, Hub};

pub const NAME: &str = "small/model";
pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
pub const TEXT: &str = "text_encoder/model.safetensors";

/// What an SD 1.5 needs, in alphabetical order.
pub const NEEDED: [&str; 11] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    TEXT,
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    UNET,
    "vae/config.json",
    VAE,
];

pub fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name)
}

/// A folder's files, with the names that they have in it.
pub fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).expect("a listing") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.is_dir() {
            files.extend(self::files(&path).into_iter().map(|(below, content)| (format!("{name}/{below}"), content)));
        } else {
            files.insert(name, fs::read(path).expect("a file"));
        }
    }
    files
}

/// The files of a model of `tests/parity`, with what else repositories hold.
pub fn repository(model: &str) -> Files {
    let mut files = files(&fixtures(model));
    files.retain(|name, _| !name.starts_with("taesd"));
    for name in [
        ".gitattributes",
        "README.md",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_flax_model.msgpack",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/model.onnx",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
    ] {
        files.insert(name.to_owned(), b"nobody needs this".to_vec());
    }
    files
}

/// The small autoencoder's repository.
pub fn taesd_repository() -> Files {
    let mut files = files(&fixtures("sd15/taesd"));
    files.insert("taesd_decoder.safetensors".to_owned(), b"nobody needs this".to_vec());
    files
}

/// How a runner ended.
#[derive(Debug)]
pub struct Ended {
    pub succeeded: bool,
    pub log: String,
}

impl Ended {
    #[track_caller]
    pub fn well(self) -> Self {
        assert!(self.succeeded, "{}", self.log);
        self
    }

    #[track_caller]
    pub fn with(self, message: &str) -> Self {
        assert!(!self.succeeded && self.log.contains(message), "{}", self.log);
        self
    }
}

/// A shared tree, and a hub to fill it from.
pub struct Tree {
    folder: TempDir,
    pub hub: Hub,
}

impl Tree {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("root")).expect("a folder");
        Self { folder, hub: Hub::new() }
    }

    /// A tree, and a hub with this model of `tests/parity`.
    pub fn with(model: &str) -> Self {
        let tree = Self::new();
        tree.hub.commit(NAME, repository(model));
        tree
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn model(&self) -> PathBuf {
        self.root().join("models").join(NAME)
    }

    /// The file of an unfinished download.
    pub fn parts(&self) -> PathBuf {
        self.root().join("models/small/.staging-model/.parts")
    }

    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livewebcam-runner"));
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        for name in ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.env("HF_ENDPOINT", &self.hub.endpoint).env("HF_HOME", self.home());
        command.arg("fetch").args(options).arg("--root").arg(self.root());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, command: &mut Command) -> Ended {
        let output = command.output().expect("the runner starts");
        Ended { succeeded: output.status.success(), log: String::from_utf8(output.stderr).expect("a log is text") }
    }

    pub fn fetch(&self, options: &[&str]) -> Ended {
        self.run(self.command(&[NAME]).args(options))
    }

    pub fn start(&self) -> Running {
        Running(self.command(&[NAME]).spawn().expect("the runner starts"))
    }

    /// The installed models besides the built-in one.
    pub fn models(&self) -> Vec<ModelInfo> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livewebcam-runner"));
        let output = command.args(["models", "--json", "--root"]).arg(self.root()).output().expect("the runner starts");
        let models: Vec<ModelInfo> = serde_json::from_slice(&output.stdout).expect("a list of models");
        models.into_iter().skip(1).collect()
    }

    /// Fails unless `models/` has the whole model and nothing else.
    #[track_caller]
    pub fn assert_installed(&self) {
        let models = self.models();
        assert_eq!(models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), [NAME]);
        assert_eq!(models[0].broken, None);
        assert_eq!(self.names(), ["model"]);
    }

    /// Fails if there is anything of a model in `models/`.
    #[track_caller]
    pub fn assert_nothing_installed(&self) {
        assert_eq!(self.models(), []);
        assert!(!self.model().exists());
    }

    /// What lies in the owner's folder, hidden or not.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root().join("models/small")) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
    }

    pub fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.model().join("fetched.json")).expect("a record")).expect("JSON")
    }

    /// Paints a case of `tests/parity`, and fails unless the picture is diffusers'.
    #[track_caller]
    pub fn assert_paints(&self, model: &str, case: &str, options: &[&str]) {
        let cases: Vec<Value> =
            serde_json::from_slice(&fs::read(fixtures(model).join("cases.json")).expect("cases")).expect("cases");
        let asked = cases.iter().find(|found| found["name"] == case).expect("a case");
        let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| asked[key].to_string();
        let painted = self.folder.path().join("painted.png");
        let mut command = Command::new(env!("CARGO_BIN_EXE_livewebcam-runner"));
        command.args(["img2img", "--model", NAME, "--root"]).arg(self.root()).args(options);
        command.arg("--input").arg(fixtures("input.png")).arg("--output").arg(&painted);
        command.args(["--prompt", &text("prompt"), "--negative-prompt", &text("negative_prompt")]);
        command.args(["--steps", &number("num_inference_steps"), "--strength", &number("strength")]);
        command.args(["--guidance", &number("guidance_scale"), "--seed", &number("seed")]);
        if asked["scheduler"].is_string() {
            command.args(["--scheduler", &text("scheduler")]);
        }
        let output = command.output().expect("the runner starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let picture = |path: &Path| -> RgbImage { image::open(path).expect("a picture").into_rgb8() };
        let (painted, expected) = (picture(&painted), picture(&fixtures(model).join(format!("{case}.png"))));
        // Two right implementations differ in the rounding of f32, which decides on a value of a pixel here and there.
        let differences = painted.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
        assert!(painted.dimensions() == expected.dimensions() && differences.max() <= Some(2), "another picture");
    }
}

/// A fetch at work; killed if a test ends before it does.
pub struct Running(Child);

impl Running {
    /// Ends it as SIGKILL does.
    pub fn kill(mut self) {
        self.0.kill().expect("a process");
        self.0.wait().expect("an end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The files that were asked for at the hub, each once, in alphabetical order.
pub fn names(asked: &[Asked]) -> Vec<&str> {
    let files = asked.iter().filter(|asked| !asked.storage && !asked.commit.is_empty());
    let mut names: Vec<&str> = files.map(|asked| asked.what.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The ranges that were asked of the storage for a file.
pub fn ranges(asked: &[Asked], file: &str) -> Vec<Option<String>> {
    asked.iter().filter(|asked| asked.storage && asked.what == file).map(|asked| asked.range.clone()).collect()
}

/// Whether any content of a large file was asked for.
pub fn is_large_asked(asked: &[Asked]) -> bool {
    asked.iter().any(|asked| asked.storage)
}
