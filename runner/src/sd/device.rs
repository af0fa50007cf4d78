//! Where networks compute, and in which number format. A choice that this binary or this machine does not have is an error.

use candle_core::{DType, Device};
use livewebcam_jobs::{DeviceChoice, Precision, Unloadable};

use super::error::LoadError;
use crate::nn::probe::probe;
use crate::nn::weights::{Format, Placement};

/// The devices that this binary was built for.
pub(super) fn built_for() -> Vec<DeviceChoice> {
    let gpus = [(cfg!(feature = "cuda"), DeviceChoice::Cuda), (cfg!(feature = "metal"), DeviceChoice::Metal)];
    let gpus = gpus.into_iter().filter_map(|(built, device)| built.then_some(device));
    std::iter::once(DeviceChoice::Cpu).chain(gpus).collect()
}

/// Opens a device.
///
/// # Errors
/// A device that this binary was not built for, or that is not there.
pub(super) fn open(choice: DeviceChoice) -> Result<Device, LoadError> {
    if !built_for().contains(&choice) {
        return Err(Unloadable::Device(choice).into());
    }
    let opened = match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => Device::new_cuda(0),
        DeviceChoice::Metal => Device::new_metal(0),
    };
    opened.map_err(|source| LoadError::Device { device: choice, source: source.into() })
}

/// Where weights of this number format go. On the CPU what flows between the layers is always f32.
///
/// # Errors
/// A number format that the device has no layers for.
pub(super) fn placement(device: &Device, precision: Precision) -> Result<Placement, LoadError> {
    let dtype = match precision {
        Precision::F32 if device.is_cpu() => return Ok(Placement::Kernels(Format::F32)),
        Precision::Bf16 if device.is_cpu() => return Ok(Placement::Kernels(Format::Bf16)),
        Precision::F16 if device.is_cpu() => return Err(Unloadable::F16OnCpu.into()),
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 => DType::F16,
    };
    Ok(Placement::Candle { device: device.clone(), storage: dtype, compute: dtype })
}

/// Makes a GPU compute a little. Kernels are compiled for one kind of GPU; with another one, some only give nonsense.
///
/// # Errors
/// A GPU that fails, or that computes something else than it should.
pub(super) fn try_out(placement: &Placement) -> Result<(), LoadError> {
    let Placement::Candle { device, compute, .. } = placement else { return Ok(()) };
    let incapable = |source| LoadError::Incapable { precision: compute.as_str(), source: Box::new(source) };
    probe(device, *compute).map_err(incapable)
}
