//! Where a model is put together, and how it appears in the shared tree: in one rename, when it is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use livewebcam_jobs::{HubName, Root};

use super::FetchError;
use crate::log::Log;

const PARTS: &str = ".parts";

/// A model's folder, in the hands of this process alone until this is dropped.
///
/// A model that is not installed yet is staged in a hidden folder beside its name, which stays there if the download ends
/// early; the next one goes on with it. An installed model is mended where it is, whole file by whole file.
pub(super) struct Place {
    installed: PathBuf,
    staging: PathBuf,
    is_installed: bool,
    _lock: File,
}

impl Place {
    /// Takes hold of the model's place.
    pub(super) fn take(root: &Root, name: &HubName, log: Log) -> Result<Self, FetchError> {
        if !root.path().is_dir() {
            return Err(FetchError::Root { root: root.path().to_owned() });
        }
        let (installed, staging) = (root.model(name), root.model_staging(name));
        let path = staging.join("lock");
        let failed = |source| FetchError::Write { path: path.clone(), source };
        let lock = loop {
            fs::create_dir_all(&staging).map_err(failed)?;
            let file = match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
                // The folder went away with the end of another fetch.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.map_err(failed)?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(FetchError::Busy { name: name.to_string(), lock: path });
                }
                Err(TryLockError::Error(error)) => log.line(format_args!(
                    "{} cannot be locked ({error}); see to it that no other fetch of {name} runs",
                    path.display()
                )),
            }
            if is_still(&file, &path).map_err(failed)? {
                break file;
            }
        };
        // A rename replaces an empty folder.
        let is_installed = fs::read_dir(&installed).is_ok_and(|mut entries| entries.next().is_some());
        Ok(Self { installed, staging, is_installed, _lock: lock })
    }

    /// Whether the model was there before.
    pub(super) fn is_installed(&self) -> bool {
        self.is_installed
    }

    /// The model's folder in the end.
    pub(super) fn installed(&self) -> &Path {
        &self.installed
    }

    /// The folder that is filled.
    pub(super) fn target(&self) -> PathBuf {
        if self.is_installed { self.installed.clone() } else { self.staging.join("model") }
    }

    /// The folder of files that are not whole yet, on the target's filesystem.
    pub(super) fn parts(&self) -> PathBuf {
        let folder = if self.is_installed { &self.installed } else { &self.staging };
        folder.join(PARTS)
    }

    /// Removes from the staged model what is not `planned`: it is of an earlier fetch that asked for something else.
    pub(super) fn prune(&self, planned: &[PathBuf]) -> io::Result<()> {
        if self.is_installed { Ok(()) } else { prune(&self.target(), planned) }
    }

    /// Gives the whole model its name, if it has not had it before, and leaves nothing else behind.
    pub(super) fn publish(&self) -> io::Result<()> {
        let target = self.target();
        if !self.is_installed {
            File::open(&target)?.sync_all()?;
            fs::rename(&target, &self.installed)?;
            if let Some(parent) = self.installed.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        for folder in [self.parts(), self.staging.join("model"), self.staging.join(PARTS)] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    /// Folders with something in them stay.
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.parts());
        let staged = [self.staging.join("model"), self.staging.join(PARTS)];
        let left = staged.iter().filter(|folder| fs::remove_dir(folder).is_err() && folder.exists()).count();
        if left == 0 {
            let _ = fs::remove_file(self.staging.join("lock"));
            let _ = fs::remove_dir(&self.staging);
            let _ = self.staging.parent().map(fs::remove_dir);
        }
    }
}

/// Whether `path` still names the open file: another process may have removed it before it was locked.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn prune(folder: &Path, planned: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !planned.iter().any(|planned| planned.starts_with(&path)) {
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        } else if path.is_dir() {
            prune(&path, planned)?;
        }
    }
    Ok(())
}
