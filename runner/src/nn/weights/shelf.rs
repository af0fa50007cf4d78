//! Finding a component's packed weights, or making them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use livewebcam_kernels::Format;

use super::checkpoint::Checkpoint;
use super::packed_file::{PackedFile, Unusable};
use super::packer::{PackFailure, pack};
use super::source::{SourceFile, content_hash};
use super::{Kind, Placement, Weights, WeightsError};
use crate::log::Log;

/// How long a process waits for another one that packs. That one needs a few seconds, and then both have it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where the packed weights of a component may lie, and who is told what becomes of them.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// In the order of preference. They need not exist.
    pub folders: Vec<PathBuf>,
    /// Says what was packed, and what keeps it from being kept.
    pub log: Log,
}

/// The files of a component's weights: pairs of a path and the name that errors give it.
pub type Files = [(PathBuf, String)];

/// Builds a network from packed weights if there are any, and otherwise from `files`. On a processor these are packed then,
/// and kept on the shelf for the next time. Without a shelf nothing is kept.
///
/// # Errors
/// Whatever is wrong with `files`. What is wrong with a packed file, or keeps one from being made, is only told.
pub fn load<N>(
    files: &Files,
    placement: &Placement,
    shelf: Option<&Shelf>,
    build: impl Fn(&Weights) -> Result<N, WeightsError>,
) -> Result<N, WeightsError> {
    if let (&Placement::Kernels(format), Some(shelf)) = (placement, shelf) {
        let sources = SourceFile::all(files)?;
        let request = Request { files, sources, format, placement, shelf };
        if let Some(network) = request.load(&build)? {
            return Ok(network);
        }
        shelf.log.line(format_args!("{}: the weights are packed in memory", request.component()));
    }
    build(&Weights::open(files, placement.clone())?)
}

struct Request<'a> {
    files: &'a Files,
    sources: Vec<SourceFile>,
    format: Format,
    placement: &'a Placement,
    shelf: &'a Shelf,
}

impl Request<'_> {
    /// `None` where there is no packed file and none can be made.
    fn load<N>(&self, build: &impl Fn(&Weights) -> Result<N, WeightsError>) -> Result<Option<N>, WeightsError> {
        for folder in &self.shelf.folders {
            match self.open(folder, build) {
                Ok(network) => return Ok(Some(network)),
                Err(Unusable::Absent) => {}
                Err(problem) => self.tell(folder, format_args!("{problem}")),
            }
        }
        for folder in &self.shelf.folders {
            match self.make(folder, build) {
                Ok(Some(network)) => return Ok(Some(network)),
                Ok(None) => {}
                Err(PackFailure::Weights(error)) => return Err(error),
                Err(PackFailure::Write(error)) => self.tell(folder, format_args!("it cannot be written ({error})")),
            }
        }
        Ok(None)
    }

    fn open<N>(&self, folder: &Path, build: &impl Fn(&Weights) -> Result<N, WeightsError>) -> Result<N, Unusable> {
        let packed = PackedFile::open(&path(folder, self.format), &self.sources, self.format)?;
        // What it lacks, a configuration asks for that has changed.
        build(&Weights::of(Kind::Packed(packed), self.placement.clone())).map_err(|_| Unusable::Stale)
    }

    /// Packs, unless another process has done so meanwhile. `None` where that process takes too long.
    fn make<N>(
        &self,
        folder: &Path,
        build: &impl Fn(&Weights) -> Result<N, WeightsError>,
    ) -> Result<Option<N>, PackFailure> {
        let started = Instant::now();
        create_like_its_parent(folder)?;
        let Some(_lock) = lock(folder)? else {
            self.tell(folder, format_args!("another process has been making it for {} s", PATIENCE.as_secs()));
            return Ok(None);
        };
        if let Ok(network) = self.open(folder, build) {
            return Ok(Some(network));
        }
        let checkpoint = Checkpoint::open(self.files)?;
        let outline = Weights::of(Kind::outline_of(checkpoint), self.placement.clone());
        drop(build(&outline)?);
        let needed = outline.needed();
        let Kind::Outline { like: Some(checkpoint), .. } = &outline.source.kind else { return Ok(None) };
        let path = path(folder, self.format);
        pack(checkpoint, self.files, self.sources.clone(), needed, self.format, &path)?;
        let seconds = started.elapsed().as_secs_f64();
        self.shelf.log.line(format_args!(
            "{}: packed in {seconds:.1} s, and kept as {}",
            self.component(),
            path.display()
        ));
        self.open(folder, build).map(Some).map_err(|problem| io::Error::other(problem).into())
    }

    fn tell(&self, folder: &Path, problem: std::fmt::Arguments<'_>) {
        let path = path(folder, self.format);
        self.shelf.log.line(format_args!("{}: the packed weights {}: {problem}", self.component(), path.display()));
    }

    /// What the log calls the weights.
    fn component(&self) -> &str {
        self.files.first().map_or("", |(_, name)| name.split('/').next().unwrap_or(name))
    }
}

/// The packed file in a folder.
fn path(folder: &Path, format: Format) -> PathBuf {
    folder.join(match format {
        Format::F32 => "f32.weights",
        Format::Bf16 => "bf16.weights",
    })
}

/// Whoever may work in the folder's parent may work in it.
fn create_like_its_parent(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                created?;
                fs::set_permissions(folder, fs::metadata(parent)?.permissions())?;
            }
        }
    }
    Ok(())
}

/// Waits for the lock on a folder, which ends with the process at the latest. `None` where another process keeps it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("lock"))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(LOOK_EVERY),
            // On a filesystem without locks two may pack at once; the last one's file stays.
            Err(TryLockError::Error(_)) => return Ok(Some(file)),
        }
    }
}

/// Compares the packed weights of `files` on a shelf with what was written, and `files` with what they were made of; reads all
/// of both. What is wrong, in a sentence for each; nothing for a packed file that is not there or out of date.
///
/// # Errors
/// `files` cannot be read.
pub fn verify(files: &Files, folders: &[PathBuf]) -> Result<Vec<String>, WeightsError> {
    let sources = SourceFile::all(files)?;
    let mut problems = Vec::new();
    for (folder, format) in folders.iter().flat_map(|folder| [(folder, Format::F32), (folder, Format::Bf16)]) {
        let path = path(folder, format);
        let packed = match PackedFile::open(&path, &sources, format) {
            Ok(packed) => packed,
            Err(Unusable::Absent | Unusable::Stale) => continue,
            Err(problem) => {
                problems.push(format!("{}: {problem}; remove it", path.display()));
                continue;
            }
        };
        if let Some(tensor) = packed.verify() {
            problems.push(format!("{}: the tensor `{tensor}` is damaged; remove the file", path.display()));
        }
        for ((source, name), expected) in files.iter().zip(packed.contents()) {
            let read = |source| WeightsError::Read { file: name.clone(), source };
            if content_hash(source).map_err(read)? != *expected {
                problems.push(format!(
                    "{name} has changed since it was packed as {}; download it again, or remove the packed file",
                    path.display()
                ));
            }
        }
    }
    Ok(problems)
}
