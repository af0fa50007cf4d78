//! How a model is loaded: its operator's choice, not the visitor's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU; needs a runner with the feature `cuda`.
    Cuda,
    /// The first Apple GPU; needs a runner with the feature `metal`.
    Metal,
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        })
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What diffusers uses by default.
    #[default]
    F32,
    /// Half the memory.
    Bf16,
    /// Half the memory.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
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

/// How a model is loaded. The default is the one that gives diffusers' pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadOptions {
    /// Where it computes.
    pub device: DeviceChoice,
    /// The number format of its weights.
    #[serde(rename = "dtype")]
    pub precision: Precision,
    /// Whether a TAESD takes the place of the model's own autoencoder.
    pub taesd: bool,
}

/// What of [`LoadOptions`] can be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadChoices {
    /// Devices that the runner was built for. Whether a compute node has one, only a job can tell.
    pub devices: Vec<DeviceChoice>,
    /// Whether there is a TAESD for this model.
    pub taesd: bool,
}

/// Options that a model cannot be loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unloadable {
    /// The model is built into the runner.
    #[error("it always computes on the CPU in f32; leave device, dtype and taesd away")]
    Fixed,
    /// The runner knows nothing of this device.
    #[error(
        "this runner was built without `{0}`; build it with `cargo build --release -p livewebcam-runner --features {0}`, \
         or choose the device `cpu`"
    )]
    Device(DeviceChoice),
    /// CPUs have no layers in f16.
    #[error("the device `cpu` computes with weights in f32 or bf16; choose `bf16` in place of `f16`")]
    F16OnCpu,
    /// There is no TAESD.
    #[error(
        "there is no TAESD for it; put madebyollin/taesd (for SDXL madebyollin/taesdxl) into a folder `taesd` (`taesdxl`) \
         inside the model's or beside it, or leave taesd away"
    )]
    Taesd,
}

impl LoadOptions {
    /// Whether these are what every model is loaded with where nobody chooses.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks them against what a model says of itself; one that has no choice takes the default only.
    ///
    /// # Errors
    /// The first option that cannot be met.
    pub fn check(&self, choices: Option<&LoadChoices>) -> Result<(), Unloadable> {
        match choices {
            None if self.is_default() => Ok(()),
            None => Err(Unloadable::Fixed),
            Some(choices) if !choices.devices.contains(&self.device) => Err(Unloadable::Device(self.device)),
            Some(_) if (self.device, self.precision) == (DeviceChoice::Cpu, Precision::F16) => {
                Err(Unloadable::F16OnCpu)
            }
            Some(choices) if self.taesd && !choices.taesd => Err(Unloadable::Taesd),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_the_settings_write_them() {
        let options = LoadOptions { device: DeviceChoice::Cuda, precision: Precision::Bf16, taesd: true };
        let json = r#"{"device":"cuda","dtype":"bf16","taesd":true}"#;
        assert_eq!(serde_json::to_string(&options).expect("JSON"), json);
        assert_eq!(serde_json::from_str::<LoadOptions>("{}").expect("defaults"), LoadOptions::default());
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        for device in [DeviceChoice::Cpu, DeviceChoice::Cuda, DeviceChoice::Metal] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
    }

    #[test]
    fn options_that_cannot_be_met_are_told() {
        let choices = LoadChoices { devices: vec![DeviceChoice::Cpu], taesd: false };
        let plain = LoadOptions::default();
        let (cuda, taesd) = (LoadOptions { device: DeviceChoice::Cuda, ..plain }, LoadOptions { taesd: true, ..plain });
        let half = |precision| LoadOptions { precision, ..plain }.check(Some(&choices));
        assert_eq!((half(Precision::Bf16), half(Precision::F16)), (Ok(()), Err(Unloadable::F16OnCpu)));
        assert_eq!(cuda.check(Some(&choices)), Err(Unloadable::Device(DeviceChoice::Cuda)));
        assert_eq!(taesd.check(Some(&choices)), Err(Unloadable::Taesd));
        assert_eq!(taesd.check(Some(&LoadChoices { taesd: true, ..choices })), Ok(()));
        assert_eq!((plain.check(None), taesd.check(None)), (Ok(()), Err(Unloadable::Fixed)));
    }
}
