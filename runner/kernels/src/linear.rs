//! The fully connected layer.

use crate::conv::{MapSize, Window};
use crate::{Cpu, Epilogue, Packed};

impl Cpu {
    /// `y = x · Wᵀ` and the epilogue. `x` is `[batch, rows, inputs]`, `y` is `[batch, rows, outputs]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn linear(self, x: &[f32], batch: usize, weight: &Packed, epilogue: Epilogue<'_>, y: &mut [f32]) {
        let channels = weight.shape().channels;
        assert_eq!(x.len() % (batch * channels), 0, "the input is not whole rows");
        let size = MapSize { batch, height: 1, width: x.len() / (batch * channels), channels };
        self.conv2d(x, size, Window::POINT, weight, epilogue, y);
    }
}
