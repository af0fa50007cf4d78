//! The table lookup.

use candle_core::{DType, Result, Tensor};

use super::weights::{Weights, WeightsError};

/// One learned vector for each of a number of ids.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[ids, width]`.
    weight: Tensor,
    compute: DType,
}

impl Embedding {
    /// Reads `weight`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, ids: usize, width: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self { weight: weights.large("weight", (ids, width))?, compute: weights.placement().compute })
    }

    /// The vectors of `ids`, `[ids.len(), width]`.
    ///
    /// # Errors
    /// An id that is not in the table.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.weight.device())?;
        self.weight.index_select(&ids, 0)?.to_dtype(self.compute)
    }

    /// The first `count` vectors, `[count, width]`.
    ///
    /// # Errors
    /// Fewer than `count` vectors.
    pub fn first(&self, count: usize) -> Result<Tensor> {
        self.weight.narrow(0, 0, count)?.to_dtype(self.compute)
    }
}
