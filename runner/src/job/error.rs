//! Why a job has no painting.

use std::io::{self, ErrorKind};

use livewebcam_jobs::{Failure, REQUEST_VERSION, Stage};

use crate::frame::FrameError;
use crate::log::chain;
use crate::model::{FindError, LoadError, PaintError};

/// A failure after the claim. Its own text is one sentence for the visitor, without path, host or user; the causes
/// beneath it are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No `request.json`.
    #[error("the job has no request")]
    NoRequest,
    /// `request.json` is no request, a link, or unreadable.
    #[error("the job's request cannot be read")]
    Request(#[source] io::Error),
    /// `request.json` is of a newer frontend.
    #[error("the request has version {0}, but this runner knows versions up to {REQUEST_VERSION}; update the runner")]
    NewerRequest(u64),
    /// `request.json` was made for another directory.
    #[error("the request belongs to another job")]
    ForeignRequest,
    /// No `input.png`.
    #[error("the job has no frame")]
    NoFrame,
    /// `input.png` is not what was promised.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The folder of models cannot be listed.
    #[error("the installed models cannot be listed")]
    Catalogue(#[source] io::Error),
    /// No such model.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The model's weights.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The painting itself.
    #[error(transparent)]
    Paint(#[from] PaintError),
    /// The painting as a PNG.
    #[error("the painting cannot be encoded")]
    Encode(#[source] png::EncodingError),
    /// `output.png` did not fit.
    #[error("the cluster's disk or quota is full")]
    DiskFull(#[source] io::Error),
    /// `output.png` cannot be written.
    #[error("the painting cannot be written")]
    Write(#[source] io::Error),
    /// A bug.
    #[error("the runner broke down; this is a fault in it")]
    Panic {
        /// Where.
        stage: Stage,
        /// What the panic said.
        #[source]
        message: PanicMessage,
    },
    /// SIGTERM or SIGINT: the scheduler's time limit, `scancel`, or a person.
    #[error("the runner was told to stop")]
    Stopped {
        /// Where.
        stage: Stage,
        /// Which signal.
        #[source]
        signal: Signal,
    },
}

/// What a panic said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panic: {0}")]
pub struct PanicMessage(pub String);

/// A signal that ended the painting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signal {0}")]
pub struct Signal(pub i32);

impl JobError {
    /// Tells a full disk from other failures to write.
    pub(super) fn write(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::DiskFull(error),
            _ => Self::Write(error),
        }
    }

    /// The part of the work that failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::NoRequest
            | Self::Request(_)
            | Self::NewerRequest(_)
            | Self::ForeignRequest
            | Self::NoFrame
            | Self::Frame(_) => Stage::Read,
            Self::Catalogue(_) | Self::Find(_) | Self::Load(_) | Self::Paint(PaintError::Folder(_)) => Stage::Load,
            Self::Paint(_) => Stage::Paint,
            Self::Encode(_) | Self::DiskFull(_) | Self::Write(_) => Stage::Write,
            Self::Panic { stage, .. } | Self::Stopped { stage, .. } => *stage,
        }
    }

    /// For `result.json`.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::new(self.stage(), self.to_string(), chain(self))
    }
}
