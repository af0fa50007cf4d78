//! The contract's operations over SFTP, in few round trips.
//!
//! A request is sent when its future is first polled, and OpenSSH's server answers in order. So requests that do not need
//! each other's answers are joined into one round trip, a folder and the files in it among them.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use futures_util::future::{join, join_all, try_join, try_join_all};
use futures_util::{StreamExt, TryStreamExt, pin_mut};
use livewebcam_jobs::{JobDir, JobFile, local};
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::{MetaData, Permissions};
use openssh_sftp_client::{Error as SftpError, Sftp};
use tokio::io::AsyncSeekExt;

use super::{Entry, Metadata, files};

/// Content travels in pieces of this many bytes, all in flight at once. Every server takes as much in one request, so a
/// request that follows the pieces is handled after them.
const PIECE: usize = 32 << 10;

/// The server's refusal told apart from a broken connection.
#[derive(Debug)]
pub(super) enum Error {
    File(io::Error),
    Lost(anyhow::Error),
}

impl From<SftpError> for Error {
    fn from(error: SftpError) -> Self {
        match error {
            SftpError::SftpError(kind, message) => {
                let kind = match kind {
                    SftpErrorKind::NoSuchFile => io::ErrorKind::NotFound,
                    SftpErrorKind::PermDenied => io::ErrorKind::PermissionDenied,
                    SftpErrorKind::OpUnsupported => io::ErrorKind::Unsupported,
                    _ => io::ErrorKind::Other,
                };
                Self::File(io::Error::new(kind, format!("the SFTP server says: {}", message.get().0)))
            }
            other => Self::Lost(other.into()),
        }
    }
}

/// A refusal for a missing file becomes `None`.
pub(super) fn found<T>(result: Result<T, SftpError>) -> Result<Option<T>, Error> {
    match result.map_err(Error::from) {
        Err(Error::File(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

pub(super) async fn home(sftp: &Sftp) -> Result<PathBuf, Error> {
    Ok(sftp.fs().canonicalize(".").await?)
}

/// One round trip, or two where the folder is there already.
pub(super) async fn create_dir(sftp: &Sftp, path: &Path) -> Result<(), Error> {
    let (mut fs, mut again) = (sftp.fs(), sftp.fs());
    let mut builder = fs.dir_builder();
    builder.permissions(mode(0o700));
    match builder.create(path).await {
        Ok(()) => Ok(()),
        Err(error) => match found(again.symlink_metadata(path).await)? {
            Some(metadata) if metadata.file_type().is_some_and(|kind| kind.is_dir()) => Ok(()),
            _ => Err(error.into()),
        },
    }
}

fn mode(bits: u16) -> Permissions {
    Permissions::from(bits)
}

async fn create_file(sftp: &Sftp, path: &Path) -> Result<File, SftpError> {
    sftp.options().write(true).create_new(true).open(path).await
}

/// Writes everything, sets the mode and waits until it is on disk: one round trip.
async fn fill(file: File, content: &[u8], bits: u16) -> Result<(), SftpError> {
    let mut attributes = file.clone();
    let mut synced = file.clone();
    let pieces = content.chunks(PIECE).enumerate().map(|(index, piece)| {
        let mut file = file.clone();
        async move {
            file.seek(SeekFrom::Start((index * PIECE) as u64)).await?;
            file.write_all(piece).await
        }
    });
    let written = try_join_all(pieces);
    let durable = try_join(attributes.set_permissions(mode(bits)), synced.sync_all());
    let (written, durable) = join(written, durable).await;
    written.and(durable.map(drop))
}

/// Three round trips: the folder with its empty files; their content; the rename and the marker.
pub(super) async fn stage(
    sftp: &Sftp,
    staging: &JobDir,
    job: &JobDir,
    contents: &[(JobFile, Vec<u8>)],
    marker: &Path,
) -> Result<(), Error> {
    let staged = try_stage(sftp, staging, job, contents, marker).await;
    if matches!(staged, Err(Error::File(_))) {
        let _ = remove_flat_dir(sftp, staging.path()).await;
    }
    staged
}

async fn try_stage(
    sftp: &Sftp,
    staging: &JobDir,
    job: &JobDir,
    contents: &[(JobFile, Vec<u8>)],
    marker: &Path,
) -> Result<(), Error> {
    let paths: Vec<PathBuf> = contents.iter().map(|(file, _)| staging.file(*file)).collect();
    let opens = join_all(paths.iter().map(|path| create_file(sftp, path)));
    let (folder, opened) = join(create_dir(sftp, staging.path()), opens).await;
    folder?;
    let opened = opened.into_iter().collect::<Result<Vec<_>, _>>()?;

    let fills = opened.into_iter().zip(contents).map(|(file, (_, content))| fill(file, content, 0o600));
    try_join_all(fills).await?;

    let mut fs = sftp.fs();
    let marked = async {
        let mut options = sftp.options();
        options.write(true).create(true).open(marker).await
    };
    let (renamed, marked) = join(fs.rename(staging.path(), job.path()), marked).await;
    if let Err(error) = renamed {
        let _ = sftp.fs().remove_file(marker).await;
        return Err(error.into());
    }
    marked.map(drop).map_err(Error::from)
}

/// A complete temporary file beside `path`.
async fn temporary(sftp: &Sftp, path: &Path, content: &[u8], bits: u16) -> Result<PathBuf, Error> {
    let temporary = local::temporary_sibling(path);
    let written = async { fill(create_file(sftp, &temporary).await?, content, bits).await };
    match written.await {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = sftp.fs().remove_file(&temporary).await;
            Err(error.into())
        }
    }
}

pub(super) async fn replace(sftp: &Sftp, path: &Path, content: &[u8], bits: u32) -> Result<(), Error> {
    let temporary = temporary(sftp, path, content, u16::try_from(bits).unwrap_or(0o600)).await?;
    let renamed = sftp.fs().rename(&temporary, path).await;
    if renamed.is_err() {
        let _ = sftp.fs().remove_file(&temporary).await;
    }
    Ok(renamed?)
}

/// SFTP has no link count and no error of its own for a name that is taken, so after a refusal the content tells: ours means
/// that the link was made and only its answer was lost.
pub(super) async fn publish_exclusively(sftp: &Sftp, path: &Path, content: &[u8]) -> Result<bool, Error> {
    let temporary = temporary(sftp, path, content, 0o600).await?;
    let (mut fs, mut again) = (sftp.fs(), sftp.fs());
    let (linked, _) = join(fs.hard_link(&temporary, path), again.remove_file(&temporary)).await;
    match linked.map_err(Error::from) {
        Ok(()) => Ok(true),
        Err(Error::File(refusal)) => match read(sftp, path, content.len() as u64).await {
            Ok(Some(there)) => Ok(there == content),
            Ok(None) => Err(Error::File(refusal)),
            // Something longer, or no regular file: the name is taken by somebody else.
            Err(Error::File(_)) => Ok(false),
            Err(lost) => Err(lost),
        },
        Err(lost) => Err(lost),
    }
}

/// Opens a regular file and learns its size: one round trip.
async fn open_regular(sftp: &Sftp, path: &Path) -> Result<Option<(File, u64)>, Error> {
    let mut fs = sftp.fs();
    let (metadata, file) = join(fs.symlink_metadata(path), sftp.open(path)).await;
    let Some(metadata) = found(metadata)? else { return Ok(None) };
    if !metadata.file_type().is_some_and(|kind| kind.is_file()) {
        return Err(Error::File(files::not_regular()));
    }
    Ok(found(file)?.map(|file| (file, metadata.len().unwrap_or(0))))
}

/// One round trip, however many pieces.
async fn read_range(file: File, from: u64, to: u64) -> Result<Vec<u8>, Error> {
    let pieces = (from..to).step_by(PIECE).map(|start| {
        let mut file = file.clone();
        async move {
            let wanted = usize::try_from(to - start).unwrap_or(PIECE).min(PIECE);
            file.seek(SeekFrom::Start(start)).await?;
            let mut piece = Vec::with_capacity(wanted);
            while piece.len() < wanted {
                // A server may answer with less than was asked for.
                file.seek(SeekFrom::Start(start + piece.len() as u64)).await?;
                let missing = wanted - piece.len();
                match file
                    .read(u32::try_from(missing).unwrap_or(u32::MAX), bytes::BytesMut::with_capacity(missing))
                    .await?
                {
                    Some(bytes) => piece.extend_from_slice(&bytes),
                    None => break,
                }
            }
            Ok::<_, SftpError>(piece)
        }
    });
    Ok(try_join_all(pieces).await?.concat())
}

/// Two round trips.
pub(super) async fn read(sftp: &Sftp, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    match open_regular(sftp, path).await? {
        None => Ok(None),
        Some((_, bytes)) if bytes > limit => Err(Error::File(files::too_long(limit))),
        Some((file, bytes)) => read_range(file, 0, bytes).await.map(Some),
    }
}

pub(super) async fn read_tail(sftp: &Sftp, path: &Path, limit: u64) -> Result<Option<(Vec<u8>, bool)>, Error> {
    let Some((file, bytes)) = open_regular(sftp, path).await? else { return Ok(None) };
    let tail = read_range(file, bytes.saturating_sub(limit), bytes).await?;
    Ok(Some((tail, bytes > limit)))
}

/// Three round trips; more where the folder is long.
pub(super) async fn list(sftp: &Sftp, path: &Path) -> Result<Vec<Entry>, Error> {
    let Some(folder) = found(sftp.fs().open_dir(path).await)? else { return Ok(Vec::new()) };
    let entries = folder.read_dir();
    pin_mut!(entries);
    let mut listed = Vec::new();
    while let Some(entry) = entries.next().await.transpose()? {
        let name = entry.filename().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            let attributes = entry.metadata();
            listed.push(Entry {
                name,
                bytes: attributes.len().unwrap_or(0),
                modified: attributes.modified().map_or(0, |time| time.as_duration().as_secs()),
                is_dir: attributes.file_type().is_some_and(|kind| kind.is_dir()),
            });
        }
    }
    Ok(listed)
}

pub(super) async fn metadata(sftp: &Sftp, path: &Path) -> Result<Option<Metadata>, Error> {
    let metadata: Option<MetaData> = found(sftp.fs().symlink_metadata(path).await)?;
    Ok(metadata.map(|metadata| Metadata {
        mode: metadata.permissions().map_or(0, |permissions| permissions.as_raw().bits() & 0o7777),
        uid: metadata.uid().unwrap_or(u32::MAX),
        is_dir: metadata.file_type().is_some_and(|kind| kind.is_dir()),
    }))
}

/// `false` if there was nothing to rename.
pub(super) async fn rename(sftp: &Sftp, from: &Path, to: &Path) -> Result<bool, Error> {
    Ok(found(sftp.fs().rename(from, to).await)?.is_some())
}

pub(super) async fn remove_file(sftp: &Sftp, path: &Path) -> Result<(), Error> {
    found(sftp.fs().remove_file(path).await).map(drop)
}

pub(super) async fn remove_flat_dir(sftp: &Sftp, path: &Path) -> Result<(), Error> {
    let entries = list(sftp, path).await?;
    let files: Vec<PathBuf> = entries.into_iter().map(|entry| path.join(entry.name)).collect();
    let removals = files.iter().map(|file| remove_file(sftp, file)).collect::<Vec<_>>();
    futures_util::stream::iter(removals).buffer_unordered(32).try_collect::<()>().await?;
    found(sftp.fs().remove_dir(path).await).map(drop)
}
