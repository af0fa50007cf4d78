//! Memory that a thread keeps from one product to the next.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::memory::prefer_large_pages;

/// What every part of the scratch memory begins at a multiple of, in bytes.
const ALIGNMENT: usize = 64;

thread_local! {
    static OWN: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    static SHARED: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    static WHOLE: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// Aligned memory of whatever the last user left in it.
pub(crate) struct Scratch<'a> {
    rest: &'a mut [Line],
}

/// Plain numbers, of which every pattern of bits is one.
///
/// # Safety
/// As it says; and their alignment is at most 64.
pub(crate) unsafe trait Number: Copy + 'static {}

// SAFETY: every pattern of 32 bits is one.
unsafe impl Number for f32 {}
// SAFETY: every pattern of 16 bits is one.
unsafe impl Number for half::bf16 {}
// SAFETY: every pattern of 16 bits is one.
unsafe impl Number for i16 {}

/// How many bytes of scratch memory `count` numbers take.
pub(crate) const fn bytes_of<T: Number>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(ALIGNMENT)
}

impl Scratch<'_> {
    /// Calls `work` with `bytes` of this thread's scratch memory.
    pub(crate) fn with<R>(bytes: usize, work: impl FnOnce(Scratch<'_>) -> R) -> R {
        lend(&OWN, bytes, work)
    }

    /// The same of another, larger memory, for work that other threads take part in, and which calls
    /// [`with`](Scratch::with) itself.
    pub(crate) fn shared<R>(bytes: usize, work: impl FnOnce(Scratch<'_>) -> R) -> R {
        lend(&SHARED, bytes, work)
    }

    /// The same of yet another, for work that has whole products in it.
    pub(crate) fn whole<R>(bytes: usize, work: impl FnOnce(Scratch<'_>) -> R) -> R {
        lend(&WHOLE, bytes, work)
    }
}

/// A second caller before the first is done has memory of its own.
fn lend<R>(memory: &'static LocalKey<Cell<Vec<Line>>>, bytes: usize, work: impl FnOnce(Scratch<'_>) -> R) -> R {
    let lines = bytes.div_ceil(ALIGNMENT);
    let mut kept = memory.take();
    if kept.len() < lines {
        // The old content is not worth moving.
        kept = Vec::with_capacity(lines);
        prefer_large_pages(kept.spare_capacity_mut());
        kept.resize(lines, Line([0; ALIGNMENT]));
    }
    let result = work(Scratch { rest: &mut kept[..lines] });
    memory.set(kept);
    result
}

impl<'a> Scratch<'a> {
    /// Takes memory for `count` numbers off it.
    ///
    /// # Panics
    /// There is not as much left.
    pub(crate) fn take<T: Number>(&mut self, count: usize) -> &'a mut [T] {
        let rest = std::mem::take(&mut self.rest);
        let (taken, rest) = rest.split_at_mut(bytes_of::<T>(count) / ALIGNMENT);
        self.rest = rest;
        // SAFETY: the lines are as long, aligned to 64 bytes, initialised and borrowed mutably for 'a, and every pattern
        // of bits is a `T`.
        unsafe { std::slice::from_raw_parts_mut(taken.as_mut_ptr().cast(), count) }
    }
}
