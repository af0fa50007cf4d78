//! Tables of vectors.

use std::sync::Arc;

use candle_core::Tensor;
use half::bf16;
use livewebcam_kernels::{Bytes, Format};

/// Vectors that are looked up.
#[derive(Clone, Debug)]
pub enum Table {
    /// In the processor's memory, from which only those are read that are asked for.
    Rows(Rows),
    /// `[count, width]` on another device.
    Tensor(Tensor),
}

/// Vectors behind each other.
#[derive(Clone, Debug)]
pub struct Rows {
    bytes: Bytes,
    width: usize,
    format: Format,
}

impl Rows {
    /// Those of `values`, `[count, width]`.
    pub(super) fn of(values: &[f32], width: usize, format: Format) -> Self {
        let bytes = Self::to_bytes(values, format);
        let range = 0..bytes.len();
        let bytes = Bytes::new(Arc::new(bytes), range).expect("the whole of a list is a part of it");
        Self { bytes, width, format }
    }

    /// Those that were made by [`Rows::to_bytes`].
    pub(super) fn from_bytes(bytes: Bytes, width: usize, format: Format) -> Self {
        Self { bytes, width, format }
    }

    /// `values` as [`Rows`] keep them.
    pub(super) fn to_bytes(values: &[f32], format: Format) -> Vec<u8> {
        match format {
            Format::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Format::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
        }
    }

    /// How many vectors there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.as_slice().len() / self.row_bytes()
    }

    /// How many numbers a vector has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes one of the vectors into `y`.
    ///
    /// # Panics
    /// There is no such vector.
    pub fn read(&self, index: usize, y: &mut [f32]) {
        let row = &self.bytes.as_slice()[index * self.row_bytes()..][..self.row_bytes()];
        match self.format {
            Format::F32 => {
                y.iter_mut().zip(row.as_chunks::<4>().0).for_each(|(y, &raw)| *y = f32::from_le_bytes(raw));
            }
            Format::Bf16 => {
                y.iter_mut().zip(row.as_chunks::<2>().0).for_each(|(y, &raw)| *y = bf16::from_le_bytes(raw).to_f32());
            }
        }
    }

    fn row_bytes(&self) -> usize {
        self.width * self.format.width()
    }
}
