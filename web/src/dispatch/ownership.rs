//! One frontend a root. `frontend.json` says who, and its sequence moves for as long as that frontend lives; no clock is
//! compared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use livewebcam_jobs::{Frontend, local};

use super::paint::{SMALL_FILE, chain};
use crate::settings::{Settings, seconds};
use crate::transport::{Transport, TransportError};

/// Heartbeats that may be late before a frontend counts as gone.
const PATIENCE: f64 = 2.5;

/// Why the root is not this frontend's.
#[derive(Debug, thiserror::Error)]
pub enum OwnershipError {
    /// Another frontend serves it.
    #[error(
        "another frontend (process {pid} on {host}) serves this root; stop it, or give this one another cluster.root"
    )]
    Taken {
        /// Its host.
        host: String,
        /// Its process there.
        pid: u32,
    },
    /// The file cannot be read or written.
    #[error("frontend.json cannot be used; check cluster.root and its permissions")]
    Transport(#[from] TransportError),
}

pub(super) struct Ownership {
    instance: String,
    sequence: AtomicU64,
    lost: AtomicBool,
    heartbeat: Duration,
}

impl Ownership {
    /// Takes the root, after making sure that whoever had it is gone.
    pub(super) async fn take(
        transport: &Transport,
        instance: &str,
        settings: &Settings,
    ) -> Result<Self, OwnershipError> {
        let heartbeat = seconds(settings.watch.heartbeat_seconds);
        let before = read(transport).await?;
        if let Some(before) = before {
            tracing::info!(host = before.host, pid = before.pid, "the root has a frontend; waiting for a sign of life");
            tokio::time::sleep(heartbeat.mul_f64(PATIENCE)).await;
            match read(transport).await? {
                Some(now) if now != before => return Err(OwnershipError::Taken { host: now.host, pid: now.pid }),
                _ => tracing::info!("none came; taking the root over"),
            }
        }
        let ownership = Self {
            instance: instance.to_owned(),
            sequence: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            heartbeat,
        };
        ownership.write(transport).await?;
        // Of two that start at once, the one whose file stays has the root.
        tokio::time::sleep(Duration::from_millis(50)).await;
        match read(transport).await? {
            Some(now) if now.instance != instance => Err(OwnershipError::Taken { host: now.host, pid: now.pid }),
            _ => Ok(ownership),
        }
    }

    async fn write(&self, transport: &Transport) -> Result<(), TransportError> {
        let frontend = Frontend {
            instance: self.instance.clone(),
            host: crate::host_name(),
            pid: std::process::id(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
        };
        transport.replace(&transport.root().frontend(), &local::to_json(&frontend), 0o600).await
    }

    /// One heartbeat. Finding another's name there means that the root is lost.
    pub(super) async fn beat(&self, transport: &Transport) {
        match read(transport).await {
            Ok(Some(now)) if now.instance != self.instance => {
                if !self.lost.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        host = now.host,
                        pid = now.pid,
                        "another frontend took this root; taking no more frames"
                    );
                }
            }
            Ok(_) => {
                if let Err(error) = self.write(transport).await {
                    tracing::warn!(error = chain(&error), "the heartbeat was not written");
                }
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the heartbeat was not checked"),
        }
    }

    pub(super) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets the next frontend start without waiting.
    pub(super) async fn give_up(&self, transport: &Transport) {
        if matches!(read(transport).await, Ok(Some(now)) if now.instance == self.instance) {
            let _ = transport.remove_file(&transport.root().frontend()).await;
        }
    }
}

/// An unreadable file counts as none: it says nothing of anybody who is alive.
async fn read(transport: &Transport) -> Result<Option<Frontend>, OwnershipError> {
    let content = transport.read(&transport.root().frontend(), SMALL_FILE).await?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}
