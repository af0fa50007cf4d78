//! The table lookup.

use candle_core::{DType, Result, Tensor, bail};

use super::data::Data;
use super::tokens::{Shape, Tokens};
use super::weights::{Placement, Rows, Table, Weights, WeightsError};

/// One learned vector for each of a number of ids.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[ids, width]`.
    weight: Table,
    width: usize,
    compute: DType,
}

impl Embedding {
    /// Reads `weight`.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub fn load(weights: &Weights, ids: usize, width: usize) -> std::result::Result<Self, WeightsError> {
        let compute = match weights.placement() {
            Placement::Kernels(_) => DType::F32,
            Placement::Candle { compute, .. } => *compute,
        };
        Ok(Self { weight: weights.table("weight", ids, width)?, width, compute })
    }

    /// The vectors of `ids`, as the only list.
    ///
    /// # Errors
    /// An id that is not in the table.
    pub fn forward(&self, ids: &[u32]) -> Result<Tokens> {
        let shape = Shape { batch: 1, rows: ids.len(), width: self.width };
        let data = match &self.weight {
            Table::Rows(rows) => look_up(rows, ids)?,
            Table::Tensor(table) => {
                let ids = Tensor::new(ids, table.device())?;
                Data::Candle(table.index_select(&ids, 0)?.to_dtype(self.compute)?.unsqueeze(0)?)
            }
        };
        Ok(Tokens::of(shape, data))
    }

    /// The first `count` vectors, as the only list.
    ///
    /// # Errors
    /// Fewer than `count` vectors.
    pub fn first(&self, count: usize) -> Result<Tokens> {
        self.forward(&(0..count as u32).collect::<Vec<_>>())
    }
}

fn look_up(rows: &Rows, ids: &[u32]) -> Result<Data> {
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows.count()) {
        bail!("the id {id} is not in a table of {}", rows.count());
    }
    Ok(Data::filled(ids.len() * rows.width(), |y| {
        y.chunks_exact_mut(rows.width()).zip(ids).for_each(|(y, &id)| rows.read(id as usize, y));
    }))
}
