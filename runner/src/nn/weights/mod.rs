//! The weights of a network, by the names that a checkpoint gives its tensors, in the form that the device's layers read.

mod checkpoint;
mod error;
mod table;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
pub use livewebcam_kernels::Format;
use livewebcam_kernels::{Packed, WeightShape};

use self::checkpoint::Checkpoint;
pub use self::error::WeightsError;
pub use self::table::{Rows, Table};

/// Where tensors go and what they are made of there.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The device that computes.
    pub device: Device,
    /// The type in which matrices and kernels are kept.
    pub storage: DType,
    /// The type in which layers compute, and in which small weights (norms, biases) are kept.
    pub compute: DType,
}

impl Placement {
    /// The processor, with large weights in this format.
    #[must_use]
    pub fn cpu(format: Format) -> Self {
        let storage = match format {
            Format::F32 => DType::F32,
            Format::Bf16 => DType::BF16,
        };
        Self { device: Device::Cpu, storage, compute: DType::F32 }
    }

    /// The format in which the kernels of the processor read large weights; `None` for another device.
    fn format(&self) -> Option<Format> {
        let format = if self.storage == DType::BF16 { Format::Bf16 } else { Format::F32 };
        self.device.is_cpu().then_some(format)
    }
}

/// The weights of a product.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// For the kernels of the processor.
    Packed(Packed),
    /// As torch has it, for another device.
    Tensor(Tensor),
}

/// A view of a component's tensors under a prefix of their names.
#[derive(Clone, Debug)]
pub struct Weights {
    source: Arc<Source>,
    prefix: String,
}

#[derive(Debug)]
struct Source {
    kind: Kind,
    placement: Placement,
}

#[derive(Debug)]
enum Kind {
    /// No file at all: what was asked for is noted, and zeros that take no memory stand for it.
    Outline(Mutex<Vec<Needed>>),
    Checkpoint(Checkpoint),
}

/// A tensor that a network needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its full name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Weights {
    /// Reads the headers of `files`: pairs of a path and the name that errors give it.
    ///
    /// # Errors
    /// A file that cannot be read, that is cut short, or that is no safetensors file.
    pub fn open(files: &[(PathBuf, String)], placement: Placement) -> Result<Self, WeightsError> {
        Ok(Self::of(Kind::Checkpoint(Checkpoint::open(files)?), placement))
    }

    /// Weights that stand for no file: every tensor is zero, takes no memory, and is noted for [`Weights::needed`].
    #[must_use]
    pub fn outline() -> Self {
        Self::of(Kind::Outline(Mutex::default()), Placement::cpu(Format::F32))
    }

    fn of(kind: Kind, placement: Placement) -> Self {
        Self { source: Arc::new(Source { kind, placement }), prefix: String::new() }
    }

    /// The tensors that were asked of an [`Weights::outline`], in this order.
    #[must_use]
    pub fn needed(&self) -> Vec<Needed> {
        match &self.source.kind {
            Kind::Outline(needed) => needed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Kind::Checkpoint(_) => Vec::new(),
        }
    }

    /// The tensors whose names go on with `name`.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { source: Arc::clone(&self.source), prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether any tensor's name goes on with `name` and a dot.
    #[must_use]
    pub fn has_any(&self, name: &str) -> bool {
        let prefix = format!("{}{name}.", self.prefix);
        match &self.source.kind {
            Kind::Outline(_) => false,
            Kind::Checkpoint(checkpoint) => checkpoint.names().any(|name| name.starts_with(&prefix)),
        }
    }

    /// The device, and the types that tensors take there.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.source.placement
    }

    /// The weights of a product: `[outputs, inputs, …]`, where what follows is the height and width of a convolution's kernel.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn matrix(&self, name: &str, shape: &[usize]) -> Result<Matrix, WeightsError> {
        let (Kind::Checkpoint(checkpoint), Some(format)) = (&self.source.kind, self.source.placement.format()) else {
            return Ok(Matrix::Tensor(self.tensor(name, shape, self.source.placement.storage)?));
        };
        let packed = WeightShape { outputs: shape[0], channels: shape[1], taps: shape[2..].iter().product() };
        let values = checkpoint.values(&self.full(name), shape)?;
        Ok(Matrix::Packed(Packed::pack(&values, packed, format)))
    }

    /// A table of vectors that are looked up: `[count, width]`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn table(&self, name: &str, count: usize, width: usize) -> Result<Table, WeightsError> {
        let shape = [count, width];
        let (Kind::Checkpoint(checkpoint), Some(format)) = (&self.source.kind, self.source.placement.format()) else {
            return Ok(Table::Tensor(self.tensor(name, &shape, self.source.placement.storage)?));
        };
        Ok(Table::Rows(Rows::of(&checkpoint.values(&self.full(name), &shape)?, width, format)))
    }

    /// A small tensor (a bias, a scale) in the type of the computation.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn small(&self, name: &str, length: usize) -> Result<Tensor, WeightsError> {
        self.tensor(name, &[length], self.source.placement.compute)
    }

    fn tensor(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor, WeightsError> {
        let name = self.full(name);
        let (tensor, file) = match &self.source.kind {
            Kind::Outline(needed) => {
                let note = Needed { name: name.clone(), shape: shape.to_vec() };
                needed.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                let zero = Tensor::zeros((), dtype, &Device::Cpu);
                (zero.and_then(|zero| zero.broadcast_as(shape)), String::new())
            }
            Kind::Checkpoint(checkpoint) => (checkpoint.tensor(&name, shape)?, checkpoint.file_of(&name)),
        };
        tensor
            .and_then(|tensor| tensor.to_dtype(dtype))
            .and_then(|tensor| tensor.to_device(&self.source.placement.device))
            .map_err(|source| WeightsError::Place { file, name, source: Box::new(source) })
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
