//! The weights of a product, in the order in which kernels read them.
//!
//! The outputs are taken in panels of [`PANEL`]; the last one is filled up with zeros. A panel holds, for each input in
//! turn, one weight for each of its outputs; in `bf16`, where instructions multiply pairs, two inputs' weights for each of
//! its outputs, and the inputs are filled up to a multiple of [`PAIRED`]. A convolution's inputs are its taps in rows, and
//! for each tap its channels.

use std::fmt;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use half::bf16;

use crate::element::Values;
use rayon::prelude::*;

/// How many outputs lie side by side.
pub(crate) const PANEL: usize = 16;

/// The inputs of a `bf16` panel are a multiple of this: what one AMX tile takes.
pub(crate) const PAIRED: usize = 32;

// Packed numbers are little-endian, and kernels read them as they are.
const _: () = assert!(cfg!(target_endian = "little"));

/// Packed weights begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 64;

/// Counts the changes of the order: weights that were packed by another version are no weights for this one.
pub const PACKING: u32 = 1;

/// The number format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// IEEE's 32 bits.
    F32,
    /// Its upper 16 bits.
    Bf16,
}

impl Format {
    /// How many bytes a number has.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// The shape of torch's weight: `[outputs, channels, taps]`, with one tap for a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightShape {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub channels: usize,
    /// The kernel's height times its width.
    pub taps: usize,
}

impl WeightShape {
    /// The length of the products' sums.
    #[must_use]
    pub fn inputs(self) -> usize {
        self.channels * self.taps
    }

    fn padded_inputs(self, format: Format) -> usize {
        match format {
            Format::F32 => self.inputs(),
            Format::Bf16 => self.inputs().next_multiple_of(PAIRED),
        }
    }

    /// How many bytes its packed form has.
    #[must_use]
    pub fn bytes(self, format: Format) -> usize {
        self.outputs.next_multiple_of(PANEL) * self.padded_inputs(format) * format.width()
    }
}

/// A part of memory that somebody keeps: a file's map, or an allocation.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// This part of `owner`'s memory, which must stay where it is and as it is; `None` where it has no such part.
    #[must_use]
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        (*owner).as_ref().get(range.clone())?;
        Some(Self { owner, range })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.range.len())
    }
}

/// Why bytes are no packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// There are not as many as the shape needs.
    Length,
    /// They do not begin at a multiple of 64.
    Alignment,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the packed weights have another length than their shape needs",
            Self::Alignment => "the packed weights are not aligned",
        })
    }
}

impl std::error::Error for PackError {}

/// Weights in the order in which kernels read them.
#[derive(Clone, Debug)]
pub struct Packed {
    shape: WeightShape,
    format: Format,
    bytes: Bytes,
}

impl Packed {
    /// Packs torch's weight, `[outputs, channels, taps]`.
    #[must_use]
    pub fn pack(weight: &[f32], shape: WeightShape, format: Format) -> Self {
        let mut memory = Aligned(vec![[0; ALIGNMENT].into(); shape.bytes(format).div_ceil(ALIGNMENT)]);
        pack_into(weight, shape, format, &mut memory.bytes_mut()[..shape.bytes(format)]);
        let bytes = Bytes { owner: Arc::new(memory), range: 0..shape.bytes(format) };
        Self { shape, format, bytes }
    }

    /// Takes weights that are packed already.
    ///
    /// # Errors
    /// See [`PackError`].
    pub fn from_bytes(bytes: Bytes, shape: WeightShape, format: Format) -> Result<Self, PackError> {
        let slice = bytes.as_slice();
        if slice.len() != shape.bytes(format) {
            return Err(PackError::Length);
        }
        if slice.as_ptr().align_offset(ALIGNMENT) != 0 {
            return Err(PackError::Alignment);
        }
        Ok(Self { shape, format, bytes })
    }

    /// The packed bytes, as [`Packed::from_bytes`] takes them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The weight's shape.
    #[must_use]
    pub fn shape(&self) -> WeightShape {
        self.shape
    }

    /// The number format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The numbers of the packed form.
    pub(crate) fn values(&self) -> Values<'_> {
        let bytes = self.as_bytes();
        // SAFETY: the bytes begin at a multiple of 64, are whole numbers, and every pattern of bits is one.
        unsafe {
            match self.format {
                Format::F32 => Values::F32(slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 4)),
                Format::Bf16 => Values::Bf16(slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 2)),
            }
        }
    }

    /// The same weights as those of a 1×1 convolution, whose outputs are the taps and for each tap this one's outputs.
    pub(crate) fn taps_as_outputs(&self) -> Self {
        let WeightShape { outputs, channels, taps } = self.shape;
        let row = |row: usize| {
            (0..channels).map(move |channel| self.value(row % outputs, row / outputs * channels + channel))
        };
        let weight: Vec<f32> = (0..taps * outputs).flat_map(row).collect();
        Self::pack(&weight, WeightShape { outputs: taps * outputs, channels, taps: 1 }, self.format)
    }

    /// The weight of an input for an output.
    pub(crate) fn value(&self, output: usize, input: usize) -> f32 {
        let (panel, lane) = (output / PANEL * self.panel_length(), output % PANEL);
        match self.values() {
            Values::F32(values) => values[panel + input * PANEL + lane],
            Values::Bf16(values) => values[panel + (input / 2 * PANEL + lane) * 2 + input % 2].to_f32(),
        }
    }

    /// How many of them a panel has.
    pub(crate) fn panel_length(&self) -> usize {
        self.shape.padded_inputs(self.format) * PANEL
    }
}

/// Packs torch's weight `[outputs, channels, taps]` with the current rayon pool into zeroed memory of [`WeightShape::bytes`].
///
/// # Panics
/// A weight or memory of another length.
pub fn pack_into(weight: &[f32], shape: WeightShape, format: Format, packed: &mut [u8]) {
    assert_eq!(weight.len(), shape.outputs * shape.inputs());
    assert_eq!(packed.len(), shape.bytes(format));
    let rows: Vec<&[f32]> = weight.chunks_exact(shape.inputs()).collect();
    let panel = shape.bytes(format) / shape.outputs.div_ceil(PANEL);
    packed.par_chunks_exact_mut(panel).zip(rows.par_chunks(PANEL)).for_each(|(packed, rows)| match format {
        Format::F32 => {
            let packed = packed.as_chunks_mut::<4>().0;
            pack_panel(rows, shape, |k, lane, value| packed[k * PANEL + lane] = value.to_le_bytes());
        }
        Format::Bf16 => {
            let packed = packed.as_chunks_mut::<2>().0;
            pack_panel(rows, shape, |k, lane, value| {
                packed[(k / 2 * PANEL + lane) * 2 + k % 2] = bf16::from_f32(value).to_le_bytes();
            });
        }
    });
}

/// Calls `put` with each weight of some outputs and its place, in an order in which both are near the last one.
#[inline(always)]
fn pack_panel(rows: &[&[f32]], shape: WeightShape, mut put: impl FnMut(usize, usize, f32)) {
    for channel in 0..shape.channels {
        for tap in 0..shape.taps {
            for (lane, row) in rows.iter().enumerate() {
                put(tap * shape.channels + channel, lane, row[channel * shape.taps + tap]);
            }
        }
    }
}

/// Memory that begins at a multiple of [`ALIGNMENT`].
struct Aligned(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

impl From<[u8; ALIGNMENT]> for Line {
    fn from(bytes: [u8; ALIGNMENT]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a `Line` is 64 bytes without padding.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * ALIGNMENT) }
    }
}

impl Aligned {
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: a `Line` is 64 bytes without padding, and every byte pattern is one.
        unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * ALIGNMENT) }
    }
}
