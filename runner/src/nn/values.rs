//! The numbers in the CPU's tensors, as kernels read and write them.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Result, Shape, Storage, Tensor, bail};
use livewebcam_kernels::Cpu;

/// This machine's kernels.
pub(super) fn cpu() -> Cpu {
    Cpu::detect()
}

/// The numbers of a tensor, which is not changed as long as they are borrowed.
pub(super) struct Values<'a> {
    storage: candle_core::StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    /// Of a contiguous tensor of `f32` on the CPU.
    pub(super) fn of(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("a tensor that is not contiguous") };
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => Ok(Self { storage, range: start..end }),
            _ => bail!("a tensor of {:?} on {:?} among the CPU's f32", x.dtype(), x.device()),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => unreachable!("no other storage is taken"),
        }
    }
}

/// The tensor of this shape that `fill` fills; its numbers are zero before.
pub(super) fn filled(shape: impl Into<Shape>, fill: impl FnOnce(&mut [f32])) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = vec![0.0; shape.elem_count()];
    fill(&mut values);
    Tensor::from_vec(values, shape, &Device::Cpu)
}
