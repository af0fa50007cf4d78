//! The inner loop in plain Rust.

use super::{Block, Kernel, PANEL};
use crate::simd::{Portable, Simd};

/// As many rows as have their sums in the baseline's registers.
const ROWS: usize = if cfg!(target_arch = "x86_64") { 2 } else { 6 };

impl Kernel for Portable {
    type Simd = Self;
    type Element = f32;

    const ROWS: usize = ROWS;

    fn simd(self) -> Self {
        self
    }

    unsafe fn multiply(self, block: Block, a: *const f32, b: *const f32, c: *mut f32) {
        let Block { rows, panels, inputs, a_stride, b_stride, c_stride, add } = block;
        let in_row = |row| {
            // SAFETY: the caller's `a` has these rows.
            unsafe { std::slice::from_raw_parts(a.add(row * a_stride), inputs) }
        };
        for panel in 0..panels {
            // SAFETY: the caller's `b` and `c` have these panels, and nothing else refers to `c`.
            let (b, c) = unsafe {
                let b = std::slice::from_raw_parts(b.add(panel * b_stride).cast::<[f32; PANEL]>(), inputs);
                (b, std::slice::from_raw_parts_mut(c.add(panel * c_stride).cast::<[f32; PANEL]>(), rows))
            };
            for (index, c) in c.chunks_mut(ROWS).enumerate() {
                let row = index * ROWS;
                if let Ok(c) = <&mut [_; ROWS]>::try_from(&mut *c) {
                    tile(std::array::from_fn(|r| in_row(row + r)), b, c, add);
                } else {
                    for (r, c) in c.iter_mut().enumerate() {
                        tile([in_row(row + r)], b, std::array::from_mut(c), add);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn tile<const R: usize>(a: [&[f32]; R], b: &[[f32; PANEL]], c: &mut [[f32; PANEL]; R], add: bool) {
    let mut sums = if add { *c } else { [[0.0; PANEL]; R] };
    for (k, b) in b.iter().enumerate() {
        for (sums, a) in sums.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = Portable.mul_add(a[k], *b, *sum);
            }
        }
    }
    *c = sums;
}
