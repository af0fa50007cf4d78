//! Which files weights come from, told apart by what changes when a file is replaced.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::LARGEST_HEADER;
use super::{Files, WeightsError};
use crate::hash::{hex, sha256};

/// A safetensors file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceFile {
    /// The name that errors give it.
    name: String,
    bytes: u64,
    /// Seconds since 1970, and nanoseconds.
    modified: (i64, i64),
    /// SHA-256 of its header, which names every tensor.
    header: String,
}

impl SourceFile {
    /// Looks at each of `files`.
    pub(super) fn all(files: &Files) -> Result<Vec<Self>, WeightsError> {
        let look = |(path, name): &(std::path::PathBuf, String)| {
            Self::of(path, name).map_err(|source| WeightsError::Read { file: name.clone(), source })
        };
        files.iter().map(look).collect()
    }

    fn of(path: &Path, name: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            name: name.to_owned(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            header: header(&file, &metadata)?,
        })
    }
}

/// A name for what is in `files`, which another content of theirs would not have.
///
/// # Errors
/// A file cannot be read.
pub fn identity(files: &Files) -> Result<String, WeightsError> {
    let sources = serde_json::to_vec(&SourceFile::all(files)?).expect("sources are JSON");
    Ok(sha256(sources))
}

/// A file's size and time of change as text; `None` where it is not there.
#[must_use]
pub fn stamp(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    Some(format!("{} {}.{:09}", metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// A file that is too short for a header has an empty one: what is wrong with it, its reader says.
fn header(file: &File, metadata: &Metadata) -> io::Result<String> {
    let mut length = [0; 8];
    if metadata.len() >= 8 {
        file.read_exact_at(&mut length, 0)?;
    }
    let length = u64::from_le_bytes(length).min(LARGEST_HEADER).min(metadata.len().saturating_sub(8));
    let mut header = vec![0; length as usize];
    file.read_exact_at(&mut header, 8.min(metadata.len()))?;
    Ok(sha256(header))
}

/// SHA-256 of a file's whole content, as model hubs publish it.
pub(super) fn content_hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
