//! Memory for what flows between the layers on the processor, used again and again: memory that is new to a process has to be
//! cleared page by page, which would take longer than most layers do.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bytemuck::{AnyBitPattern, NoUninit};
use livewebcam_kernels::prefer_large_pages;

/// How many numbers may wait for their next use: 1 GiB of them.
const MOST: usize = 1 << 28;

/// From how many numbers on memory is worth keeping.
const LEAST: usize = 1 << 12;

/// Memory that waits, the longest waiting first.
static WAITING: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// What they begin at a multiple of, in bytes: a line of a cache.
const ALIGNMENT: usize = 64;

/// How many numbers there must be besides, so that some may be left out before the first line.
const SPARE: usize = ALIGNMENT / size_of::<f32>() - 1;

/// Numbers, of 32 bits or fewer, whose memory another buffer may have had before. They begin with a line of a cache, unless
/// they are what a caller had already.
#[derive(Debug)]
pub(super) struct Buffer<T = f32> {
    memory: Vec<f32>,
    /// The first of the memory's numbers that is used.
    first: usize,
    /// How many numbers this has.
    length: usize,
    kind: PhantomData<T>,
}

impl<T> Buffer<T> {
    /// This many numbers, whatever they may be.
    pub(super) fn any(count: usize) -> Self {
        let length = (count * size_of::<T>()).div_ceil(size_of::<f32>());
        let most = length + SPARE;
        let memory = if length < LEAST { None } else { take(most) };
        let memory = memory.unwrap_or_else(|| {
            let memory = vec![0.0; most];
            prefer_large_pages(&memory);
            memory
        });
        let first = memory.as_ptr().align_offset(ALIGNMENT).min(SPARE);
        Self { memory, first, length: count, kind: PhantomData }
    }
}

/// The smallest of the waiting memories that is large enough, and not so large that most of it would lie idle.
fn take(length: usize) -> Option<Vec<f32>> {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |memory: &Vec<f32>| (length..=length.saturating_mul(2)).contains(&memory.len());
    let fitting = waiting.iter().enumerate().filter(|(_, memory)| fits(memory));
    let (index, _) = fitting.min_by_key(|(_, memory)| memory.len())?;
    Some(waiting.remove(index))
}

impl From<Vec<f32>> for Buffer {
    fn from(memory: Vec<f32>) -> Self {
        Self { first: 0, length: memory.len(), memory, kind: PhantomData }
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.len() < LEAST {
            return;
        }
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(memory);
        let mut sum: usize = waiting.iter().map(Vec::len).sum();
        while sum > MOST {
            sum -= waiting.remove(0).len();
        }
    }
}

impl<T: AnyBitPattern + NoUninit> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.memory[self.first..])[..self.length]
    }
}

impl<T: AnyBitPattern + NoUninit> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.memory[self.first..])[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn memory_is_used_again_by_what_needs_about_as_much() {
        // No other test has buffers of this size.
        let length = 1_234_567;
        let first = Buffer::<f32>::any(length);
        let address = first.as_ptr();
        assert_eq!(address.addr() % ALIGNMENT, 0);
        drop(first);
        assert_ne!(Buffer::<f32>::any(length / 3).as_ptr(), address);
        assert_ne!(Buffer::<f32>::any(length + 1).as_ptr(), address);
        let second = Buffer::<bf16>::any(2 * length - 5);
        assert_eq!((second.as_ptr().cast(), second.len()), (address, 2 * length - 5));
    }
}
