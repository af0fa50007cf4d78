//! The table lookup.

use candle_core::{DType, Result, Tensor, bail};

use super::values::filled;
use super::weights::{Rows, Table, Weights, WeightsError};

/// One learned vector for each of a number of ids.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[ids, width]`.
    weight: Table,
    compute: DType,
}

impl Embedding {
    /// Reads `weight`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, ids: usize, width: usize) -> std::result::Result<Self, WeightsError> {
        Ok(Self { weight: weights.table("weight", ids, width)?, compute: weights.placement().compute })
    }

    /// The vectors of `ids`, `[ids.len(), width]`.
    ///
    /// # Errors
    /// An id that is not in the table.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        match &self.weight {
            Table::Rows(rows) => lookup(rows, ids),
            Table::Tensor(table) => {
                let ids = Tensor::new(ids, table.device())?;
                table.index_select(&ids, 0)?.to_dtype(self.compute)
            }
        }
    }

    /// The first `count` vectors, `[count, width]`.
    ///
    /// # Errors
    /// Fewer than `count` vectors.
    pub fn first(&self, count: usize) -> Result<Tensor> {
        match &self.weight {
            Table::Rows(rows) => lookup(rows, &(0..count as u32).collect::<Vec<_>>()),
            Table::Tensor(table) => table.narrow(0, 0, count)?.to_dtype(self.compute),
        }
    }
}

fn lookup(rows: &Rows, ids: &[u32]) -> Result<Tensor> {
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows.count()) {
        bail!("the id {id} is not in a table of {}", rows.count());
    }
    filled((ids.len(), rows.width()), |y| {
        y.chunks_exact_mut(rows.width()).zip(ids).for_each(|(y, &id)| rows.read(id as usize, y));
    })
}
