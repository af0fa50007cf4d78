//! Reads tensors out of safetensors files, one at a time and by plain reads: memory never holds a file beside the tensors
//! that were made of it, and nothing depends on the file staying as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use serde::Deserialize;

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

/// Why a tensor, or a file of tensors, cannot be used. Files are named as [`Weights::open`] was told to name them.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no whole safetensors file.
    #[error("{file} is not a complete safetensors file: {problem}; download it again")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor that the model needs is in none of the files.
    #[error("{file} lacks the tensor `{name}`")]
    Absent {
        /// The first file of the component.
        file: String,
        /// The tensor's full name.
        name: String,
    },
    /// A tensor that does not fit the model's configuration.
    #[error("{file}: the tensor `{name}` has the shape {found:?}, but its config.json makes it {expected:?}")]
    WrongShape {
        /// The file.
        file: String,
        /// The tensor's full name.
        name: String,
        /// The shape in the file.
        found: Box<[usize]>,
        /// The shape that the configuration asks for.
        expected: Box<[usize]>,
    },
    /// A tensor of a type that is no floating-point type of a network.
    #[error("{file}: the tensor `{name}` is {dtype}; F32, F16 and BF16 can be read")]
    WrongType {
        /// The file.
        file: String,
        /// The tensor's full name.
        name: String,
        /// The type in the file.
        dtype: String,
    },
    /// A tensor with NaN or infinity in it.
    #[error("{file}: the tensor `{name}` holds values that are not finite; the file is damaged")]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor's full name.
        name: String,
    },
    /// The tensor could not be placed on its device.
    #[error("{file}: cannot place the tensor `{name}`")]
    Place {
        /// The file.
        file: String,
        /// The tensor's full name.
        name: String,
        /// What candle said.
        #[source]
        source: Box<candle_core::Error>,
    },
}

/// A view of a component's tensors under a prefix of their names.
#[derive(Clone, Debug)]
pub struct Weights {
    source: Arc<Source>,
    prefix: String,
}

#[derive(Debug)]
struct Source {
    handles: Vec<(String, File)>,
    tensors: HashMap<String, Entry>,
    placement: Placement,
    /// What was asked for, where nothing is read.
    outline: Option<Mutex<Vec<Needed>>>,
}

/// A tensor that a network needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its full name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    handle: usize,
    dtype: String,
    shape: Vec<usize>,
    start: u64,
    length: usize,
}

#[derive(Deserialize)]
struct Header {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// No real header comes near this size.
const LARGEST_HEADER: u64 = 100 << 20;

impl Weights {
    /// Reads the headers of `files`: pairs of a path and the name that errors give it.
    ///
    /// # Errors
    /// A file that cannot be read, that is cut short, or that is no safetensors file.
    pub fn open(files: &[(PathBuf, String)], placement: Placement) -> Result<Self, WeightsError> {
        let mut handles = Vec::new();
        let mut tensors = HashMap::new();
        for (handle, (path, file)) in files.iter().enumerate() {
            let opened = read_header(path, file, handle, &mut tensors)?;
            handles.push((file.clone(), opened));
        }
        let source = Source { handles, tensors, placement, outline: None };
        Ok(Self { source: Arc::new(source), prefix: String::new() })
    }

    /// Weights that stand for no file: every tensor is zero, takes no memory, and is noted for [`Weights::needed`].
    #[must_use]
    pub fn outline() -> Self {
        let placement = Placement { device: Device::Cpu, storage: DType::F32, compute: DType::F32 };
        let outline = Some(Mutex::default());
        let source = Source { handles: Vec::new(), tensors: HashMap::new(), placement, outline };
        Self { source: Arc::new(source), prefix: String::new() }
    }

    /// The tensors that were asked of an [`Weights::outline`], in this order.
    #[must_use]
    pub fn needed(&self) -> Vec<Needed> {
        let noted = |notes: &Mutex<Vec<Needed>>| notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.source.outline.as_ref().map(noted).unwrap_or_default()
    }

    /// The tensors whose names go on with `name`.
    #[must_use]
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { source: Arc::clone(&self.source), prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.source.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    /// Whether any tensor's name goes on with `name` and a dot.
    #[must_use]
    pub fn has_any(&self, name: &str) -> bool {
        let prefix = format!("{}{name}.", self.prefix);
        self.source.tensors.keys().any(|key| key.starts_with(&prefix))
    }

    /// The device, and the types that tensors take there.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.source.placement
    }

    /// A large tensor (a matrix, a kernel) in the storage type.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn large(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor, WeightsError> {
        self.read(name, &shape.into(), self.source.placement.storage)
    }

    /// A small tensor (a bias, a scale) in the type of the computation.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn small(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor, WeightsError> {
        self.read(name, &shape.into(), self.source.placement.compute)
    }

    fn read(&self, name: &str, shape: &Shape, dtype: DType) -> Result<Tensor, WeightsError> {
        let name = format!("{}{name}", self.prefix);
        let source = &*self.source;
        if let Some(outline) = &source.outline {
            let needed = Needed { name: name.clone(), shape: shape.dims().to_vec() };
            outline.lock().unwrap_or_else(PoisonError::into_inner).push(needed);
            let zeros = Tensor::zeros((), dtype, &Device::Cpu).and_then(|zero| zero.broadcast_as(shape));
            let place = |source| WeightsError::Place { file: String::new(), name, source: Box::new(source) };
            return zeros.map_err(place);
        }
        let Some(entry) = source.tensors.get(&name) else {
            let file = source.handles.first().map_or_else(String::new, |(file, _)| file.clone());
            return Err(WeightsError::Absent { file, name });
        };
        let (file, handle) = &source.handles[entry.handle];
        if entry.shape != shape.dims() {
            let (found, expected) = (entry.shape.clone().into(), shape.dims().into());
            return Err(WeightsError::WrongShape { file: file.clone(), name, found, expected });
        }
        let source_dtype = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            _ => return Err(WeightsError::WrongType { file: file.clone(), name, dtype: entry.dtype.clone() }),
        };
        let mut bytes = vec![0; entry.length];
        handle
            .read_exact_at(&mut bytes, entry.start)
            .map_err(|error| WeightsError::Read { file: file.clone(), source: error })?;
        if !all_finite(&bytes, source_dtype) {
            return Err(WeightsError::NotFinite { file: file.clone(), name });
        }
        Tensor::from_raw_buffer(&bytes, source_dtype, shape.dims(), &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(dtype))
            .and_then(|tensor| tensor.to_device(&source.placement.device))
            .map_err(|source| WeightsError::Place { file: file.clone(), name, source: Box::new(source) })
    }
}

fn read_header(
    path: &Path,
    file: &str,
    handle: usize,
    tensors: &mut HashMap<String, Entry>,
) -> Result<File, WeightsError> {
    let read = |source| WeightsError::Read { file: file.to_owned(), source };
    let malformed = |problem: String| WeightsError::Malformed { file: file.to_owned(), problem };
    let opened = File::open(path).map_err(read)?;
    let size = opened.metadata().map_err(read)?.len();
    let mut length = [0; 8];
    if size < 8 {
        return Err(malformed(format!("it has {size} bytes")));
    }
    opened.read_exact_at(&mut length, 0).map_err(read)?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER || length > size - 8 {
        return Err(malformed("its header is cut short or is none".to_owned()));
    }
    let mut header = vec![0; length as usize];
    opened.read_exact_at(&mut header, 8).map_err(read)?;
    let mut header: HashMap<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| malformed(format!("its header is no JSON ({error})")))?;
    header.remove("__metadata__");
    for (name, value) in header {
        let Header { dtype, shape, data_offsets: (start, end) } =
            serde_json::from_value(value).map_err(|error| malformed(format!("the entry `{name}`: {error}")))?;
        if end < start || end > size - 8 - length {
            return Err(malformed(format!("the tensor `{name}` ends behind the end of the file")));
        }
        let width = match dtype.as_str() {
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => 0,
        };
        let elements = shape.iter().try_fold(1_u64, |product, &n| product.checked_mul(n as u64));
        if width > 0 && elements.and_then(|elements| elements.checked_mul(width)) != Some(end - start) {
            return Err(malformed(format!("the tensor `{name}` has not as many bytes as its shape needs")));
        }
        let entry = Entry { handle, dtype, shape, start: 8 + length + start, length: (end - start) as usize };
        tensors.insert(name, entry);
    }
    Ok(opened)
}

/// A value is NaN or infinite exactly where all bits of its exponent are set.
fn all_finite(bytes: &[u8], dtype: DType) -> bool {
    let half = |mask: u16| {
        bytes.as_chunks::<2>().0.iter().fold(true, |all, &raw| all & (u16::from_le_bytes(raw) & mask != mask))
    };
    match dtype {
        DType::F16 => half(0x7c00),
        DType::BF16 => half(0x7f80),
        _ => {
            let mask = 0x7f80_0000_u32;
            bytes.as_chunks::<4>().0.iter().fold(true, |all, &raw| all & (u32::from_le_bytes(raw) & mask != mask))
        }
    }
}
