//! What is done to a product before it is written.

use crate::Activation;

/// `y = activation(product + bias + shift + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
    /// One row for each of the batch: `[batch, outputs]`.
    pub shift: Option<&'a [f32]>,
    /// As many values as the result.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl Epilogue<'_> {
    /// Whether the product is written as it is.
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { bias, shift, residual, activation } = self;
        bias.is_none() && shift.is_none() && residual.is_none() && *activation == Activation::None
    }

    pub(crate) fn check(&self, batch: usize, outputs: usize, values: usize) {
        assert!(self.bias.is_none_or(|bias| bias.len() == outputs), "the bias has another length than the outputs");
        assert!(self.shift.is_none_or(|shift| shift.len() == batch * outputs), "the shift has another shape");
        assert!(self.residual.is_none_or(|residual| residual.len() == values), "the residual has another shape");
    }
}
