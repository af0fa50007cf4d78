//! Numbers between the layers: on the processor, in the order of its kernels, or on candle's device.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use livewebcam_kernels::Cpu;

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
            Self::Candle(tensor) => tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1(),
        }
    }

    /// What the kernels read.
    pub(super) fn host(&self) -> Result<&[f32]> {
        match self {
            Self::Host(values) => Ok(values),
            Self::Candle(_) => bail!("numbers of another device among the processor's"),
        }
    }

    /// What candle reads.
    pub(super) fn candle(&self) -> Result<&Tensor> {
        match self {
            Self::Host(_) => bail!("numbers of the processor among another device's"),
            Self::Candle(tensor) => Ok(tensor),
        }
    }

    /// A function of every value.
    pub(super) fn each(
        &self,
        host: impl FnOnce(&[f32], &mut [f32]),
        candle: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        Ok(match self {
            Self::Host(x) => Self::filled(x.len(), |y| host(x, y)),
            Self::Candle(x) => Self::Candle(candle(x)?),
        })
    }

    /// The sum of as many numbers.
    pub(super) fn add(&self, other: &Self) -> Result<Self> {
        Ok(match self {
            Self::Host(a) => {
                let b = other.host()?;
                Self::filled(a.len(), |y| cpu().add(a, b, y))
            }
            Self::Candle(a) => Self::Candle((a + other.candle()?)?),
        })
    }
}
