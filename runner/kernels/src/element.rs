//! The numbers that are multiplied: `f32` or `bf16`.

use half::bf16;

use crate::gemm::Number;
use crate::simd::Simd;

/// A number of a map, of tokens or of a weight: `f32` or `bf16`.
pub(crate) trait Element: Number + Default + Send + Sync {
    /// How many inputs of an output lie side by side in a panel.
    const SIDE_BY_SIDE: usize;

    /// What is not a number.
    const NAN: Self;

    /// Whether it is that.
    fn is_nan(self) -> bool;

    /// The values, if they are of this type.
    fn of(values: Values<'_>) -> Option<&[Self]>;

    /// These numbers, whatever they are.
    fn values(of: &[Self]) -> Values<'_>;

    /// The same, to be written.
    fn values_mut(of: &mut [Self]) -> ValuesMut<'_>;
}

/// Numbers of either format.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Of 32 bits.
    F32(&'a [f32]),
    /// Of 16 bits.
    Bf16(&'a [bf16]),
}

/// Numbers of either format, to be written.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// Of 32 bits.
    F32(&'a mut [f32]),
    /// Of 16 bits.
    Bf16(&'a mut [bf16]),
}

impl Values<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

impl ValuesMut<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

impl<'a, T: AsRef<[f32]> + ?Sized> From<&'a T> for Values<'a> {
    fn from(values: &'a T) -> Self {
        Self::F32(values.as_ref())
    }
}

impl<'a, T: AsMut<[f32]> + ?Sized> From<&'a mut T> for ValuesMut<'a> {
    fn from(values: &'a mut T) -> Self {
        Self::F32(values.as_mut())
    }
}

impl Element for f32 {
    const SIDE_BY_SIDE: usize = 1;
    const NAN: Self = Self::NAN;

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }

    #[inline(always)]
    fn of(values: Values<'_>) -> Option<&[Self]> {
        if let Values::F32(values) = values { Some(values) } else { None }
    }

    #[inline(always)]
    fn values(of: &[Self]) -> Values<'_> {
        Values::F32(of)
    }

    #[inline(always)]
    fn values_mut(of: &mut [Self]) -> ValuesMut<'_> {
        ValuesMut::F32(of)
    }
}

impl Element for bf16 {
    const SIDE_BY_SIDE: usize = 2;
    const NAN: Self = Self::NAN;

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }

    #[inline(always)]
    fn of(values: Values<'_>) -> Option<&[Self]> {
        if let Values::Bf16(values) = values { Some(values) } else { None }
    }

    #[inline(always)]
    fn values(of: &[Self]) -> Values<'_> {
        Values::Bf16(of)
    }

    #[inline(always)]
    fn values_mut(of: &mut [Self]) -> ValuesMut<'_> {
        ValuesMut::Bf16(of)
    }
}

/// Copies numbers, rounding them where they become shorter. Both have the same length.
#[inline(always)]
pub(crate) fn convert<S: Simd, X: Element, Y: Element>(simd: S, from: &[X], to: &mut [Y]) {
    match (X::values(from), Y::values_mut(to)) {
        (Values::F32(from), ValuesMut::F32(to)) => to.copy_from_slice(from),
        (Values::F32(from), ValuesMut::Bf16(to)) => simd.round(from, to),
        (Values::Bf16(from), ValuesMut::F32(to)) => {
            assert_eq!(from.len(), to.len());
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
        }
        (Values::Bf16(from), ValuesMut::Bf16(to)) => to.copy_from_slice(from),
    }
}
