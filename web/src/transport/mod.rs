//! The way to the shared tree: the same operations on a mounted filesystem and over SSH.
//!
//! Only this module knows SSH's types. It knows nothing of schedulers or of the web.

mod files;
mod local;
mod sftp;
mod shell;
mod ssh;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use livewebcam_jobs::{JobFile, JobId, Marker, Root};
use serde::Serialize;
use tokio::sync::Mutex;

use self::shell::Shell;
pub use self::shell::{Output, Process};
use crate::settings::{Settings, TransportKind};

/// What went wrong on the way to the shared tree.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There is no connection to the cluster.
    #[error("no connection to the cluster host {host:?}: {advice}")]
    Connect {
        /// The destination, as in the settings.
        host: String,
        /// What to do about it.
        advice: &'static str,
        /// What ssh said.
        #[source]
        source: anyhow::Error,
    },
    /// The connection broke. It is opened anew by the next operation.
    #[error("the connection to the cluster broke while {action}")]
    Lost {
        /// What was being done.
        action: String,
        /// What the connection said.
        #[source]
        source: anyhow::Error,
    },
    /// The filesystem refused.
    #[error("{action} failed")]
    File {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A deadline passed.
    #[error("{action} took longer than {seconds} s")]
    Deadline {
        /// What was being done.
        action: String,
        /// The deadline.
        seconds: f64,
    },
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Seconds since its last change, on the clock of the host that it lies on; compared with nothing else.
    pub modified: u64,
    /// Whether it is a folder (a link to one is not).
    pub is_dir: bool,
}

/// What a path is, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// What this frontend has cost the cluster's login node.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    channels: AtomicU64,
    commands: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CountersReading {
    /// SSH connections opened.
    pub connections: u64,
    /// SSH channels opened over them.
    pub channels: u64,
    /// Commands run in shells at the other end.
    pub commands: u64,
}

impl Counters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection to the shared tree. Reconnects by itself; only reads are repeated blindly.
pub struct Transport {
    root: Root,
    way: Way,
    /// The long-lived shell for the scheduler's commands.
    shell: Mutex<Option<Shell>>,
    counters: std::sync::Arc<Counters>,
}

enum Way {
    Local(local::Local),
    Ssh(Box<ssh::Ssh>),
}

/// Calls the same operation on whichever way there is.
macro_rules! either {
    ($way:expr, $name:ident => $call:expr) => {
        match &$way {
            Way::Local($name) => $call,
            Way::Ssh($name) => $call,
        }
    };
}

impl Transport {
    /// Opens the way that `settings` name and resolves `cluster.root` at the other end.
    ///
    /// # Errors
    /// The host cannot be reached, or refuses.
    pub async fn connect(settings: &Settings) -> Result<Self, TransportError> {
        let counters = std::sync::Arc::<Counters>::default();
        let wanted = &settings.cluster.root;
        let (way, root) = match settings.cluster.transport {
            TransportKind::Local => (Way::Local(local::Local), local::resolve(wanted)?),
            TransportKind::Ssh => {
                let ssh = ssh::Ssh::new(settings, counters.clone());
                let root = ssh.resolve(wanted).await?;
                (Way::Ssh(Box::new(ssh)), root)
            }
        };
        Ok(Self { root: Root::new(root), way, shell: Mutex::new(None), counters })
    }

    /// The shared tree, with an absolute path.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What it has cost so far.
    #[must_use]
    pub fn counters(&self) -> CountersReading {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { connections, channels, commands } = &*self.counters;
        CountersReading { connections: read(connections), channels: read(channels), commands: read(commands) }
    }

    /// Makes a folder with mode 0700. One that is already there is fine.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn create_dir(&self, path: &Path) -> Result<(), TransportError> {
        either!(self.way, way => way.create_dir(path).await)
    }

    /// Puts a whole job directory in place and then its marker. The directory appears under its name in one rename with every
    /// file complete and on disk.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks; nothing that a runner would take is left behind.
    pub async fn stage(&self, id: JobId, files: &[(JobFile, Vec<u8>)], queue: &Marker) -> Result<(), TransportError> {
        let staging = self.root.staging(id);
        let marker = self.root.marker(queue, id);
        either!(self.way, way => way.stage(&staging, &self.root.job(id), files, &marker).await)
    }

    /// Makes `path` hold `content`, replacing what was there, atomically.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn replace(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), TransportError> {
        either!(self.way, way => way.replace(path, content, mode).await)
    }

    /// Gives `content` the name `path` if nothing has that name yet, and tells whether it did. `content` must be unlike what
    /// anybody else would write: that is how a win whose answer was lost is known again.
    ///
    /// # Errors
    /// The filesystem refuses for another reason than that the name is taken, or the connection breaks.
    pub async fn publish_exclusively(&self, path: &Path, content: &[u8]) -> Result<bool, TransportError> {
        either!(self.way, way => way.publish_exclusively(path, content).await)
    }

    /// The content of a regular file, or `None` if there is none. Links are not followed.
    ///
    /// # Errors
    /// More than `limit` bytes, something else than a regular file, or a refusal.
    pub async fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        either!(self.way, way => way.read(path, limit).await)
    }

    /// The last `limit` bytes of a regular file and whether that is not all of it; `None` if there is no file.
    ///
    /// # Errors
    /// Something else than a regular file, or a refusal.
    pub async fn read_tail(&self, path: &Path, limit: u64) -> Result<Option<(Vec<u8>, bool)>, TransportError> {
        either!(self.way, way => way.read_tail(path, limit).await)
    }

    /// The entries of a folder, opened anew so that an NFS client revalidates it; empty if there is no such folder.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn list(&self, path: &Path) -> Result<Vec<Entry>, TransportError> {
        either!(self.way, way => way.list(path).await)
    }

    /// What lies at `path`; `None` if nothing does.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn metadata(&self, path: &Path) -> Result<Option<Metadata>, TransportError> {
        either!(self.way, way => way.metadata(path).await)
    }

    /// Renames, replacing a file at `to`. `false` if there is nothing at `from`.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<bool, TransportError> {
        either!(self.way, way => way.rename(from, to).await)
    }

    /// Removes a file. One that is not there is fine.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks.
    pub async fn remove_file(&self, path: &Path) -> Result<(), TransportError> {
        either!(self.way, way => way.remove_file(path).await)
    }

    /// Removes a folder with the files in it, moving it out of sight first so that nobody sees half of it.
    ///
    /// # Errors
    /// The filesystem refuses, or the connection breaks; what is left lies under a name that the sweeper takes later.
    pub async fn remove_folder(&self, folder: &Path) -> Result<(), TransportError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let trash = if name.starts_with('.') {
            folder.to_owned()
        } else {
            let trash = folder.with_file_name(format!("{REMOVED_PREFIX}{name}"));
            if !self.rename(folder, &trash).await? {
                return Ok(());
            }
            trash
        };
        either!(self.way, way => way.remove_flat_dir(&trash).await)
    }

    /// Runs a command in the long-lived shell at the other end. Commands run one after another.
    ///
    /// # Errors
    /// The deadline passes or the connection breaks: whether the command did its work is then unknown.
    pub async fn run(&self, command: &str, deadline: std::time::Duration) -> Result<Output, TransportError> {
        Counters::count(&self.counters.commands);
        let mut slot = self.shell.lock().await;
        // Taken out for the time of the command: a shell whose command was given up is never used again.
        let mut shell = match slot.take() {
            Some(shell) => shell,
            None => Shell::new(self.spawn("exec /bin/sh").await?),
        };
        let output = tokio::time::timeout(deadline, shell.run(command)).await.map_err(|_| {
            TransportError::Deadline { action: "a command on the cluster".to_owned(), seconds: deadline.as_secs_f64() }
        })?;
        let output = output.map_err(|source| TransportError::Lost {
            action: "running a command on the cluster".to_owned(),
            source: source.into(),
        })?;
        *slot = Some(shell);
        Ok(output)
    }

    /// Starts `sh -c script` at the other end, with pipes.
    ///
    /// # Errors
    /// It cannot be started, or the connection breaks.
    pub async fn spawn(&self, script: &str) -> Result<Process, TransportError> {
        either!(self.way, way => way.spawn(script).await)
    }

    /// The folder to watch with the operating system's help, where the tree is mounted here.
    #[must_use]
    pub fn mounted(&self, path: &Path) -> Option<PathBuf> {
        matches!(self.way, Way::Local(_)).then(|| path.to_owned())
    }

    /// Whether the connection is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        either!(self.way, way => way.is_connected())
    }
}

/// How the names of job directories that are being removed begin.
pub const REMOVED_PREFIX: &str = ".removed-";

impl Transport {
    /// After a deadline passed: gives the connection up unless it still answers.
    pub async fn suspect(&self) {
        if let Way::Ssh(ssh) = &self.way {
            ssh.suspect().await;
        }
    }
}
