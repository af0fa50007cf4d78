//! A component's weights in the order in which kernels read them, in one file that is mapped and not read: a model is there
//! at once, and all processes of a node share its pages.
//!
//! The file is `MAGIC`, the length of the index, the place of the tensors, the index's SHA-256, the index as JSON, and then the
//! tensors. It is made once, appears by a rename, and is never written to again; it holds for the sources that its index
//! names and as long as they stay as they are. Damage to the tensors themselves is found by [`PackedFile::verify`] alone:
//! to read all of them would take longer than to paint.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use livewebcam_kernels::{ALIGNMENT, Bytes, Format, PACKING, Packed};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::source::SourceFile;
use super::{Form, Needed, Rows};

const MAGIC: &[u8; 8] = b"LWCpack\n";

/// What the index is preceded by: magic, length, place, SHA-256.
const PREAMBLE: usize = 8 + 8 + 8 + 32;

/// The version of the file's own layout.
const VERSION: u32 = 1;

/// No real index comes near this size.
const LARGEST_INDEX: u64 = 64 << 20;

/// Why a packed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// There is none.
    #[error("there is none")]
    Absent,
    /// It was made of other files, or by another version of this program.
    #[error("it is out of date")]
    Stale,
    /// It is not what was written.
    #[error("it is damaged ({0})")]
    Damaged(&'static str),
    /// It cannot be read.
    #[error("it cannot be read ({0})")]
    Read(#[from] io::Error),
}

/// What a packed file says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    packing: u32,
    format: Name,
    /// What it was made of.
    pub(super) sources: Vec<SourceFile>,
    /// SHA-256 of the content of each of them.
    pub(super) contents: Vec<String>,
    pub(super) tensors: Vec<Stored>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    F32,
    Bf16,
}

impl From<Format> for Name {
    fn from(format: Format) -> Self {
        match format {
            Format::F32 => Self::F32,
            Format::Bf16 => Self::Bf16,
        }
    }
}

/// A tensor in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(flatten)]
    pub(super) needed: Needed,
    /// From the first tensor's place on.
    pub(super) offset: u64,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
}

impl Stored {
    fn range(&self, format: Format) -> Option<Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        Some(start..start.checked_add(self.needed.bytes(format)?)?)
    }
}

impl Needed {
    /// How many bytes its packed form has; `None` for a shape that nothing has.
    fn bytes(&self, format: Format) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))?.checked_mul(16)?;
        let elements: usize = self.shape.iter().product();
        Some(match self.form {
            Form::Matrix => Self::weight_shape(&self.shape)?.bytes(format),
            Form::Table => elements * format.width(),
            Form::Vector => elements * Format::F32.width(),
        })
    }
}

impl Index {
    /// For these tensors, one behind the other; their checksums and the hashes of the sources are to be filled in.
    pub(super) fn new(sources: Vec<SourceFile>, needed: Vec<Needed>, format: Format) -> Self {
        let mut offset = 0;
        let tensors = needed.into_iter().map(|needed| {
            let start = offset;
            offset += needed.bytes(format).unwrap_or(0).next_multiple_of(ALIGNMENT) as u64;
            Stored { needed, offset: start, crc: 0 }
        });
        let (contents, tensors) = (Vec::new(), tensors.collect());
        Self { version: VERSION, packing: PACKING, format: format.into(), sources, contents, tensors }
    }

    /// How many bytes the tensors take.
    pub(super) fn length(&self, format: Format) -> u64 {
        let end = |tensor: &Stored| tensor.range(format).map_or(0, |range| range.end as u64);
        self.tensors.iter().map(end).max().unwrap_or(0)
    }

    /// What stands before the tensors, which begin at `start`.
    pub(super) fn to_bytes(&self, start: u64) -> Vec<u8> {
        let index = serde_json::to_vec(self).expect("an index is JSON");
        let mut bytes = Vec::with_capacity(PREAMBLE + index.len());
        bytes.extend(MAGIC);
        bytes.extend((index.len() as u64).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend(Sha256::digest(&index));
        bytes.extend(index);
        bytes
    }

    /// The index at the beginning of a file, and where the tensors begin.
    fn read(file: &File) -> Result<(Self, u64), Unusable> {
        let mut preamble = [0; PREAMBLE];
        file.read_exact_at(&mut preamble, 0).map_err(cut_short)?;
        let (magic, rest) = preamble.split_at(MAGIC.len());
        let (numbers, hash) = rest.split_at(16);
        let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("eight bytes"));
        let (length, start) = (number(0), number(8));
        if magic != MAGIC || length > LARGEST_INDEX || start < PREAMBLE as u64 + length {
            return Err(Unusable::Damaged("it does not begin as it should"));
        }
        let mut index = vec![0; length as usize];
        file.read_exact_at(&mut index, PREAMBLE as u64).map_err(cut_short)?;
        if Sha256::digest(&index)[..] != *hash {
            return Err(Unusable::Damaged("its index is not what was written"));
        }
        // Whole, but of a version that has something else in it.
        let parsed = serde_json::from_slice(&index).map_err(|_| Unusable::Stale)?;
        Ok((parsed, start))
    }
}

fn cut_short(error: io::Error) -> Unusable {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Unusable::Damaged("it is cut short"),
        _ => Unusable::Read(error),
    }
}

/// A mapped file of packed weights.
#[derive(Debug)]
pub(super) struct PackedFile {
    tensors: HashMap<String, (Needed, Bytes, u32)>,
    contents: Vec<String>,
    format: Format,
}

impl PackedFile {
    /// Maps the file at `path` if it was made of `sources`, in this format, by this version.
    pub(super) fn open(path: &Path, sources: &[SourceFile], format: Format) -> Result<Self, Unusable> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Absent,
            _ => Unusable::Read(error),
        })?;
        let (index, start) = Index::read(&file)?;
        let same = (index.version, index.packing, index.format) == (VERSION, PACKING, format.into());
        if !same || index.sources != sources {
            return Err(Unusable::Stale);
        }
        if Some(file.metadata()?.len()) != start.checked_add(index.length(format)) {
            return Err(Unusable::Damaged("it has another length than its index says"));
        }
        // SAFETY: nobody writes to a file of this name or cuts it short: it is complete before it gets the name, and is only
        // ever replaced as a whole, by a rename, which leaves the old content to those who have mapped it.
        #[expect(unsafe_code, reason = "mapping a file trusts whoever else can write to it")]
        let map: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(unsafe { Mmap::map(&file)? });
        let mut tensors = HashMap::with_capacity(index.tensors.len());
        for stored in index.tensors {
            let range = stored.range(format).and_then(|range| {
                let start = usize::try_from(start).ok()?;
                Some(start.checked_add(range.start)?..start.checked_add(range.end)?)
            });
            let bytes = range.and_then(|range| Bytes::new(Arc::clone(&map), range));
            let bytes = bytes.ok_or(Unusable::Damaged("a tensor lies outside of it"))?;
            tensors.insert(stored.needed.name.clone(), (stored.needed, bytes, stored.crc));
        }
        Ok(Self { tensors, contents: index.contents, format })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// `None` where there is no such tensor.
    pub(super) fn matrix(&self, needed: &Needed) -> Option<Packed> {
        Packed::from_bytes(self.bytes(needed)?.clone(), Needed::weight_shape(&needed.shape)?, self.format).ok()
    }

    /// `None` where there is no such tensor.
    pub(super) fn table(&self, needed: &Needed) -> Option<Rows> {
        Some(Rows::from_bytes(self.bytes(needed)?.clone(), *needed.shape.last()?, self.format))
    }

    /// `None` where there is no such tensor.
    pub(super) fn vector(&self, needed: &Needed) -> Option<Vec<f32>> {
        let numbers = self.bytes(needed)?.as_slice().as_chunks::<4>().0;
        Some(numbers.iter().map(|&raw| f32::from_le_bytes(raw)).collect())
    }

    fn bytes(&self, needed: &Needed) -> Option<&Bytes> {
        self.tensors.get(&needed.name).filter(|(stored, ..)| stored == needed).map(|(_, bytes, _)| bytes)
    }

    /// The first tensor, by name, whose bytes are not those that were written.
    pub(super) fn verify(&self) -> Option<&str> {
        let damaged =
            |&(_, (_, bytes, crc)): &(&String, &(Needed, Bytes, u32))| crc32fast::hash(bytes.as_slice()) != *crc;
        self.tensors.iter().filter(damaged).map(|(name, _)| name.as_str()).min()
    }

    /// SHA-256 of the content of each source, when the file was made.
    pub(super) fn contents(&self) -> &[String] {
        &self.contents
    }
}
