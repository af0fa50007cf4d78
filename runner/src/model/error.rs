//! What can go wrong with a model and with a painting.

use std::error::Error;
use std::fmt;

use livewebcam_jobs::{InvalidBlend, Unloadable};

use super::Interrupted;
use crate::sd::{self, UnknownScheduler};

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The listing says why.
    #[error("model `{model}` cannot paint: {reason}")]
    Broken {
        /// Its full name.
        model: String,
        /// From the listing.
        reason: String,
    },
    /// Its weights are not what its network needs.
    #[error("the weights of model `{model}` cannot be loaded")]
    Weights {
        /// Its full name.
        model: String,
        /// What candle says.
        source: candle_core::Error,
    },
    /// Its folder does not hold what it should.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It cannot be loaded as the operator asks.
    #[error("model `{model}` cannot be loaded as asked: {problem}")]
    Unloadable {
        /// Its full name.
        model: String,
        /// What cannot be met.
        problem: Unloadable,
    },
}

/// What is wrong with a model's folder, in one sentence; the causes beneath it are those of the problem.
#[derive(Debug)]
pub struct FolderError {
    /// The model's full name.
    pub model: String,
    /// What is wrong.
    pub problem: Box<sd::LoadError>,
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model `{}` cannot paint: {}", self.model, self.problem)
    }
}

impl Error for FolderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// Parameters that a model cannot paint with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The style is none of the model's.
    #[error(transparent)]
    Style(#[from] InvalidBlend),
    /// No noise scheduler has this name.
    #[error(transparent)]
    Scheduler(#[from] UnknownScheduler),
}

/// A painting that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    /// The parameters are none of the model's.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The [`Watch`](super::Watch) ended it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The arithmetic failed.
    #[error("the model could not compute the painting")]
    Compute(#[from] candle_core::Error),
    /// A part of the model, which is loaded only where it is needed, cannot be loaded.
    #[error(transparent)]
    Folder(#[from] Box<FolderError>),
    /// Stable Diffusion cannot paint this.
    #[error(transparent)]
    Diffusion(Box<sd::PaintError>),
}

impl PaintError {
    /// Whether the arithmetic failed, for want of memory for instance: what the device holds may be lost. Every other error
    /// leaves a loaded model as it was.
    #[must_use]
    pub fn is_of_computation(&self) -> bool {
        match self {
            Self::Compute(_) => true,
            Self::Diffusion(error) => matches!(**error, sd::PaintError::Compute { .. }),
            Self::Plan(_) | Self::Interrupted(_) | Self::Folder(_) => false,
        }
    }
}

impl From<sd::PaintError> for PaintError {
    fn from(error: sd::PaintError) -> Self {
        match error {
            sd::PaintError::Cancelled => Self::Interrupted(Interrupted),
            error => Self::Diffusion(error.into()),
        }
    }
}
