//! What can go wrong with a model and with a painting.

use std::error::Error;
use std::fmt;
use std::io;

use livewebcam_jobs::{DeviceChoice, Unloadable};

use crate::nn::weights::WeightsError;

/// Why a folder cannot be loaded as a model. Files are named from the model's folder on, so a visitor may read the text.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that the model needs is not there.
    #[error("{file} is missing; download the model again")]
    Missing {
        /// The file.
        file: String,
    },
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is no JSON.
    #[error("{file} is not valid JSON")]
    Json {
        /// The file.
        file: String,
        /// Where it stops being JSON.
        #[source]
        source: serde_json::Error,
    },
    /// A configuration holds something that is not supported, or not a configuration at all.
    #[error("{file}: `{key}` {problem}")]
    Config {
        /// The file.
        file: String,
        /// The key in it.
        key: String,
        /// What is wrong with its value, and what would be right.
        problem: String,
    },
    /// There are weights, but only pickled ones, which run code when they are read.
    #[error(
        "{component} has its weights only as {file}; convert the model on a machine with Python: python -c \"from diffusers \
         import DiffusionPipeline as P; P.from_pretrained('FOLDER').save_pretrained('FOLDER-safetensors')\""
    )]
    PickleOnly {
        /// The component's folder.
        component: String,
        /// The pickled file.
        file: String,
    },
    /// A tokenizer's file is damaged.
    #[error("{file}: {problem}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor is absent, damaged or of the wrong shape.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// It cannot be loaded as the operator asks.
    #[error(transparent)]
    Unloadable(#[from] Unloadable),
    /// The device that was asked for cannot be used.
    #[error(
        "the device `{device}` cannot be used on the machine that paints; ask Slurm for one (slurm.gres), or choose `cpu`"
    )]
    Device {
        /// The device.
        device: DeviceChoice,
        /// What candle said.
        #[source]
        source: Box<candle_core::Error>,
    },
    /// The GPU computes nothing, or nothing right, in the number format that was asked for.
    #[error(
        "the GPU cannot compute in {precision}; choose another dtype (bf16 needs an Ampere GPU or a later one), or build the \
         runner for this GPU: CUDA_COMPUTE_CAP=80 for an A100, 90 for an H100"
    )]
    Incapable {
        /// The number format.
        precision: &'static str,
        /// What candle said.
        #[source]
        source: Box<candle_core::Error>,
    },
}

/// Why there is no painting.
#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    /// The frame has a size that the model cannot take.
    #[error(
        "the frame is {width}×{height}, but this model paints only sizes that are multiples of {multiple}; crop it to {}×{}",
        nearest(*width, *multiple),
        nearest(*height, *multiple)
    )]
    Size {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// What both must be a multiple of.
        multiple: u32,
    },
    /// A parameter that the model cannot use.
    #[error("{field}: {problem}")]
    Parameter {
        /// The parameter.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The noise scheduler does not go with the model's configuration.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The caller wanted no more.
    #[error("cancelled")]
    Cancelled,
    /// The networks ran out of numbers.
    #[error(
        "{stage} gave values that are not finite (NaN); the model's weights or its scheduler's settings are broken"
    )]
    NotFinite {
        /// What gave them.
        stage: &'static str,
    },
    /// A text encoder or its tokenizer, which are loaded for a prompt that is new, cannot be loaded.
    #[error(transparent)]
    TextEncoder(Box<LoadError>),
    /// The prompt could not be turned into tokens.
    #[error("cannot turn the prompt into tokens: {0}")]
    Tokenize(String),
    /// The computation failed, for want of memory on the device for instance.
    #[error("{stage} failed")]
    Compute {
        /// What failed.
        stage: &'static str,
        /// What candle said.
        #[source]
        source: candle_core::Error,
    },
}

impl From<LoadError> for PaintError {
    fn from(problem: LoadError) -> Self {
        Self::TextEncoder(problem.into())
    }
}

/// The next multiple below, or the smallest.
fn nearest(length: u32, multiple: u32) -> u32 {
    (length / multiple).max(1) * multiple
}

/// A noise scheduler that cannot be set up from the model's configuration, in one sentence; the causes beneath it are those
/// of the problem.
#[derive(Debug)]
pub struct SchedulerError {
    /// The name by which a request chooses it.
    pub scheduler: String,
    /// What is wrong.
    pub problem: Box<LoadError>,
}

impl fmt::Display for SchedulerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheduler, problem } = self;
        write!(f, "this model cannot be painted with the noise scheduler `{scheduler}`; choose another one ({problem})")
    }
}

impl Error for SchedulerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}
