//! Lists of vectors: what flows between the layers of a transformer.

use candle_core::{Result, Tensor};

use super::data::{Data, cpu};
use super::weights::Placement;

/// For each of a batch a list of vectors: a text's tokens, a picture's pixels, or a single embedding.
#[derive(Clone, Debug)]
pub struct Tokens {
    shape: Shape,
    /// `[batch, rows, width]`
    data: Data,
}

/// How many vectors there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Lists.
    pub batch: usize,
    /// Vectors in each.
    pub rows: usize,
    /// Numbers in each vector.
    pub width: usize,
}

impl Shape {
    /// How many numbers there are.
    #[must_use]
    pub fn values(self) -> usize {
        self.batch * self.rows * self.width
    }

    fn dims(self) -> [usize; 3] {
        [self.batch, self.rows, self.width]
    }
}

impl Tokens {
    /// Vectors behind each other, brought to where they belong.
    ///
    /// # Errors
    /// Another number of values, or a failure of the device.
    pub fn new(values: Vec<f32>, shape: Shape, placement: &Placement) -> Result<Self> {
        if values.len() != shape.values() {
            candle_core::bail!("{} values for {shape:?}", values.len());
        }
        Ok(Self { data: Data::placed(values, &shape.dims(), placement)?, shape })
    }

    /// How many there are.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The numbers, `[batch, rows, width]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn values(&self) -> Result<Vec<f32>> {
        self.data.values()
    }

    /// One vector of each list.
    ///
    /// # Errors
    /// There is no such vector, or a failure of the device.
    pub fn row(&self, row: usize) -> Result<Self> {
        let Shape { batch, rows, width } = self.shape;
        let shape = Shape { rows: 1, ..self.shape };
        let data = match &self.data {
            _ if row >= rows => candle_core::bail!("row {row} of {rows}"),
            Data::Candle(x) => Data::Candle(x.narrow(1, row, 1)?.contiguous()?),
            data => {
                let x = data.host()?;
                Data::filled(batch * width, |y| {
                    let lists = x.chunks_exact(rows * width).map(|list| &list[row * width..][..width]);
                    y.chunks_exact_mut(width).zip(lists).for_each(|(y, x)| y.copy_from_slice(x));
                })
            }
        };
        Ok(Self { shape, data })
    }

    /// The sum.
    ///
    /// # Errors
    /// Another shape, or a failure of the device.
    pub fn add(&self, other: &Self) -> Result<Self> {
        if self.shape != other.shape {
            candle_core::bail!("{:?} and {:?}", self.shape, other.shape);
        }
        Ok(Self { shape: self.shape, data: self.data.add(&other.data)? })
    }

    /// Each vector of this, and behind it that of another one with as many.
    ///
    /// # Errors
    /// Another number of vectors, or a failure of the device.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.shape, other.shape);
        let shape = Shape { width: a.width + b.width, ..a };
        let data = match &self.data {
            _ if (a.batch, a.rows) != (b.batch, b.rows) => candle_core::bail!("{a:?} and {b:?}"),
            Data::Candle(x) => Data::Candle(Tensor::cat(&[x, other.data.candle()?], 2)?),
            data => {
                let (x, other) = (data.host()?, other.data.host()?);
                Data::filled(shape.values(), |y| cpu().concat(x, other, [a.width, b.width], y))
            }
        };
        Ok(Self { shape, data })
    }

    /// The lists of this, and behind them those of another one.
    ///
    /// # Errors
    /// Lists of another shape, or a failure of the device.
    pub fn stack(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.shape, other.shape);
        let shape = Shape { batch: a.batch + b.batch, ..a };
        let data = match &self.data {
            _ if (a.rows, a.width) != (b.rows, b.width) => candle_core::bail!("{a:?} and {b:?}"),
            Data::Candle(x) => Data::Candle(Tensor::cat(&[x, other.data.candle()?], 0)?),
            data => {
                let (x, other) = (data.host()?, other.data.host()?);
                Data::filled(shape.values(), |y| {
                    y[..x.len()].copy_from_slice(x);
                    y[x.len()..].copy_from_slice(other);
                })
            }
        };
        Ok(Self { shape, data })
    }

    /// As many zeros.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn zeros_like(&self) -> Result<Self> {
        let data = self.data.each(|_, y| y.fill(0.0), Tensor::zeros_like)?;
        Ok(Self { shape: self.shape, data })
    }

    pub(super) fn of(shape: Shape, data: Data) -> Self {
        Self { shape, data }
    }

    pub(super) fn data(&self) -> &Data {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, places, random};
    use super::*;

    #[test]
    fn lists_are_taken_apart_and_put_together_alike_everywhere() {
        let [a, b] = [1, 2].map(|seed| random(seed, 2 * 3 * 4));
        let shape = Shape { batch: 2, rows: 3, width: 4 };
        let mut found = places().map(|placement| {
            let [a, b] = [&a, &b].map(|values| Tokens::new(values.clone(), shape, &placement).expect("tokens"));
            let made = [a.row(1), a.add(&b), a.concat(&b), a.stack(&b), a.zeros_like()];
            made.map(|tokens| tokens.map(|tokens| (tokens.shape(), tokens.values().expect("values"))).expect("tokens"))
        });
        let [kernels, candle] = &mut found;
        for ((shape, values), (other_shape, other)) in kernels.iter().zip(candle) {
            assert_eq!(shape, other_shape);
            assert_close(values, other);
        }
        assert_eq!(found[0][0].1, [&a[4..8], &a[16..20]].concat());
    }
}
