//! Embedded prompts, kept for the next painting with the same words: then no text encoder is loaded.
//!
//! A file's name is a hash of all that the embedding depends on, its content are numbers: no words are kept. The oldest files
//! go when there are too many.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use candle_core::Result;
use livewebcam_jobs::local;

use super::conditioning::Prompt;
use crate::nn::tokens::{Shape, Tokens};
use crate::nn::weights::{Placement, Shelf};

/// How many are kept: 80 MB of them for SD-Turbo.
const MOST: usize = 256;

const MAGIC: &[u8; 8] = b"LWCtext\n";

/// What stands before the numbers: magic, lost tokens, tokens, width, pooled width.
const PREAMBLE: usize = 8 + 4 * 4;

/// A prompt as its text encoders embed it.
#[derive(Clone)]
pub(super) struct Embedded {
    pub(super) prompt: Prompt,
    /// How many tokens did not fit.
    pub(super) lost: usize,
}

/// What is kept under `key` in the first of the shelf's folders that has it. What is damaged is as good as not there.
pub(super) fn find(shelf: &Shelf, key: &str, placement: &Placement) -> Option<Embedded> {
    let read = |folder: &PathBuf| local::read(&folder.join(key)).ok().flatten();
    let contents = shelf.folders.iter().filter_map(read);
    contents.filter_map(|content| parse(&content, placement)).next()
}

/// Keeps what was found out, in the first of the shelf's folders that can be written to. Says so where none can.
pub(super) fn keep(shelf: &Shelf, key: &str, embedded: &Embedded) -> Result<()> {
    let content = to_bytes(embedded)?;
    let mut problems = Vec::new();
    for folder in &shelf.folders {
        match write(folder, key, &content) {
            Ok(()) => return Ok(()),
            Err(error) => problems.push(format!("{}: {error}", folder.display())),
        }
    }
    shelf.log.line(format_args!("the embedded prompt cannot be kept: {}", problems.join("; ")));
    Ok(())
}

fn write(folder: &Path, key: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    local::replace(&folder.join(key), content)?;
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Gone meanwhile is as good.
        if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            files.push((modified, entry.path()));
        }
    }
    files.sort_unstable();
    for (_, oldest) in &files[..files.len().saturating_sub(MOST)] {
        let _ = fs::remove_file(oldest);
    }
    Ok(())
}

fn to_bytes(Embedded { prompt: Prompt { text, pooled }, lost }: &Embedded) -> Result<Vec<u8>> {
    let Shape { rows, width, .. } = text.shape();
    let mut bytes = MAGIC.to_vec();
    for count in [*lost, rows, width, pooled.shape().width] {
        bytes.extend((count as u32).to_le_bytes());
    }
    bytes.extend([text.values()?, pooled.values()?].concat().into_iter().flat_map(f32::to_le_bytes));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

fn parse(content: &[u8], placement: &Placement) -> Option<Embedded> {
    let (content, crc) = content.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) || !content.starts_with(MAGIC) {
        return None;
    }
    let (preamble, numbers) = content.split_at_checked(PREAMBLE)?;
    let counts: Vec<usize> =
        preamble[MAGIC.len()..].as_chunks::<4>().0.iter().map(|&raw| u32::from_le_bytes(raw) as usize).collect();
    let &[lost, rows, width, pooled] = counts.as_slice() else { return None };
    let numbers: Vec<f32> = numbers.as_chunks::<4>().0.iter().map(|&raw| f32::from_le_bytes(raw)).collect();
    let (text, rest) = numbers.split_at_checked(rows.checked_mul(width)?)?;
    let text = Tokens::new(text.to_vec(), Shape { batch: 1, rows, width }, placement).ok()?;
    let pooled = Tokens::new(rest.to_vec(), Shape { batch: 1, rows: 1, width: pooled }, placement).ok()?;
    Some(Embedded { prompt: Prompt { text, pooled }, lost })
}
