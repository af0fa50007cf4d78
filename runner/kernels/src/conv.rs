//! Two-dimensional convolution.

use crate::gemm::{self, Patches, Product};
use crate::{Cpu, Epilogue, GroupNorm, Packed};

/// The size of a feature map `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// Pictures.
    pub batch: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl MapSize {
    /// How many values the map has.
    #[must_use]
    pub fn values(self) -> usize {
        self.batch * self.height * self.width * self.channels
    }
}

/// The size and the movement of a square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its height and width.
    pub size: usize,
    /// By how many pixels it moves.
    pub stride: usize,
    /// How many rows and columns are put above and to the left of the picture.
    pub before: usize,
    /// How many rows and columns are put below and to the right of the picture.
    pub after: usize,
    /// How many times each row and column is repeated first: upsampling to the nearest neighbour.
    pub repeat: usize,
    /// What is put around the picture.
    pub edge: Edge,
}

/// What is put around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// Zeros.
    #[default]
    Zeros,
    /// The picture mirrored around its outermost pixels, which are not repeated: `a b c` goes on with `b a b c`. A single row
    /// or column is repeated.
    Mirrored,
}

impl Window {
    /// 1×1.
    pub const POINT: Self = Self { size: 1, stride: 1, before: 0, after: 0, repeat: 1, edge: Edge::Zeros };

    /// The size of the result.
    ///
    /// # Panics
    /// A map smaller than the kernel.
    #[must_use]
    pub fn of(self, map: MapSize, outputs: usize) -> MapSize {
        let along = |length: usize| {
            let length = length * self.repeat + self.before + self.after;
            assert!(length >= self.size, "the map is smaller than the kernel");
            (length - self.size) / self.stride + 1
        };
        MapSize { batch: map.batch, height: along(map.height), width: along(map.width), channels: outputs }
    }
}

impl Cpu {
    /// The convolution of `x`, of `size`, and the epilogue.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn conv2d(
        self,
        x: &[f32],
        size: MapSize,
        window: Window,
        weight: &Packed,
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        gemm::run(self, Product::new(x, size, window, weight, epilogue, y));
    }

    /// Whether [`conv2d_normalised`](Cpu::conv2d_normalised) saves a pass over `x`: where products round their operands
    /// anyway, to be multiplied with AMX.
    #[must_use]
    pub fn normalises(self, x: &[f32], size: MapSize, window: Window, weight: &Packed) -> bool {
        let patches = Patches::new(x, size, window);
        gemm::normalises(self, &Product { patches, weight, epilogue: Epilogue::default(), gated: false, y: &mut [] })
    }

    /// As [`conv2d`](Cpu::conv2d), of `x` normalised.
    ///
    /// # Panics
    /// Lengths that do not fit, or not where it [`normalises`](Cpu::normalises).
    #[expect(clippy::too_many_arguments, reason = "those of two layers")]
    pub fn conv2d_normalised(
        self,
        x: &[f32],
        size: MapSize,
        norm: GroupNorm<'_>,
        window: Window,
        weight: &Packed,
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        assert_eq!(norm.weight.len(), size.channels, "the norm has another number of channels");
        gemm::run_normalised(self, Product::new(x, size, window, weight, epilogue, y), norm);
    }
}
