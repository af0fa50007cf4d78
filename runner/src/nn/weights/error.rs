//! What can be wrong with weights.

use std::io;

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
