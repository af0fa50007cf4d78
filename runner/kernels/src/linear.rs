//! The fully connected layer.

use crate::conv::{MapSize, Window};
use crate::element::{Element, Values, ValuesMut};
use crate::gemm::{self, PANEL, Patches, Product};
use crate::{Cpu, Epilogue, Format, Packed, WeightShape, math};

impl Cpu {
    /// What products with weights of `format` make of their other operand: they round it to `bf16`, or leave it as it is. What
    /// is only multiplied may be kept as that.
    #[must_use]
    pub fn operand(self, format: Format) -> Format {
        if self.isa().rounds() { format } else { Format::F32 }
    }

    /// `y = x · Wᵀ` and the epilogue. `x` is `[batch, rows, inputs]`, `y` is `[batch, rows, outputs]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn linear<'a>(
        self,
        x: impl Into<Values<'a>>,
        batch: usize,
        weight: &Packed,
        epilogue: Epilogue<'_>,
        y: impl Into<ValuesMut<'a>>,
    ) {
        let (x, y) = (x.into(), y.into());
        let channels = weight.shape().channels;
        assert_eq!(x.len() % (batch * channels), 0, "the input is not whole rows");
        let size = MapSize { batch, height: 1, width: x.len() / (batch * channels), channels };
        match (x, y) {
            // Which may have a faster way, where there are few channels.
            (Values::F32(x), ValuesMut::F32(y)) => self.conv2d(x, size, Window::POINT, weight, epilogue, y),
            (Values::F32(x), ValuesMut::Bf16(y)) => self.rows(x, size, weight, epilogue, y),
            (Values::Bf16(x), ValuesMut::F32(y)) => self.rows(x, size, weight, epilogue, y),
            (Values::Bf16(x), ValuesMut::Bf16(y)) => self.rows(x, size, weight, epilogue, y),
        }
    }

    fn rows<X: Element, Y: Element>(
        self,
        x: &[X],
        size: MapSize,
        weight: &Packed,
        epilogue: Epilogue<'_>,
        y: &mut [Y],
    ) {
        gemm::run_rows(self, Product::new(x, size, Window::POINT, weight, epilogue, y));
    }

    /// `y = value · gelu(gate)` of `x · Wᵀ + bias`, whose first half of outputs are values and the second half their gates
    /// (Shazeer, "GLU variants improve transformer", 2020). `x` is `[rows, inputs]`, `y` is `[rows, outputs / 2]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn linear_geglu<'a>(
        self,
        x: impl Into<Values<'a>>,
        weight: &Packed,
        bias: Option<&[f32]>,
        y: impl Into<ValuesMut<'a>>,
    ) {
        match (x.into(), y.into()) {
            (Values::F32(x), ValuesMut::F32(y)) => self.gated(x, weight, bias, y),
            (Values::F32(x), ValuesMut::Bf16(y)) => self.gated(x, weight, bias, y),
            (Values::Bf16(x), ValuesMut::F32(y)) => self.gated(x, weight, bias, y),
            (Values::Bf16(x), ValuesMut::Bf16(y)) => self.gated(x, weight, bias, y),
        }
    }

    fn gated<X: Element, Y: Element>(self, x: &[X], weight: &Packed, bias: Option<&[f32]>, y: &mut [Y]) {
        let WeightShape { outputs, channels, taps } = weight.shape();
        assert!(outputs.is_multiple_of(2) && taps == 1, "values and gates");
        let (rows, width) = (x.len() / channels, outputs / 2);
        assert_eq!((x.len(), y.len()), (rows * channels, rows * width), "rows of other lengths");
        let epilogue = Epilogue { bias, ..Epilogue::default() };
        if width.is_multiple_of(PANEL) {
            epilogue.check(1, outputs, 2 * y.len());
            let size = MapSize { batch: 1, height: 1, width: rows, channels };
            let patches = Patches::new(x, size, Window::POINT);
            gemm::run_rows(self, Product { patches, weight, epilogue, gated: true, y });
        } else {
            let mut both = vec![0.0; rows * outputs];
            self.linear(X::values(x), 1, weight, epilogue, &mut both);
            match Y::values_mut(y) {
                ValuesMut::F32(y) => self.geglu(&both, width, y),
                ValuesMut::Bf16(y) => {
                    let mut exact = vec![0.0; y.len()];
                    self.geglu(&both, width, &mut exact);
                    y.iter_mut().zip(exact).for_each(|(y, exact)| *y = math::round(exact));
                }
            }
        }
    }
}
