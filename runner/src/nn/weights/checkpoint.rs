//! Reads tensors out of safetensors files, one at a time and by plain reads: memory never holds a file beside the tensors
//! that were made of it, and nothing depends on the file staying as it is.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use candle_core::{DType, Device, Result as Candle, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::Deserialize;

use super::{Files, WeightsError};

/// The files of one component.
#[derive(Debug)]
pub(super) struct Checkpoint {
    files: Vec<(String, File)>,
    tensors: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
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
pub(super) const LARGEST_HEADER: u64 = 100 << 20;

impl Checkpoint {
    /// Reads the headers of `files`.
    pub(super) fn open(files: &Files) -> Result<Self, WeightsError> {
        let mut checkpoint = Self { files: Vec::new(), tensors: HashMap::new() };
        for (index, (path, file)) in files.iter().enumerate() {
            let opened = read_header(path, file, index, &mut checkpoint.tensors)?;
            checkpoint.files.push((file.clone(), opened));
        }
        Ok(checkpoint)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The file that holds a tensor, or should.
    pub(super) fn file_of(&self, name: &str) -> String {
        let file = self.tensors.get(name).map_or(0, |entry| entry.file);
        self.files.get(file).map_or_else(String::new, |(file, _)| file.clone())
    }

    /// A tensor on the CPU, in the file's own type.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Candle<Tensor>, WeightsError> {
        let (bytes, dtype) = self.read(name, shape)?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, shape, &Device::Cpu))
    }

    /// A tensor's numbers.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let (bytes, dtype) = self.read(name, shape)?;
        Ok(match dtype {
            DType::BF16 => bytes.as_chunks::<2>().0.iter().map(|&raw| bf16::from_le_bytes(raw).to_f32()).collect(),
            DType::F16 => {
                let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|&raw| f16::from_le_bytes(raw)).collect();
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            _ => bytes.as_chunks::<4>().0.iter().map(|&raw| f32::from_le_bytes(raw)).collect(),
        })
    }

    /// Whether there is such a tensor of this shape, in a type that can be read; reads none of it.
    pub(super) fn check(&self, name: &str, shape: &[usize]) -> Result<(), WeightsError> {
        self.find(name, shape).map(drop)
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<(&Entry, DType), WeightsError> {
        let (file, name) = (|| self.file_of(name), || name.to_owned());
        let Some(entry) = self.tensors.get(&name()) else {
            return Err(WeightsError::Absent { file: file(), name: name() });
        };
        if entry.shape != shape {
            let (found, expected) = (entry.shape.clone().into(), shape.into());
            return Err(WeightsError::WrongShape { file: file(), name: name(), found, expected });
        }
        match entry.dtype.as_str() {
            "F32" => Ok((entry, DType::F32)),
            "F16" => Ok((entry, DType::F16)),
            "BF16" => Ok((entry, DType::BF16)),
            _ => Err(WeightsError::WrongType { file: file(), name: name(), dtype: entry.dtype.clone() }),
        }
    }

    /// A tensor's bytes and their type: F16, BF16 or F32, all finite.
    fn read(&self, name: &str, shape: &[usize]) -> Result<(Vec<u8>, DType), WeightsError> {
        let (entry, dtype) = self.find(name, shape)?;
        let (file, opened) = &self.files[entry.file];
        let mut bytes = vec![0; entry.length];
        let read = opened.read_exact_at(&mut bytes, entry.start);
        read.map_err(|source| WeightsError::Read { file: file.clone(), source })?;
        if !all_finite(&bytes, dtype) {
            return Err(WeightsError::NotFinite { file: file.clone(), name: name.to_owned() });
        }
        Ok((bytes, dtype))
    }
}

fn read_header(
    path: &Path,
    file: &str,
    index: usize,
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
        let entry = Entry { file: index, dtype, shape, start: 8 + length + start, length: (end - start) as usize };
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
