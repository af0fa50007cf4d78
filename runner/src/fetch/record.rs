//! `fetched.json`: which commit of which repository a folder's files are, and how each can be told from a damaged one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use livewebcam_jobs::local;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was fetched into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// As on the hub: `stabilityai/sd-turbo`.
    pub repository: String,
    /// What was asked for: a branch, a tag or a commit.
    pub revision: String,
    /// The commit that it was then; every file is of this one.
    pub commit: String,
    /// The number format that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// All files, named from the folder on.
    pub files: Vec<RemoteFile>,
}

/// A file as the hub describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Named from the repository's top folder on.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In hexadecimal; large files have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What a folder has of a [`RemoteFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    Whole,
    Different,
}

impl Fetched {
    /// The record's name.
    pub const FILE: &str = "fetched.json";

    /// The record in `folder`, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or that is no record.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let record: Option<Self> = local::read_json(&folder.join(Self::FILE))?;
        match record.iter().flat_map(|record| &record.files).find(|file| !is_plain(&file.path)) {
            Some(file) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it names a file {:?}", file.path))),
            None => Ok(record),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        local::replace_durably(&folder.join(Self::FILE), &local::to_json(self))
    }
}

impl RemoteFile {
    /// Compares size and, where it is known, SHA-256.
    pub(super) fn state(&self, folder: &Path) -> io::Result<State> {
        let path = folder.join(&self.path);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.is_file() || metadata.len() != self.size => return Ok(State::Different),
            Ok(_) => {}
        }
        let Some(expected) = &self.sha256 else { return Ok(State::Whole) };
        let mut hasher = Sha256::new();
        read_all(&mut File::open(path)?, |bytes| hasher.update(bytes))?;
        Ok(if hexadecimal(hasher) == *expected { State::Whole } else { State::Different })
    }
}

/// Whether a file may have this name: folders and a file below the model's folder, without anything that a URL would quote.
pub(super) fn is_plain(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    path.split('/').all(|part| !part.starts_with('.') && !part.is_empty() && part.chars().all(plain))
}

/// Reads to the end, a piece at a time, and returns how many bytes there were.
pub(super) fn read_all(source: &mut impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                take(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
