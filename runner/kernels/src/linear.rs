//! The fully connected layer.

use crate::conv::{MapSize, Window};
use crate::gemm::{self, PANEL, Patches, Product};
use crate::{Cpu, Epilogue, Packed, WeightShape};

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

    /// `y = value · gelu(gate)` of `x · Wᵀ + bias`, whose first half of outputs are values and the second half their gates
    /// (Shazeer, "GLU variants improve transformer", 2020). `x` is `[rows, inputs]`, `y` is `[rows, outputs / 2]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn linear_geglu(self, x: &[f32], weight: &Packed, bias: Option<&[f32]>, y: &mut [f32]) {
        let WeightShape { outputs, channels, taps } = weight.shape();
        assert!(outputs.is_multiple_of(2) && taps == 1, "values and gates");
        let (rows, width) = (x.len() / channels, outputs / 2);
        assert_eq!((x.len(), y.len()), (rows * channels, rows * width), "rows of other lengths");
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        if width.is_multiple_of(PANEL) {
            epilogue.check(1, outputs, 2 * y.len());
            let size = MapSize { batch: 1, height: 1, width: rows, channels };
            let patches = Patches::new(x, size, Window::POINT);
            gemm::run(self, Product { patches, weight, epilogue, gated: true, y });
        } else {
            let mut both = vec![0.0; rows * outputs];
            self.linear(x, 1, weight, epilogue, &mut both);
            self.geglu(&both, width, y);
        }
    }
}
