//! Numbers between the layers: on the processor, in the order of its kernels, or on candle's device.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;
use livewebcam_kernels::{Cpu, Format, Values, ValuesMut};

use super::buffer::Buffer;
use super::weights::Placement;

/// This machine's kernels.
pub(super) fn cpu() -> Cpu {
    Cpu::detect()
}

/// The numbers of a map or of tokens.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// For the kernels.
    Host(Arc<Buffer>),
    /// For the kernels, rounded as they would have been for the next product.
    Rounded(Arc<Buffer<bf16>>),
    /// For candle, contiguous.
    Candle(Tensor),
}

impl Data {
    /// The `count` numbers that `fill` puts in the place of any others, for the kernels.
    pub(super) fn filled(count: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        let mut buffer = Buffer::any(count);
        fill(&mut buffer);
        Self::Host(Arc::new(buffer))
    }

    /// As [`filled`](Self::filled), of numbers that will only be multiplied with weights of `format`, or as if they were such:
    /// rounded now where kernels would round them then.
    pub(super) fn filled_for(format: Format, count: usize, fill: impl FnOnce(ValuesMut<'_>)) -> Self {
        match cpu().operand(format) {
            Format::F32 => Self::filled(count, |y| fill(ValuesMut::F32(y))),
            Format::Bf16 => {
                let mut buffer = Buffer::any(count);
                fill(ValuesMut::Bf16(&mut buffer));
                Self::Rounded(Arc::new(buffer))
            }
        }
    }

    /// These numbers, brought to where they belong.
    pub(super) fn placed(values: Vec<f32>, shape: &[usize], placement: &Placement) -> Result<Self> {
        Ok(match placement {
            Placement::Kernels(_) => Self::Host(Arc::new(values.into())),
            Placement::Candle { device, compute, .. } => {
                Self::Candle(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(*compute)?.to_device(device)?)
            }
        })
    }

    /// The numbers, fetched from where they are.
    pub(super) fn values(&self) -> Result<Vec<f32>> {
        match self {
            Self::Host(values) => Ok(values.to_vec()),
            Self::Rounded(values) => Ok(values.iter().map(|value| value.to_f32()).collect()),
            Self::Candle(tensor) => tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1(),
        }
    }

    /// What the kernels read.
    pub(super) fn host(&self) -> Result<&[f32]> {
        match self {
            Self::Host(values) => Ok(values),
            Self::Rounded(_) => bail!("numbers that were rounded for a product are used for something else"),
            Self::Candle(_) => bail!("numbers of another device among the processor's"),
        }
    }

    /// What the kernels multiply.
    pub(super) fn operand(&self) -> Result<Values<'_>> {
        match self {
            Self::Rounded(values) => Ok(Values::Bf16(values)),
            _ => self.host().map(Values::F32),
        }
    }

    /// What candle reads.
    pub(super) fn candle(&self) -> Result<&Tensor> {
        match self {
            Self::Host(_) | Self::Rounded(_) => bail!("numbers of the processor among another device's"),
            Self::Candle(tensor) => Ok(tensor),
        }
    }

    /// A function of every value.
    pub(super) fn each(
        &self,
        host: impl FnOnce(&[f32], &mut [f32]),
        candle: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        if let Self::Candle(x) = self {
            return Ok(Self::Candle(candle(x)?));
        }
        let x = self.host()?;
        Ok(Self::filled(x.len(), |y| host(x, y)))
    }

    /// The sum of as many numbers.
    pub(super) fn add(&self, other: &Self) -> Result<Self> {
        if let Self::Candle(a) = self {
            return Ok(Self::Candle((a + other.candle()?)?));
        }
        let (a, b) = (self.host()?, other.host()?);
        Ok(Self::filled(a.len(), |y| cpu().add(a, b, y)))
    }
}
