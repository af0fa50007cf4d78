//! Memory that a thread keeps from one product to the next.

use std::cell::RefCell;

/// What every part of the scratch memory begins at a multiple of, in bytes.
const ALIGNMENT: usize = 64;

thread_local! {
    static MEMORY: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
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

/// How many bytes of scratch memory `count` numbers take.
pub(crate) const fn bytes_of<T: Number>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(ALIGNMENT)
}

impl Scratch<'_> {
    /// Calls `work` with the thread's scratch memory of `bytes`, which is not to be asked for again in there.
    pub(crate) fn with<R>(bytes: usize, work: impl FnOnce(Scratch<'_>) -> R) -> R {
        MEMORY.with_borrow_mut(|memory| {
            let lines = bytes.div_ceil(ALIGNMENT);
            if memory.len() < lines {
                // The old content is not worth moving.
                memory.clear();
                memory.resize(lines, Line([0; ALIGNMENT]));
            }
            work(Scratch { rest: &mut memory[..lines] })
        })
    }
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
