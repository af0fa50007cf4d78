//! Where networks compute, and in which number format. A choice that this binary or this machine does not have is an error.

use std::str::FromStr;

use candle_core::{DType, Device};

use super::error::LoadError;
use crate::nn::weights::{Format, Placement};

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU; needs the feature `cuda`.
    Cuda,
    /// The first Apple GPU; needs the feature `metal`.
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// A device that this binary was not built for, or that is not there.
    pub fn open(self) -> Result<Device, LoadError> {
        let absent = |name: &str, error: candle_core::Error| {
            LoadError::Device(format!("the device `{name}` cannot be used: {error}"))
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda if cfg!(feature = "cuda") => Device::new_cuda(0).map_err(|error| absent("cuda", error)),
            Self::Metal if cfg!(feature = "metal") => Device::new_metal(0).map_err(|error| absent("metal", error)),
            Self::Cuda => Err(not_built("cuda")),
            Self::Metal => Err(not_built("metal")),
        }
    }
}

fn not_built(name: &str) -> LoadError {
    LoadError::Device(format!(
        "this runner was built without `{name}`; build it with `cargo build --release -p livewebcam-runner --features \
         {name}`, or choose the device `cpu`"
    ))
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "metal" => Ok(Self::Metal),
            _ => Err(format!("unknown device `{text}`; there are cpu, cuda and metal")),
        }
    }
}

/// A number format of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// What diffusers uses by default.
    #[default]
    F32,
    /// Half the memory.
    Bf16,
    /// Half the memory.
    F16,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(format!("unknown precision `{text}`; there are f32, bf16 and f16")),
        }
    }
}

/// Where weights of this number format go. On the CPU what flows between the layers is always f32.
///
/// # Errors
/// A number format that the device has no layers for.
pub(super) fn placement(device: &Device, precision: Precision) -> Result<Placement, LoadError> {
    let dtype = match precision {
        Precision::F32 if device.is_cpu() => return Ok(Placement::Kernels(Format::F32)),
        Precision::Bf16 if device.is_cpu() => return Ok(Placement::Kernels(Format::Bf16)),
        Precision::F16 if device.is_cpu() => {
            let problem = "the device `cpu` computes with weights in f32 or bf16; choose `bf16` in place of `f16`";
            return Err(LoadError::Device(problem.to_owned()));
        }
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 => DType::F16,
    };
    Ok(Placement::Candle { device: device.clone(), storage: dtype, compute: dtype })
}
