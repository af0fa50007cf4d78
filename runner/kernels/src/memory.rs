//! Hints about memory.

use crate::gemm::PANEL;

/// How many numbers are more than the caches keep until somebody reads them: 24 MiB of them.
const MUCH: usize = 6 << 20;

/// From how many bytes on large pages are asked for.
const LARGE: usize = 4 << 20;

/// Asks the system for large pages, where `memory` is much and has not been used yet: they are cleared and found faster.
pub fn prefer_large_pages<T>(memory: &[T]) {
    let bytes = size_of_val(memory);
    #[cfg(target_os = "linux")]
    if bytes >= LARGE {
        const PAGE: usize = 4096;
        let first = memory.as_ptr().cast::<u8>();
        let skipped = first.align_offset(PAGE);
        // SAFETY: these bytes are borrowed, and what is in them does not change. If the system refuses, they are as they were.
        unsafe { libc::madvise(first.add(skipped).cast_mut().cast(), bytes - skipped, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// Has the processor fetch what will soon be read.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..values.len()).step_by(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it changes nothing but what is in the caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// The same of what will be read later, into the second cache.
#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch_far<T>(values: &[T]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in (0..values.len()).step_by(64 / size_of::<T>()) {
        // SAFETY: it changes nothing but what is in the caches.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().wrapping_add(line).cast()) };
    }
}

/// Whether so much should be written past the caches, with [`stream`]: what a processor writes to its caches it has to read
/// from memory first.
pub(crate) fn is_streamed(values: &[f32]) -> bool {
    cfg!(target_arch = "x86_64") && values.len() > MUCH && values.as_ptr().addr().is_multiple_of(64)
}

/// Writes a line of a cache past it. [`fence`] must follow before another thread is told.
#[inline(always)]
pub(crate) fn stream(values: &[f32; PANEL], to: &mut [f32; PANEL]) {
    #[cfg(target_arch = "x86_64")]
    if to.as_ptr().addr().is_multiple_of(64) {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        for (values, to) in values.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<4>().0) {
            // SAFETY: all of x86-64 has the instructions, and four numbers begin at a multiple of 16 bytes.
            unsafe { _mm_stream_ps(to.as_mut_ptr(), _mm_loadu_ps(values.as_ptr())) };
        }
        return;
    }
    *to = *values;
}

/// Waits until what was streamed is written.
#[inline(always)]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: all of x86-64 has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
