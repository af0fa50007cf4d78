//! The contract's ways to make a file appear, on a mounted filesystem.
//!
//! A reader never sees half a file: content is written under a temporary name with a random part and then either
//! renamed over the final name ([`replace`], [`replace_durably`]) or hard-linked to it ([`publish_exclusively`]).
//! On any failure the temporary file is removed if that is still possible; the sweeper removes what a killed process
//! leaves behind.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the names of temporary files begin.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// A sibling of `path` under a fresh temporary name.
#[must_use]
pub fn temporary_sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY_PREFIX}{name}-{:016x}", rand::random::<u64>()))
}

/// A complete temporary file that disappears unless it is published.
struct Temporary(PathBuf);

impl Temporary {
    fn write(target: &Path, content: &[u8], durable: bool) -> io::Result<Self> {
        let temporary = Self(temporary_sibling(target));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary.0)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        Ok(temporary)
    }

    fn rename_to(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.0, target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes `path` hold `content`, replacing what was there. Survives a crash of this process, not of the host: for files
/// like `progress.json` that the next write replaces anyway.
///
/// # Errors
/// Any error of the filesystem; `path` is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    Temporary::write(path, content, false)?.rename_to(path)
}

/// Makes `path` hold `content`, replacing what was there, with the content on disk before the name appears.
///
/// # Errors
/// Any error of the filesystem; `path` is then as it was.
pub fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    Temporary::write(path, content, true)?.rename_to(path)
}

/// Gives `content` the name `path` if nothing has that name yet, and tells whether it did.
///
/// Of any number of callers, on any number of hosts, exactly one gets `true`. A link whose success was reported as an
/// error (an NFS server's answer that was lost and sent again) shows in the link count of the temporary file.
///
/// # Errors
/// Any error of the filesystem other than that the name is taken.
pub fn publish_exclusively(path: &Path, content: &[u8]) -> io::Result<bool> {
    let temporary = Temporary::write(path, content, true)?;
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => Ok(true),
        Err(_) if fs::metadata(&temporary.0).is_ok_and(|metadata| metadata.nlink() == 2) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A JSON file's content, or `None` where there is no such file. Links are not followed.
///
/// # Errors
/// An error of the filesystem, a link in the file's place, or `InvalidData` where the content is not a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(content) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

/// A file's content, or `None` where there is no such file. Links are not followed.
///
/// # Errors
/// An error of the filesystem, or `InvalidInput` for a link or a folder in the file's place.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a regular file; links in a job directory are not followed", path.display()),
        )),
        Ok(_) => fs::read(path).map(Some),
    }
}

/// Pretty JSON with a final newline: people read these files.
///
/// # Panics
/// Never for the types of this crate, whose maps have string keys.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("the contract's types are JSON");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn exactly_one_of_many_publishers_wins_and_no_temporary_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claim.json");
        let barrier = Barrier::new(8);
        let wins: Vec<String> = thread::scope(|scope| {
            let publishers: Vec<_> = (0..8)
                .map(|n| {
                    let (path, barrier) = (&path, &barrier);
                    scope.spawn(move || {
                        let content = format!("claimant {n}");
                        barrier.wait();
                        publish_exclusively(path, content.as_bytes()).expect("no I/O error").then_some(content)
                    })
                })
                .collect();
            publishers.into_iter().filter_map(|publisher| publisher.join().expect("no panic")).collect()
        });
        assert_eq!(wins.len(), 1);
        assert_eq!(fs::read_to_string(&path).expect("a claim"), wins[0]);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_published_file_is_never_replaced_but_a_replaced_one_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        assert!(publish_exclusively(&path, b"first").expect("no error"));
        assert!(!publish_exclusively(&path, b"second").expect("no error"));
        assert_eq!(fs::read(&path).expect("content"), b"first");
        replace(&path, b"third").expect("no error");
        replace_durably(&path, b"fourth").expect("no error");
        assert_eq!(fs::read(&path).expect("content"), b"fourth");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("request.json");
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("a link");
        assert_eq!(read(&path).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    }
}
