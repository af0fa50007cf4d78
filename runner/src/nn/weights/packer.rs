//! Making packed files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use livewebcam_jobs::local::temporary_sibling;
use livewebcam_kernels::{Format, pack_into};
use rayon::prelude::*;
use rustix::fs::FallocateFlags;

use super::checkpoint::Checkpoint;
use super::packed_file::{Index, Stored};
use super::source::{SourceFile, content_hash};
use super::{Files, Form, Needed, Rows, WeightsError};

/// How many tensors are in memory at one time: the largest of them take a quarter of a gigabyte each.
const AT_ONE_TIME: usize = 4;

/// Tensors begin at a multiple of this.
const PAGE: u64 = 4096;

/// Why there is no packed file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackFailure {
    /// The weights themselves are no good.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// A file under a temporary name, which is removed unless it is published.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Packs `needed` tensors of `checkpoint`, whose files are `sources` at `files`, into a file at `path`. It appears complete or
/// not at all, and may be read by whoever may read the sources.
pub(super) fn pack(
    checkpoint: &Checkpoint,
    files: &Files,
    sources: Vec<SourceFile>,
    needed: Vec<Needed>,
    format: Format,
    path: &Path,
) -> Result<(), PackFailure> {
    let mut index = Index::new(sources, needed, format);
    // No shorter than the real ones, which are known last.
    index.contents = vec!["0".repeat(64); files.len()];
    index.tensors.iter_mut().for_each(|tensor| tensor.crc = u32::MAX);
    let start = (index.to_bytes(0).len() as u64).next_multiple_of(PAGE);
    let length = start + index.length(format);

    let temporary = Temporary(temporary_sibling(path));
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary.0)?;
    reserve(&file, length)?;
    let contents = || files.iter().map(|(path, _)| content_hash(path)).collect::<io::Result<Vec<_>>>();
    let tensors = || write_tensors(checkpoint, &mut index.tensors, format, &file, start);
    let (contents, written) = rayon::join(contents, tensors);
    written?;
    index.contents = contents?;
    file.write_all_at(&index.to_bytes(start), 0)?;
    if let Some((source, _)) = files.first() {
        file.set_permissions(fs::metadata(source)?.permissions())?;
    }
    file.sync_all()?;
    fs::rename(&temporary.0, path)?;
    Ok(())
}

/// Finds out at once whether the file has room. Not every filesystem can.
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(length),
        reserved => Ok(reserved?),
    }
}

fn write_tensors(
    checkpoint: &Checkpoint,
    tensors: &mut [Stored],
    format: Format,
    file: &File,
    start: u64,
) -> Result<(), PackFailure> {
    let queue = Mutex::new(tensors.iter_mut());
    let work = || -> Result<(), PackFailure> {
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some(tensor) = next else { return Ok(()) };
            let bytes = packed(checkpoint, &tensor.needed, format)?;
            tensor.crc = crc32fast::hash(&bytes);
            file.write_all_at(&bytes, start + tensor.offset)?;
        }
    };
    (0..AT_ONE_TIME).into_par_iter().try_for_each(|_| work())
}

/// A tensor's bytes in a packed file.
fn packed(checkpoint: &Checkpoint, needed: &Needed, format: Format) -> Result<Vec<u8>, WeightsError> {
    let values = checkpoint.values(&needed.name, &needed.shape)?;
    Ok(match (needed.form, Needed::weight_shape(&needed.shape)) {
        (Form::Matrix, Some(shape)) => {
            let mut bytes = vec![0; shape.bytes(format)];
            pack_into(&values, shape, format, &mut bytes);
            bytes
        }
        (Form::Table, _) => Rows::to_bytes(&values, format),
        _ => Rows::to_bytes(&values, Format::F32),
    })
}
