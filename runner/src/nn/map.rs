//! Feature maps: what flows between the layers of a convolutional network.

use candle_core::{DType, Device, Result, Tensor};
pub use livewebcam_kernels::MapSize;

use super::activation::Activation;
use super::values::{Values, cpu, filled};

/// The feature maps of a batch of pictures, in the order that the device's layers read: channels last on the CPU, first on
/// GPUs. A model never sees which, so that nothing is reordered between two layers.
#[derive(Clone, Debug)]
pub struct Map {
    /// `[batch, height, width, channels]` on the CPU, `[batch, channels, height, width]` elsewhere; contiguous.
    tensor: Tensor,
}

impl Map {
    /// Of planes `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// Another rank, or a failure of the device.
    pub fn from_planes(planes: &Tensor) -> Result<Self> {
        let tensor = if planes.device().is_cpu() { planes.permute((0, 2, 3, 1))? } else { planes.clone() };
        Ok(Self { tensor: tensor.contiguous()? })
    }

    /// Of pixels `[batch, height, width, channels]`, brought to a device.
    ///
    /// # Errors
    /// Another number of pixels, or a failure of the device.
    pub fn from_pixels(pixels: Vec<f32>, size: MapSize, device: &Device, dtype: DType) -> Result<Self> {
        let MapSize { batch, height, width, channels } = size;
        let pixels = Tensor::from_vec(pixels, (batch, height, width, channels), &Device::Cpu)?;
        if device.is_cpu() {
            return Ok(Self { tensor: pixels });
        }
        let planes = pixels.permute((0, 3, 1, 2))?.contiguous()?;
        Ok(Self { tensor: planes.to_dtype(dtype)?.to_device(device)? })
    }

    /// Planes `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn planes(&self) -> Result<Tensor> {
        if self.is_channels_last() { self.tensor.permute((0, 3, 1, 2))?.contiguous() } else { Ok(self.tensor.clone()) }
    }

    /// The numbers of all pixels, `[batch, height, width, channels]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn pixels(&self) -> Result<Vec<f32>> {
        if self.is_channels_last() {
            return self.tensor.flatten_all()?.to_vec1();
        }
        let planes = self.tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        planes.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()
    }

    /// The pixels as a list: `[batch, height · width, channels]`.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn tokens(&self) -> Result<Tensor> {
        if self.is_channels_last() {
            self.tensor.flatten(1, 2)
        } else {
            self.tensor.flatten_from(2)?.transpose(1, 2)?.contiguous()
        }
    }

    /// The inverse of [`Map::tokens`].
    ///
    /// # Errors
    /// Not `height · width` pixels, or a failure of the device.
    pub fn from_tokens(tokens: &Tensor, height: usize, width: usize) -> Result<Self> {
        let (batch, _, channels) = tokens.dims3()?;
        let tensor = if tokens.device().is_cpu() {
            tokens.reshape((batch, height, width, channels))?
        } else {
            tokens.transpose(1, 2)?.contiguous()?.reshape((batch, channels, height, width))?
        };
        Ok(Self { tensor })
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> MapSize {
        match (self.tensor.dims(), self.is_channels_last()) {
            (&[batch, height, width, channels], true) | (&[batch, channels, height, width], false) => {
                MapSize { batch, height, width, channels }
            }
            _ => unreachable!("a map has four dimensions"),
        }
    }

    /// The channels of this map, and behind them those of another one of the same height and width.
    ///
    /// # Errors
    /// Another height or width, or a failure of the device.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        if !self.is_channels_last() {
            return Ok(Self { tensor: Tensor::cat(&[&self.tensor, &other.tensor], 1)? });
        }
        let (size, channels) = (self.size(), [self.size().channels, other.size().channels]);
        let (a, b) = (Values::of(&self.tensor)?, Values::of(&other.tensor)?);
        let out = MapSize { channels: channels[0] + channels[1], ..size };
        Self::filled(out, |y| cpu().concat(&a, &b, channels, y))
    }

    /// A map of another height and width, whose pixels are the nearest ones.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn resize(&self, height: usize, width: usize) -> Result<Self> {
        if !self.is_channels_last() {
            return Ok(Self { tensor: self.tensor.upsample_nearest2d(height, width)? });
        }
        let (size, x) = (self.size(), Values::of(&self.tensor)?);
        Self::filled(MapSize { height, width, ..size }, |y| cpu().resize(&x, size, height, width, y))
    }

    /// `factor · x + shift` of every value.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn affine(&self, factor: f64, shift: f64) -> Result<Self> {
        if !self.is_channels_last() {
            return Ok(Self { tensor: self.tensor.affine(factor, shift)? });
        }
        let x = Values::of(&self.tensor)?;
        let (factor, shift) = (factor as f32, shift as f32);
        Self::filled(self.size(), |y| y.iter_mut().zip(&*x).for_each(|(y, x)| *y = factor * x + shift))
    }

    /// The function of every value.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn activate(&self, activation: Activation) -> Result<Self> {
        Ok(Self { tensor: activation.forward(&self.tensor)? })
    }

    /// The map of this size that `fill` fills, channels last, on the CPU.
    pub(super) fn filled(size: MapSize, fill: impl FnOnce(&mut [f32])) -> Result<Self> {
        let MapSize { batch, height, width, channels } = size;
        Ok(Self { tensor: filled((batch, height, width, channels), fill)? })
    }

    /// Of a tensor in the device's own order.
    pub(super) fn from_own(tensor: Tensor) -> Self {
        Self { tensor }
    }

    /// The tensor in the device's own order.
    pub(super) fn own(&self) -> &Tensor {
        &self.tensor
    }

    fn is_channels_last(&self) -> bool {
        self.tensor.device().is_cpu()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, random};
    use super::*;

    #[test]
    fn a_map_is_made_of_planes_pixels_or_tokens() {
        let planes = random(1, &[2, 3, 4, 5]);
        let map = Map::from_planes(&planes).expect("a map");
        let size = MapSize { batch: 2, height: 4, width: 5, channels: 3 };
        assert_eq!(map.size(), size);
        assert_close(&map.planes().expect("planes"), &planes);
        let pixels = Map::from_pixels(map.pixels().expect("pixels"), size, &Device::Cpu, DType::F32).expect("a map");
        assert_close(&pixels.planes().expect("planes"), &planes);
        let tokens = map.tokens().expect("tokens");
        assert_close(&tokens, &planes.flatten_from(2).and_then(|planes| planes.transpose(1, 2)).expect("tokens"));
        let tokens = Map::from_tokens(&tokens, 4, 5).and_then(|map| map.planes()).expect("planes");
        assert_close(&tokens, &planes);
    }

    #[test]
    fn maps_are_joined_resized_and_scaled_as_candle_does_it() {
        let (a, b) = (random(1, &[2, 3, 4, 5]), random(2, &[2, 1, 4, 5]));
        let of = |planes: &Tensor| Map::from_planes(planes).expect("a map");
        let joined = of(&a).concat(&of(&b)).and_then(|map| map.planes()).expect("planes");
        assert_close(&joined, &Tensor::cat(&[&a, &b], 1).expect("planes"));
        let larger = of(&a).resize(7, 10).and_then(|map| map.planes()).expect("planes");
        assert_close(&larger, &a.upsample_nearest2d(7, 10).expect("planes"));
        let scaled = of(&a).affine(2.0, -1.0).and_then(|map| map.planes()).expect("planes");
        assert_close(&scaled, &a.affine(2.0, -1.0).expect("planes"));
    }
}
