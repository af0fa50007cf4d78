//! Feature maps: what flows between the layers of a convolutional network.

use std::borrow::Cow;

use candle_core::{Result, Tensor};
pub use livewebcam_kernels::MapSize;

use super::data::{Data, cpu};
use super::tokens::{Shape, Tokens};
use super::weights::Placement;

/// The feature maps of a batch of pictures, in the order that the layers read: channels last on the processor, first on
/// another device. A model never sees which, so that nothing is reordered between two layers.
#[derive(Clone, Debug)]
pub struct Map {
    size: MapSize,
    /// `[batch, height, width, channels]` for the kernels, `[batch, channels, height, width]` for candle.
    data: Data,
}

impl Map {
    /// Of planes `[batch, channels, height, width]`, brought to where they belong.
    ///
    /// # Errors
    /// Another number of values, or a failure of the device.
    pub fn from_planes(planes: Vec<f32>, size: MapSize, placement: &Placement) -> Result<Self> {
        check(&planes, size)?;
        let pixels = size.height * size.width;
        let data = match placement {
            Placement::Kernels(_) => Data::filled(size.values(), |y| transpose(&planes, size.channels, pixels, y)),
            Placement::Candle { .. } => Data::placed(planes, &dims(size), placement)?,
        };
        Ok(Self { size, data })
    }

    /// Of pixels `[batch, height, width, channels]` that `fill` writes, brought to where they belong.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn from_pixels(size: MapSize, placement: &Placement, fill: impl FnOnce(&mut [f32])) -> Result<Self> {
        let data = match placement {
            Placement::Kernels(_) => Data::filled(size.values(), fill),
            Placement::Candle { .. } => {
                let mut pixels = vec![0.0; size.values()];
                fill(&mut pixels);
                let planes = transposed(&pixels, size.height * size.width, size.channels);
                Data::placed(planes, &dims(size), placement)?
            }
        };
        Ok(Self { size, data })
    }

    /// The numbers of all planes, `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn planes(&self) -> Result<Vec<f32>> {
        let values = self.data.values()?;
        Ok(match self.data {
            Data::Candle(_) => values,
            _ => transposed(&values, self.size.height * self.size.width, self.size.channels),
        })
    }

    /// The numbers of all pixels, `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn pixels(&self) -> Result<Cow<'_, [f32]>> {
        Ok(match &self.data {
            Data::Host(values) => Cow::Borrowed(values),
            data @ Data::Rounded(_) => Cow::Owned(data.values()?),
            data @ Data::Candle(_) => {
                let (channels, pixels) = (self.size.channels, self.size.height * self.size.width);
                Cow::Owned(transposed(&data.values()?, channels, pixels))
            }
        })
    }

    /// The pixels as a list.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn tokens(&self) -> Result<Tokens> {
        let MapSize { batch, height, width, channels } = self.size;
        let data = match &self.data {
            data @ (Data::Host(_) | Data::Rounded(_)) => data.clone(),
            Data::Candle(x) => Data::Candle(x.flatten_from(2)?.transpose(1, 2)?.contiguous()?),
        };
        Ok(Tokens::of(Shape { batch, rows: height * width, width: channels }, data))
    }

    /// The inverse of [`Map::tokens`].
    ///
    /// # Errors
    /// Not `height · width` vectors, or a failure of the device.
    pub fn from_tokens(tokens: &Tokens, height: usize, width: usize) -> Result<Self> {
        let Shape { batch, rows, width: channels } = tokens.shape();
        let size = MapSize { batch, height, width, channels };
        let data = match tokens.data() {
            _ if rows != height * width => candle_core::bail!("{rows} pixels for {size:?}"),
            data @ (Data::Host(_) | Data::Rounded(_)) => data.clone(),
            Data::Candle(x) => Data::Candle(x.transpose(1, 2)?.contiguous()?.reshape(dims(size).as_slice())?),
        };
        Ok(Self { size, data })
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> MapSize {
        self.size
    }

    /// The channels of this map, and behind them those of another one of the same height and width.
    ///
    /// # Errors
    /// Another height or width, or a failure of the device.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        let channels = [self.size.channels, other.size.channels];
        let size = MapSize { channels: channels[0] + channels[1], ..self.size };
        let data = match &self.data {
            _ if (MapSize { channels: channels[1], ..self.size }) != other.size => {
                candle_core::bail!("{:?} and {:?}", self.size, other.size)
            }
            Data::Candle(x) => Data::Candle(Tensor::cat(&[x, other.data.candle()?], 1)?),
            data => {
                let (x, other) = (data.host()?, other.data.host()?);
                Data::filled(size.values(), |y| cpu().concat(x, other, channels, y))
            }
        };
        Ok(Self { size, data })
    }

    /// The sum.
    ///
    /// # Errors
    /// Another size, or a failure of the device.
    pub fn add(&self, other: &Self) -> Result<Self> {
        if self.size != other.size {
            candle_core::bail!("{:?} and {:?}", self.size, other.size);
        }
        Ok(Self { size: self.size, data: self.data.add(&other.data)? })
    }

    /// A map of another height and width, whose pixels are the nearest ones.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn resize(&self, height: usize, width: usize) -> Result<Self> {
        let size = MapSize { height, width, ..self.size };
        let data = match &self.data {
            Data::Candle(x) => Data::Candle(x.upsample_nearest2d(height, width)?),
            data => {
                let x = data.host()?;
                Data::filled(size.values(), |y| cpu().resize(x, self.size, height, width, y))
            }
        };
        Ok(Self { size, data })
    }

    /// `factor · x + shift` of every value.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn affine(&self, factor: f64, shift: f64) -> Result<Self> {
        let (narrow_factor, narrow_shift) = (factor as f32, shift as f32);
        let host = |x: &[f32], y: &mut [f32]| {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = narrow_factor * x + narrow_shift);
        };
        Ok(Self { size: self.size, data: self.data.each(host, |x| x.affine(factor, shift))? })
    }

    pub(super) fn of(size: MapSize, data: Data) -> Self {
        Self { size, data }
    }

    pub(super) fn data(&self) -> &Data {
        &self.data
    }
}

fn check(values: &[f32], size: MapSize) -> Result<()> {
    if values.len() == size.values() { Ok(()) } else { candle_core::bail!("{} values for {size:?}", values.len()) }
}

/// As candle has it.
fn dims(size: MapSize) -> [usize; 4] {
    [size.batch, size.channels, size.height, size.width]
}

fn transposed(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    transpose(x, rows, columns, &mut y);
    y
}

/// Of each `[rows, columns]` a `[columns, rows]`. Only pictures and latents come here, which have few channels.
fn transpose(x: &[f32], rows: usize, columns: usize, y: &mut [f32]) {
    let matrices = x.chunks_exact(rows * columns).zip(y.chunks_exact_mut(rows * columns));
    for (x, y) in matrices {
        for (row, x) in x.chunks_exact(columns).enumerate() {
            x.iter().zip(y[row..].iter_mut().step_by(rows)).for_each(|(x, y)| *y = *x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, places, random};
    use super::*;

    const SIZE: MapSize = MapSize { batch: 2, height: 4, width: 5, channels: 3 };

    #[test]
    fn a_map_is_made_of_planes_pixels_or_tokens() {
        let planes = random(1, SIZE.values());
        let mut pixels = planes.clone();
        for (index, value) in planes.iter().enumerate() {
            let (picture, channel, pixel) = (index / 60, index / 20 % 3, index % 20);
            pixels[(picture * 20 + pixel) * 3 + channel] = *value;
        }
        for placement in places() {
            let map = Map::from_planes(planes.clone(), SIZE, &placement).expect("a map");
            assert_eq!(
                (map.planes().expect("planes"), map.pixels().expect("pixels").into_owned()),
                (planes.clone(), pixels.clone())
            );
            let map = Map::from_pixels(SIZE, &placement, |to| to.copy_from_slice(&pixels)).expect("a map");
            assert_eq!(map.planes().expect("planes"), planes);
            let tokens = map.tokens().expect("tokens");
            assert_eq!(tokens.values().expect("values"), pixels);
            assert_eq!(tokens.shape(), Shape { batch: 2, rows: 20, width: 3 });
            let map = Map::from_tokens(&tokens, 4, 5).expect("a map");
            assert_eq!((map.size(), map.planes().expect("planes")), (SIZE, planes.clone()));
        }
    }

    #[test]
    fn maps_are_joined_resized_and_scaled_alike_everywhere() {
        let other = MapSize { channels: 1, ..SIZE };
        let [kernels, candle] = places().map(|placement| {
            let of =
                |seed, size: MapSize| Map::from_planes(random(seed, size.values()), size, &placement).expect("a map");
            let a = of(1, SIZE);
            let made = [
                a.concat(&of(2, other)),
                a.resize(7, 10),
                a.resize(8, 10),
                a.resize(2, 3),
                a.affine(2.0, -1.0),
                a.add(&of(3, SIZE)),
            ];
            made.map(|map| map.map(|map| (map.size(), map.planes().expect("planes"))).expect("a map"))
        });
        for ((size, values), (other_size, other)) in kernels.iter().zip(&candle) {
            assert_eq!(size, other_size);
            assert_close(values, other);
        }
    }
}
