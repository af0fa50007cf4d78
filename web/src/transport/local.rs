//! The shared tree on a mounted filesystem.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use livewebcam_jobs::{JobDir, JobFile, local};
use tokio::process::Command;

use super::files::file_error;
use super::{Entry, Metadata, Process, TransportError};

/// Operations on files run on the blocking pool.
pub(super) struct Local;

/// `~/` is the home directory; the rest is made absolute.
pub(super) fn resolve(root: &Path) -> Result<PathBuf, TransportError> {
    let expanded = match (root.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => root.to_owned(),
    };
    std::path::absolute(&expanded).map_err(|error| file_error("resolving", root, error))
}

/// Runs `work` on the blocking pool and puts the action's name to its error.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, TransportError> {
    let owned = path.to_owned();
    let result = tokio::task::spawn_blocking(move || work(&owned)).await;
    result.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|error| file_error(action, path, error))
}

/// An error for a missing file becomes `None`.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn open_regular(path: &Path) -> io::Result<Option<(File, u64)>> {
    let Some(metadata) = found(fs::symlink_metadata(path))? else { return Ok(None) };
    if !metadata.is_file() {
        return Err(super::files::not_regular());
    }
    Ok(found(File::open(path))?.map(|file| (file, metadata.len())))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

impl Local {
    pub(super) async fn create_dir(&self, path: &Path) -> Result<(), TransportError> {
        blocking("making the folder", path, make_dir).await
    }

    pub(super) async fn stage(
        &self,
        staging: &JobDir,
        job: &JobDir,
        files: &[(JobFile, Vec<u8>)],
        marker: &Path,
    ) -> Result<(), TransportError> {
        let (from, to, marker, files) = (staging.clone(), job.clone(), marker.to_owned(), files.to_vec());
        let work = move |_: &Path| {
            let put = || {
                DirBuilder::new().mode(0o700).create(from.path())?;
                for (file, content) in &files {
                    write_new(&from.file(*file), content, 0o600)?;
                }
                fs::rename(from.path(), to.path())
            };
            put().inspect_err(|_| {
                let _ = fs::remove_dir_all(from.path());
            })?;
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&marker).map(drop)
        };
        blocking("staging", job.path(), work).await
    }

    pub(super) async fn replace(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), TransportError> {
        let content = content.to_vec();
        blocking("writing", path, move |path| {
            let temporary = local::temporary_sibling(path);
            let written = write_new(&temporary, &content, mode).and_then(|()| fs::rename(&temporary, path));
            written.inspect_err(|_| {
                let _ = fs::remove_file(&temporary);
            })
        })
        .await
    }

    pub(super) async fn publish_exclusively(&self, path: &Path, content: &[u8]) -> Result<bool, TransportError> {
        let content = content.to_vec();
        blocking("publishing", path, move |path| local::publish_exclusively(path, &content)).await
    }

    pub(super) async fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        blocking("reading", path, move |path| {
            let Some((file, _)) = open_regular(path)? else { return Ok(None) };
            let mut content = Vec::new();
            file.take(limit + 1).read_to_end(&mut content)?;
            if content.len() as u64 > limit { Err(super::files::too_long(limit)) } else { Ok(Some(content)) }
        })
        .await
    }

    pub(super) async fn read_tail(&self, path: &Path, limit: u64) -> Result<Option<(Vec<u8>, bool)>, TransportError> {
        blocking("reading", path, move |path| {
            let Some((mut file, bytes)) = open_regular(path)? else { return Ok(None) };
            file.seek(SeekFrom::Start(bytes.saturating_sub(limit)))?;
            let mut content = Vec::new();
            file.take(limit).read_to_end(&mut content)?;
            Ok(Some((content, bytes > limit)))
        })
        .await
    }

    pub(super) async fn list(&self, path: &Path) -> Result<Vec<Entry>, TransportError> {
        blocking("listing", path, |path| {
            let Some(folder) = found(fs::read_dir(path))? else { return Ok(Vec::new()) };
            let mut entries = Vec::new();
            for entry in folder {
                let entry = entry?;
                // Removed since the folder was read: as if it had never been listed.
                let Some(metadata) = found(entry.metadata())? else { continue };
                entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: metadata.len(),
                    modified: u64::try_from(metadata.mtime()).unwrap_or(0),
                    is_dir: metadata.is_dir(),
                });
            }
            Ok(entries)
        })
        .await
    }

    pub(super) async fn metadata(&self, path: &Path) -> Result<Option<Metadata>, TransportError> {
        blocking("looking at", path, |path| {
            let metadata = found(fs::symlink_metadata(path))?;
            Ok(metadata.map(|metadata| Metadata {
                mode: metadata.permissions().mode() & 0o7777,
                uid: metadata.uid(),
                is_dir: metadata.is_dir(),
            }))
        })
        .await
    }

    pub(super) async fn rename(&self, from: &Path, to: &Path) -> Result<bool, TransportError> {
        let to = to.to_owned();
        blocking("renaming", from, move |from| Ok(found(fs::rename(from, &to))?.is_some())).await
    }

    pub(super) async fn remove_file(&self, path: &Path) -> Result<(), TransportError> {
        blocking("removing", path, |path| found(fs::remove_file(path)).map(drop)).await
    }

    pub(super) async fn remove_flat_dir(&self, path: &Path) -> Result<(), TransportError> {
        blocking("removing", path, |path| found(fs::remove_dir_all(path)).map(drop)).await
    }

    pub(super) async fn spawn(&self, script: &str) -> Result<Process, TransportError> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| file_error("starting a process with", Path::new("/bin/sh"), error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { unreachable!("all three streams are piped") };
        Ok(Process {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            ended: Box::pin(async move { child.wait().await.ok().map(|status| status.to_string()) }),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        true
    }
}
