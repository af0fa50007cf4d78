//! The shared tree over SSH: one shared master connection, one SFTP session on it, a few channels for commands.
//!
//! Host aliases, `ProxyJump` and keys come from the user's ssh config; host keys are always checked.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livewebcam_jobs::{JobDir, JobFile};
use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use openssh_sftp_client::{Sftp, SftpOptions};
use tokio::sync::{Mutex, Semaphore};

use super::files::file_error;
use super::{Counters, Entry, Metadata, Process, TransportError, sftp};
use crate::settings::{Settings, seconds};

/// Channels besides SFTP; sshd's `MaxSessions` is 10 by default, and the eleventh kills the connection.
const COMMAND_CHANNELS: usize = 6;
/// After a failed connection, how long the next operations get the same answer without a new try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Ssh {
    host: String,
    config: PathBuf,
    deadline: Duration,
    counters: Arc<Counters>,
    channels: Arc<Semaphore>,
    link: Mutex<Link>,
    connected: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Link {
    connection: Option<Arc<Connection>>,
    failures: u32,
    not_before: Option<Instant>,
    last_error: String,
}

/// Runs one operation on the connection, opening it if need be.
macro_rules! once {
    ($ssh:expr, $action:expr, $path:expr, $sftp:ident => $operation:expr) => {{
        let connection = $ssh.connection().await?;
        let $sftp = &connection.sftp;
        let result = $operation.await;
        $ssh.settle($action, $path, &connection, result).await
    }};
}

/// Like `once`, and once more on a new connection if the first broke: for reads only.
macro_rules! twice {
    ($ssh:expr, $action:expr, $path:expr, $sftp:ident => $operation:expr) => {{
        let first = async { once!($ssh, $action, $path, $sftp => $operation) };
        match first.await {
            Err(TransportError::Lost { .. }) => once!($ssh, $action, $path, $sftp => $operation),
            other => other,
        }
    }};
}

/// One master connection with its SFTP session.
struct Connection {
    // Dropped before the session that it runs on.
    sftp: Sftp,
    session: Arc<Session>,
}

impl Ssh {
    pub(super) fn new(settings: &Settings, counters: Arc<Counters>) -> Self {
        Self {
            host: settings.ssh.host.clone(),
            config: settings.ssh.config.clone(),
            deadline: seconds(settings.deadlines.connect),
            counters,
            channels: Arc::new(Semaphore::new(COMMAND_CHANNELS)),
            link: Mutex::default(),
            connected: false.into(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The open connection, or a new one. One caller opens it; the others wait for it.
    async fn connection(&self) -> Result<Arc<Connection>, TransportError> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok(connection.clone());
        }
        if link.not_before.is_some_and(|instant| Instant::now() < instant) {
            return Err(self.connect_error(anyhow::anyhow!(link.last_error.clone())));
        }
        let opened = match tokio::time::timeout(self.deadline, self.open()).await {
            Ok(opened) => opened,
            Err(_) => Err(anyhow::anyhow!("no answer within {} s", self.deadline.as_secs_f64())),
        };
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *link = Link { connection: Some(connection.clone()), ..Link::default() };
                self.connected.store(true, std::sync::atomic::Ordering::Relaxed);
                Ok(connection)
            }
            Err(error) => {
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(link.failures.min(10))).min(LONGEST_PAUSE);
                link.failures += 1;
                // Jitter, so that many frontends do not come back to a rebooted login node in step.
                link.not_before = Some(Instant::now() + pause.mul_f64(0.5 + 0.5 * rand::random::<f64>()));
                link.last_error = format!("{error:#}");
                Err(self.connect_error(error))
            }
        }
    }

    async fn open(&self) -> anyhow::Result<Connection> {
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(self.deadline)
            .server_alive_interval(Duration::from_secs(10))
            // The master outlives a frontend that was killed by this much only.
            .control_persist(ControlPersist::IdleFor(NonZeroUsize::new(10).unwrap_or(NonZeroUsize::MIN)))
            // A socket's path is limited to 108 bytes.
            .control_directory("/tmp");
        if !self.config.as_os_str().is_empty() {
            builder.config_file(&self.config);
        }
        let session = Arc::new(builder.connect_mux(&self.host).await?);
        Counters::count(&self.counters.connections);
        Counters::count(&self.counters.channels);
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let sftp = Sftp::from_clonable_session(session.clone(), options).await.map_err(|error| {
            anyhow::Error::from(error).context(
                "the SFTP session could not be opened; if `ssh HOST true` prints anything, silence the shell's start files",
            )
        })?;
        for (supported, extension) in [
            (sftp.support_posix_rename(), "posix-rename@openssh.com"),
            (sftp.support_hardlink(), "hardlink@openssh.com"),
            (sftp.support_fsync(), "fsync@openssh.com"),
        ] {
            anyhow::ensure!(supported, "the SFTP server lacks {extension}; OpenSSH's own server has it since 6.5");
        }
        Ok(Connection { sftp, session })
    }

    fn connect_error(&self, source: anyhow::Error) -> TransportError {
        TransportError::Connect { host: self.host.clone(), advice: advice(&format!("{source:#}")), source }
    }

    /// Puts words to an operation's error. A connection that broke is dropped, so that the next operation opens a new one.
    async fn settle<T>(
        &self,
        action: &str,
        path: &Path,
        connection: &Arc<Connection>,
        result: Result<T, sftp::Error>,
    ) -> Result<T, TransportError> {
        match result {
            Ok(value) => Ok(value),
            Err(sftp::Error::File(error)) => Err(file_error(action, path, error)),
            Err(sftp::Error::Lost(source)) => {
                self.forget(connection).await;
                Err(TransportError::Lost { action: format!("{action} {}", path.display()), source })
            }
        }
    }

    async fn forget(&self, broken: &Arc<Connection>) {
        let mut link = self.link.lock().await;
        if link.connection.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
            link.connection = None;
            self.connected.store(false, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Gives the connection up if it does not answer: a half-open link hangs past every timeout of TCP's.
    pub(super) async fn suspect(&self) {
        let connection = self.link.lock().await.connection.clone();
        if let Some(connection) = connection {
            let alive = sftp::metadata(&connection.sftp, Path::new("."));
            if !matches!(tokio::time::timeout(Duration::from_secs(5), alive).await, Ok(Ok(_))) {
                self.forget(&connection).await;
            }
        }
    }

    /// The absolute path of `root` on the cluster; a leading `~/` is the home directory, where SFTP starts. Opens the
    /// connection in any case.
    pub(super) async fn resolve(&self, root: &Path) -> Result<PathBuf, TransportError> {
        let home = twice!(self, "resolving", root, sftp => sftp::home(sftp))?;
        Ok(home.join(root.strip_prefix("~").unwrap_or(root)))
    }

    pub(super) async fn create_dir(&self, path: &Path) -> Result<(), TransportError> {
        once!(self, "making the folder", path, sftp => sftp::create_dir(sftp, path))
    }

    pub(super) async fn stage(
        &self,
        staging: &JobDir,
        job: &JobDir,
        files: &[(JobFile, Vec<u8>)],
        marker: &Path,
    ) -> Result<(), TransportError> {
        once!(self, "staging", job.path(), sftp => sftp::stage(sftp, staging, job, files, marker))
    }

    pub(super) async fn replace(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), TransportError> {
        once!(self, "writing", path, sftp => sftp::replace(sftp, path, content, mode))
    }

    pub(super) async fn publish_exclusively(&self, path: &Path, content: &[u8]) -> Result<bool, TransportError> {
        once!(self, "publishing", path, sftp => sftp::publish_exclusively(sftp, path, content))
    }

    pub(super) async fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        twice!(self, "reading", path, sftp => sftp::read(sftp, path, limit))
    }

    pub(super) async fn read_tail(&self, path: &Path, limit: u64) -> Result<Option<(Vec<u8>, bool)>, TransportError> {
        twice!(self, "reading", path, sftp => sftp::read_tail(sftp, path, limit))
    }

    pub(super) async fn list(&self, path: &Path) -> Result<Vec<Entry>, TransportError> {
        twice!(self, "listing", path, sftp => sftp::list(sftp, path))
    }

    pub(super) async fn metadata(&self, path: &Path) -> Result<Option<Metadata>, TransportError> {
        twice!(self, "looking at", path, sftp => sftp::metadata(sftp, path))
    }

    pub(super) async fn rename(&self, from: &Path, to: &Path) -> Result<bool, TransportError> {
        once!(self, "renaming", from, sftp => sftp::rename(sftp, from, to))
    }

    pub(super) async fn remove_file(&self, path: &Path) -> Result<(), TransportError> {
        once!(self, "removing", path, sftp => sftp::remove_file(sftp, path))
    }

    pub(super) async fn remove_flat_dir(&self, path: &Path) -> Result<(), TransportError> {
        once!(self, "removing", path, sftp => sftp::remove_flat_dir(sftp, path))
    }

    pub(super) async fn spawn(&self, script: &str) -> Result<Process, TransportError> {
        let lost = |source: anyhow::Error| TransportError::Lost { action: "starting a command".to_owned(), source };
        let permit = self.channels.clone().acquire_owned().await.map_err(|error| lost(error.into()))?;
        let connection = self.connection().await?;
        Counters::count(&self.counters.channels);
        let mut command = connection.session.clone().arc_command("/bin/sh");
        command.arg("-c").arg(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn().await {
            Ok(child) => child,
            Err(error) => {
                self.forget(&connection).await;
                return Err(lost(error.into()));
            }
        };
        let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { unreachable!("all three streams are piped") };
        Ok(Process {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            ended: Box::pin(async move {
                let status = child.wait().await.ok().map(|status| status.to_string());
                drop(permit);
                status
            }),
        })
    }
}

/// What to do about an error of ssh's, from its words.
fn advice(message: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["IDENTIFICATION HAS CHANGED", "host key has changed"]) {
        "its host key has changed; make sure with its administrators that this is right, then remove the old key with \
         `ssh-keygen -R HOST`"
    } else if says(&["Host key verification failed", "No matching host key", "host key is known"]) {
        "its host key is unknown or does not match; connect once by hand with `ssh HOST` and check the fingerprint"
    } else if says(&["Permission denied"]) {
        "it refused the key; `ssh -o BatchMode=yes HOST true` must work without a password or a passphrase"
    } else if says(&["Could not resolve", "Name or service not known"]) {
        "its name is unknown; check ssh.host in the settings and the aliases in the ssh config"
    } else if says(&["Connection refused"]) {
        "nothing listens there; check the host and the port in the ssh config"
    } else if says(&["Connection timed out", "Network is unreachable", "No route to host", "no answer within"]) {
        "it does not answer; check the network, the VPN and the jump host"
    } else if says(&["SFTP session"]) {
        "SSH works but SFTP does not"
    } else if says(&["Can't open user config file", "Bad configuration option"]) {
        "the ssh config cannot be used; check ssh.config in the settings"
    } else {
        "try `ssh -v HOST true` by hand"
    }
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn each_of_sshs_refusals_has_its_own_advice() {
        let cases = [
            ("Host key verification failed.", "connect once by hand"),
            ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R"),
            ("me@host: Permission denied (publickey).", "refused the key"),
            ("Could not resolve hostname nowhere: Name or service not known", "name is unknown"),
            ("connect to host 127.0.0.1 port 1: Connection refused", "nothing listens"),
            ("no answer within 20 s", "does not answer"),
        ];
        for (message, expected) in cases {
            assert!(advice(message).contains(expected), "{message}");
        }
    }
}
