//! One file from the hub: what came is kept through broken connections and killed processes, and checked when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::header::CONTENT_RANGE;
use ureq::http::{HeaderMap, StatusCode};

use super::FetchError;
use super::hub::{Commit, Failure};
use super::progress::Progress;
use super::record::{RemoteFile, hexadecimal, read_all};

/// Tries in a row that bring nothing.
const MOST_TRIES: u32 = 5;

/// Downloads `file` into `folder`, by way of a file in `parts`.
pub(super) fn download(
    commit: &Commit<'_>,
    file: &RemoteFile,
    folder: &Path,
    parts: &Path,
    progress: &mut Progress,
) -> Result<(), FetchError> {
    let path = folder.join(&file.path);
    // What a hash names is the same in every commit.
    let identity = file.sha256.clone().unwrap_or_else(|| format!("{}-{}", commit.commit, file.path.replace('/', "--")));
    let mut part = Part::open(parts, &identity, file.size)?;
    let mut resumed = part.length > 0;
    progress.begin(&file.path, file.size, part.length);
    loop {
        fill(commit, file, &mut part, progress)?;
        match part.problem(file) {
            None => break,
            // The part may be an older one's fault.
            Some(_) if resumed => {
                progress.say(&format!("what was there of {} is damaged; beginning anew", file.path));
                part.restart()?;
                resumed = false;
            }
            Some(problem) => {
                part.restart()?;
                return Err(FetchError::Damaged { file: file.path.clone(), problem });
            }
        }
    }
    part.become_file(&path)?;
    progress.end();
    Ok(())
}

/// Why a try ended before the file was whole.
enum Break {
    Failure(Failure),
    Read(io::Error),
    Final(FetchError),
}

impl From<FetchError> for Break {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// Fills the part up to the file's size, in as many tries as that takes.
fn fill(commit: &Commit<'_>, file: &RemoteFile, part: &mut Part, progress: &Progress) -> Result<(), FetchError> {
    let mut tries = 0;
    while part.length < file.size {
        let before = part.length;
        let ended = match receive(commit, file, part, progress) {
            Ok(()) => Break::Read(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed early")),
            Err(ended) => ended,
        };
        if part.length == file.size {
            break;
        }
        tries = if part.length > before { 0 } else { tries + 1 };
        let reason = match ended {
            Break::Final(error) => return Err(error),
            Break::Failure(failure) if !failure.is_passing() => return Err(commit.explain(failure, &file.path)),
            Break::Failure(failure) if tries == MOST_TRIES => {
                return Err(match failure {
                    Failure::Transport(error) => broken(file, error.into_io()),
                    failure => commit.explain(failure, &file.path),
                });
            }
            Break::Read(source) if tries == MOST_TRIES => return Err(broken(file, source)),
            Break::Failure(failure) => failure.to_string(),
            Break::Read(error) => error.to_string(),
        };
        progress.say(&format!("{}: {reason}; going on at byte {}", file.path, part.length));
        if tries > 0 {
            sleep(Duration::from_secs(1 << (tries - 1)));
        }
    }
    Ok(())
}

fn broken(file: &RemoteFile, source: io::Error) -> FetchError {
    FetchError::Broken { file: file.path.clone(), source }
}

/// One try: asks for what the part lacks and appends what comes.
fn receive(commit: &Commit<'_>, file: &RemoteFile, part: &mut Part, progress: &Progress) -> Result<(), Break> {
    let answer = commit.open(&file.path, part.length).map_err(Break::Failure)?;
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        if part.length > 0 {
            part.restart()?;
            progress.set(0);
        }
    } else if first_byte(answer.headers()) != Some(part.length) {
        let problem = format!("byte {} was asked for, and it begins elsewhere", part.length);
        return Err(FetchError::Protocol { what: file.path.clone(), problem }.into());
    }
    // One byte more than there should be shows a file that is too long.
    let mut body = answer.into_body().into_reader().take(file.size - part.length + 1);
    let mut written = Ok(());
    let read = read_all(&mut body, |bytes| {
        if written.is_ok() {
            written = part.append(bytes);
            progress.set(part.length.min(file.size));
        }
    });
    written?;
    if part.length > file.size {
        part.restart()?;
        let problem = format!("it has more than its {} bytes", file.size);
        return Err(FetchError::Damaged { file: file.path.clone(), problem }.into());
    }
    read.map(drop).map_err(Break::Read)
}

/// Of `bytes 100-199/200`: 100.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// The beginning of a file, and the hash of it.
struct Part {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl Part {
    /// What is there of a file of `size` bytes, or nothing yet.
    fn open(parts: &Path, identity: &str, size: u64) -> Result<Self, FetchError> {
        fs::create_dir_all(parts).map_err(|source| FetchError::Write { path: parts.to_owned(), source })?;
        let path = parts.join(identity);
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|source| FetchError::Write { path: path.clone(), source })?;
        let mut part = Self { path, file, hasher: Sha256::new(), length: 0 };
        let hasher = &mut part.hasher;
        let read = read_all(&mut part.file, |bytes| hasher.update(bytes));
        part.length = read.map_err(|source| FetchError::Read { path: part.path.clone(), source })?;
        if part.length > size {
            part.restart()?;
        }
        Ok(part)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(|source| FetchError::Write { path: self.path.clone(), source })?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(|source| FetchError::Write { path: self.path.clone(), source })?;
        (self.hasher, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    /// What is wrong with it, now that it is as long as it should be.
    fn problem(&self, file: &RemoteFile) -> Option<String> {
        let expected = file.sha256.as_ref()?;
        let found = hexadecimal(self.hasher.clone());
        (found != *expected).then(|| format!("its SHA-256 is {found}, and the hub says {expected}"))
    }

    /// Takes its name, with all of it on disk before.
    fn become_file(self, path: &Path) -> Result<(), FetchError> {
        let failed = |source| FetchError::Write { path: path.to_owned(), source };
        self.file.sync_all().map_err(failed)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::rename(&self.path, path).map_err(failed)
    }
}
