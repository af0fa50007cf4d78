//! Where the bench keeps what it needs, and how that gets there: `target/bench` in the project's folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use image::imageops::FilterType;
use livewebcam_jobs::Root;

use super::Options;

/// The folders and programs of a bench.
pub(crate) struct Place {
    /// The project's folder.
    pub(crate) project: PathBuf,
    /// What the bench keeps.
    pub(crate) bench: PathBuf,
    /// The model, in diffusers' layout.
    pub(crate) model: PathBuf,
    /// Python with the peers.
    pub(crate) python: PathBuf,
}

/// The runner, built as this bench was.
pub(crate) const RUNNER: &str = env!("CARGO_BIN_EXE_livewebcam-runner");

impl Place {
    /// Makes the weights and the peers' virtual environment, unless they are there.
    pub(crate) fn prepare(options: &Options) -> Result<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project's folder")?.to_owned();
        let release = Path::new(RUNNER).parent().context("a folder of programs")?;
        let bench = release.parent().context("the target folder")?.join("bench");
        fs::create_dir_all(&bench)?;
        let model = match &options.model {
            Some(folder) => folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?,
            None => random_model(release, &bench)?,
        };
        let python = python(&project, &bench)?;
        Ok(Self { project, bench, model, python })
    }

    /// The photograph in this size.
    pub(crate) fn photo(&self, side: u32) -> Result<PathBuf> {
        let path = self.bench.join(format!("photo-{side}.png"));
        if !path.exists() {
            let photo = image::open(self.project.join("tests/photos/astronaut.png"))?;
            photo.resize_exact(side, side, FilterType::Lanczos3).to_rgb8().save(&path)?;
        }
        Ok(path)
    }

    /// The model's name in `root`, where a link makes it an installed one.
    pub(crate) fn install(&self, root: &Root) -> Result<String> {
        let file = self.model.file_name().context("a model's folder")?;
        let link = root.models().join("bench").join(file);
        for folder in root.skeleton().into_iter().chain(link.parent().map(Path::to_owned)) {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(&link);
        symlink(&self.model, &link)?;
        Ok(format!("bench/{}", file.to_string_lossy()))
    }

    /// A script of the peers, to be run with Python on some threads.
    pub(crate) fn script(&self, name: &str, threads: usize) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.project.join("tests/bench/peers").join(name));
        command.env("BENCH_THREADS", threads.to_string()).env("OMP_NUM_THREADS", threads.to_string());
        // Nothing is asked of the hub, and no bars and warnings among the answers.
        command.envs([
            ("HF_HUB_OFFLINE", "1"),
            ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ]);
        command
    }
}

/// Random weights of SD-Turbo's full size. They take their place in one rename, so what is there is complete.
fn random_model(release: &Path, bench: &Path) -> Result<PathBuf> {
    let model = bench.join("sd-turbo");
    if !model.exists() {
        let unfinished = bench.join("sd-turbo.unfinished");
        run(Command::new(release.join("examples/random_model")).arg("sd-turbo").arg(&unfinished))?;
        fs::rename(&unfinished, &model)?;
    }
    Ok(model)
}

/// The virtual environment, made anew when the requirements change.
fn python(project: &Path, bench: &Path) -> Result<PathBuf> {
    let (folder, requirements) = (bench.join("venv"), project.join("tests/bench/peers/requirements.txt"));
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = fs::read(&requirements)?;
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        eprintln!("installing PyTorch, diffusers, OpenVINO and onnxruntime into {}", folder.display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements))?;
        fs::write(&stamp, &wanted)?;
    }
    Ok(python)
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
