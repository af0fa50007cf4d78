//! The weights of a network, by the names that a checkpoint gives its tensors, in the form that the device's layers read.

mod checkpoint;
mod error;
mod packed_file;
mod packer;
mod shelf;
mod source;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
pub use livewebcam_kernels::Format;
use livewebcam_kernels::{Packed, WeightShape};
use serde::{Deserialize, Serialize};

use self::checkpoint::Checkpoint;
pub use self::error::WeightsError;
use self::packed_file::PackedFile;
pub use self::shelf::{Files, Shelf, load, verify};
pub use self::source::{identity, stamp};
pub use self::table::{Rows, Table};

/// Where weights go, and what they are made of there.
#[derive(Clone, Debug)]
pub enum Placement {
    /// To the processor's kernels; matrices in this format, all else in `f32`.
    Kernels(Format),
    /// To candle's layers.
    Candle {
        /// The device that computes.
        device: Device,
        /// The type in which matrices are kept.
        storage: DType,
        /// The type in which layers compute, and in which small weights (norms, biases) are kept.
        compute: DType,
    },
}

/// The weights of a product.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// For the kernels of the processor.
    Packed(Packed),
    /// As torch has it, for another device.
    Tensor(Tensor),
}

/// A bias or a scale.
#[derive(Clone, Debug)]
pub enum Vector {
    /// For the kernels of the processor.
    Host(Arc<[f32]>),
    /// For another device.
    Candle(Tensor),
}

impl Vector {
    /// What the kernels read.
    pub(super) fn host(&self) -> candle_core::Result<&[f32]> {
        match self {
            Self::Host(values) => Ok(values),
            Self::Candle(_) => candle_core::bail!("weights of another device among the processor's"),
        }
    }

    /// What candle reads.
    pub(super) fn candle(&self) -> candle_core::Result<&Tensor> {
        match self {
            Self::Host(_) => candle_core::bail!("weights of the processor among another device's"),
            Self::Candle(tensor) => Ok(tensor),
        }
    }
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
    /// Nothing is read: what was asked for is noted, and zeros that take no memory stand for it.
    Outline {
        needed: Mutex<Vec<Needed>>,
        /// Where it would be read from.
        like: Option<Checkpoint>,
    },
    Checkpoint(Checkpoint),
    Packed(PackedFile),
}

impl Kind {
    fn outline_of(checkpoint: Checkpoint) -> Self {
        Self::Outline { needed: Mutex::default(), like: Some(checkpoint) }
    }
}

/// A tensor that a network needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// Its full name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is needed for.
    pub form: Form,
}

/// What a tensor is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The weights of a product.
    Matrix,
    /// Vectors that are looked up.
    Table,
    /// A bias, a scale.
    Vector,
}

impl Needed {
    /// The shape of a product's weights, as the kernels name it.
    pub(super) fn weight_shape(shape: &[usize]) -> Option<WeightShape> {
        let [outputs, channels, taps @ ..] = shape else { return None };
        Some(WeightShape { outputs: *outputs, channels: *channels, taps: taps.iter().product() })
    }
}

impl Weights {
    /// Reads the headers of `files`.
    ///
    /// # Errors
    /// A file that cannot be read, that is cut short, or that is no safetensors file.
    pub fn open(files: &Files, placement: Placement) -> Result<Self, WeightsError> {
        Ok(Self::of(Kind::Checkpoint(Checkpoint::open(files)?), placement))
    }

    /// Weights that stand for no file: every tensor is zero, takes no memory, and is noted for [`Weights::needed`].
    #[must_use]
    pub fn outline() -> Self {
        Self::of(Kind::Outline { needed: Mutex::default(), like: None }, Placement::Kernels(Format::F32))
    }

    fn of(kind: Kind, placement: Placement) -> Self {
        Self { source: Arc::new(Source { kind, placement }), prefix: String::new() }
    }

    /// The tensors that were asked of an [`Weights::outline`], in this order.
    #[must_use]
    pub fn needed(&self) -> Vec<Needed> {
        match &self.source.kind {
            Kind::Outline { needed, .. } => needed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Kind::Checkpoint(_) | Kind::Packed(_) => Vec::new(),
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
            Kind::Outline { like: None, .. } => false,
            Kind::Outline { like: Some(checkpoint), .. } | Kind::Checkpoint(checkpoint) => {
                checkpoint.names().any(|name| name.starts_with(&prefix))
            }
            Kind::Packed(packed) => packed.names().any(|name| name.starts_with(&prefix)),
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
        let needed = self.needs(name, shape, Form::Matrix);
        match (&self.source.kind, self.placement(), Needed::weight_shape(shape)) {
            (Kind::Packed(packed), ..) => packed.matrix(&needed).map(Matrix::Packed).ok_or_else(|| absent(needed.name)),
            (Kind::Checkpoint(checkpoint), &Placement::Kernels(format), Some(packed)) => {
                Ok(Matrix::Packed(Packed::pack(&checkpoint.values(&needed.name, shape)?, packed, format)))
            }
            _ => self.tensor(needed, self.storage()).map(Matrix::Tensor),
        }
    }

    /// A table of vectors that are looked up: `[count, width]`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn table(&self, name: &str, count: usize, width: usize) -> Result<Table, WeightsError> {
        let needed = self.needs(name, &[count, width], Form::Table);
        match (&self.source.kind, self.placement()) {
            (Kind::Packed(packed), _) => packed.table(&needed).map(Table::Rows).ok_or_else(|| absent(needed.name)),
            (Kind::Checkpoint(checkpoint), &Placement::Kernels(format)) => {
                Ok(Table::Rows(Rows::of(&checkpoint.values(&needed.name, &needed.shape)?, width, format)))
            }
            _ => self.tensor(needed, self.storage()).map(Table::Tensor),
        }
    }

    /// A bias or a scale.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn vector(&self, name: &str, length: usize) -> Result<Vector, WeightsError> {
        let needed = self.needs(name, &[length], Form::Vector);
        let host = |values: Vec<f32>| Vector::Host(values.into());
        match (&self.source.kind, self.placement()) {
            (Kind::Packed(packed), _) => packed.vector(&needed).map(host).ok_or_else(|| absent(needed.name)),
            (Kind::Checkpoint(checkpoint), Placement::Kernels(_)) => {
                checkpoint.values(&needed.name, &needed.shape).map(host)
            }
            (_, Placement::Candle { compute, .. }) => self.tensor(needed, *compute).map(Vector::Candle),
            (Kind::Outline { .. }, Placement::Kernels(_)) => self.tensor(needed, DType::F32).map(Vector::Candle),
        }
    }

    /// The type of candle's matrices; that of an outline's does not matter.
    fn storage(&self) -> DType {
        match self.placement() {
            Placement::Kernels(_) => DType::F32,
            Placement::Candle { storage, .. } => *storage,
        }
    }

    /// A tensor for candle.
    fn tensor(&self, needed: Needed, dtype: DType) -> Result<Tensor, WeightsError> {
        let Needed { name, shape, .. } = &needed;
        let (tensor, file) = match &self.source.kind {
            Kind::Outline { needed: notes, like } => {
                if let Some(checkpoint) = like {
                    checkpoint.check(name, shape)?;
                }
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(needed.clone());
                let zero = Tensor::zeros((), dtype, &Device::Cpu);
                (zero.and_then(|zero| zero.broadcast_as(shape.as_slice())), String::new())
            }
            Kind::Checkpoint(checkpoint) => (checkpoint.tensor(name, shape)?, checkpoint.file_of(name)),
            Kind::Packed(_) => return Err(absent(needed.name)),
        };
        let device = match self.placement() {
            Placement::Kernels(_) => &Device::Cpu,
            Placement::Candle { device, .. } => device,
        };
        tensor
            .and_then(|tensor| tensor.to_dtype(dtype))
            .and_then(|tensor| tensor.to_device(device))
            .map_err(|source| WeightsError::Place { file, name: needed.name, source: Box::new(source) })
    }

    fn needs(&self, name: &str, shape: &[usize], form: Form) -> Needed {
        Needed { name: format!("{}{name}", self.prefix), shape: shape.to_vec(), form }
    }
}

/// A packed file lacks what a network needs that it was not made for.
fn absent(name: String) -> WeightsError {
    WeightsError::Absent { file: "the packed file".to_owned(), name }
}
