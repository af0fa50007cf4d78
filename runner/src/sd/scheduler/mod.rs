//! The noise schedulers: which timesteps a painting goes through, and what a step makes of the network's output. Each file
//! here is the arithmetic of the diffusers class of its name, in f32 where that is in f32.
//!
//! Latents are plain numbers here: a step costs nothing beside the network, and random numbers come from the CPU.

mod betas;
mod clip;
mod ddim;
mod ddpm;
mod deis;
mod dpm_solver;
mod euler;
mod euler_ancestral;
pub(super) mod lcm;
mod multistep;
mod numbers;
mod pndm;
mod sigmas;
mod spacing;
mod unipc;

use std::fmt;
use std::str::FromStr;

use super::config::Config;
use super::error::LoadError;
use super::rng::Generator;

type Result<T> = std::result::Result<T, LoadError>;

/// A noise scheduler during one painting.
pub(super) trait NoiseScheduler {
    /// The timesteps that the painting goes through, the noisiest first. A network sees them as they are.
    fn timesteps(&self) -> &[f32];

    /// Latents with as much noise as they have at the first timestep.
    fn add_noise(&self, latents: &[f32], noise: &[f32]) -> Vec<f32>;

    /// What the network gets to see of the latents at the present step.
    fn scale_input(&self, latents: &[f32]) -> Vec<f32> {
        latents.to_vec()
    }

    /// The latents after the present step, from the network's output at it. Goes on to the next step.
    fn step(&mut self, output: &[f32], latents: &[f32], random: &mut Generator) -> Vec<f32>;
}

/// The noise schedulers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `PNDMScheduler`.
    Pndm,
    /// `DDIMScheduler`.
    Ddim,
    /// `DDPMScheduler`.
    Ddpm,
    /// `EulerDiscreteScheduler`.
    Euler,
    /// `EulerAncestralDiscreteScheduler`.
    EulerAncestral,
    /// `UniPCMultistepScheduler`.
    UniPc,
    /// `DPMSolverMultistepScheduler`.
    DpmSolver,
    /// `DEISMultistepScheduler`.
    Deis,
    /// `LCMScheduler`.
    Lcm,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Pndm,
        Self::Ddim,
        Self::Ddpm,
        Self::Euler,
        Self::EulerAncestral,
        Self::UniPc,
        Self::DpmSolver,
        Self::Deis,
        Self::Lcm,
    ];

    /// The name by which a request chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pndm => "pndm",
            Self::Ddim => "ddim",
            Self::Ddpm => "ddpm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler_a",
            Self::UniPc => "unipc",
            Self::DpmSolver => "dpmpp_2m",
            Self::Deis => "deis",
            Self::Lcm => "lcm",
        }
    }

    /// The name of its diffusers class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Pndm => "PNDMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Ddpm => "DDPMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
            Self::DpmSolver => "DPMSolverMultistepScheduler",
            Self::Deis => "DEISMultistepScheduler",
            Self::Lcm => "LCMScheduler",
        }
    }
}

/// A noise scheduler that a request chose by name: a [`Kind`], and whether its timesteps are spaced from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub kind: Kind,
    /// `timestep_spacing="trailing"`, as `<name>_trailing` asks for it.
    pub trailing: bool,
}

impl Choice {
    /// The configuration that diffusers' `from_config` gives it: keys of the model's scheduler stay as they are, absent ones
    /// take the chosen class's defaults.
    #[must_use]
    pub fn configure(self, model: &Config) -> Config {
        let mut config = model.clone();
        if self.trailing {
            config.set("timestep_spacing", "trailing");
        }
        config
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.name(), if self.trailing { "_trailing" } else { "" })
    }
}

/// A name that no noise scheduler has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no noise scheduler `{0}`; there are {known}, and each of them but lcm with `_trailing`", known = Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownScheduler(String);

impl FromStr for Choice {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownScheduler> {
        let (name, trailing) = text.strip_suffix("_trailing").map_or((text, false), |name| (name, true));
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name && !(trailing && *kind == Kind::Lcm));
        kind.map(|kind| Self { kind, trailing }).ok_or_else(|| UnknownScheduler(text.to_owned()))
    }
}

/// How far a painting goes through a scheduler's timesteps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    /// All but the first `skipped` of `steps`.
    Skipping {
        /// Steps from pure noise.
        steps: usize,
        /// Steps that the frame takes the place of.
        skipped: usize,
    },
    /// All `steps`, chosen below `strength` of the training timesteps: what latent consistency models do.
    Below {
        /// Steps.
        steps: usize,
        /// From 0 to 1.
        strength: f64,
    },
}

/// Sets a scheduler up for one painting.
///
/// # Errors
/// A configuration that is not supported.
pub(super) fn begin(kind: Kind, config: &Config, course: Course) -> Result<Box<dyn NoiseScheduler>> {
    let (steps, skipped) = match course {
        Course::Skipping { steps, skipped } => (steps, skipped),
        Course::Below { steps, .. } => (steps, 0),
    };
    Ok(match kind {
        Kind::Pndm => Box::new(pndm::Pndm::new(config, steps, skipped)?),
        Kind::Ddim => Box::new(ddim::Ddim::new(config, steps, skipped)?),
        Kind::Ddpm => Box::new(ddpm::Ddpm::new(config, steps, skipped)?),
        Kind::Euler => Box::new(euler::Euler::new(config, steps, skipped)?),
        Kind::EulerAncestral => Box::new(euler_ancestral::EulerAncestral::new(config, steps, skipped)?),
        Kind::UniPc => Box::new(unipc::UniPc::new(config, steps, skipped)?),
        Kind::DpmSolver => Box::new(dpm_solver::DpmSolver::new(config, steps, skipped)?),
        Kind::Deis => Box::new(deis::Deis::new(config, steps, skipped)?),
        Kind::Lcm => {
            let strength = if let Course::Below { strength, .. } = course { strength } else { 1.0 };
            Box::new(lcm::Lcm::new(config, steps, skipped, strength)?)
        }
    })
}

/// What the network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prediction {
    /// The noise.
    Epsilon,
    /// The picture.
    Sample,
    /// The velocity between them.
    Velocity,
}

impl Prediction {
    fn read(config: &Config, supported: &[Self]) -> Result<Self> {
        let name = config.text_or("prediction_type", "epsilon")?;
        supported.iter().copied().find(|prediction| prediction.name() == name).ok_or_else(|| {
            let supported: Vec<String> =
                supported.iter().map(|prediction| format!("{:?}", prediction.name())).collect();
            config
                .error("prediction_type", format!("is {name:?}; supported by this scheduler: {}", supported.join(", ")))
        })
    }

    /// The picture in the network's output, where latents are `signal` times the picture and `noise` times noise.
    fn picture(self, signal: f32, noise: f32, output: &[f32], latents: &[f32]) -> Vec<f32> {
        match self {
            Self::Epsilon => numbers::zip(latents, output, |x, e| (x - noise * e) / signal),
            Self::Sample => output.to_vec(),
            Self::Velocity => numbers::zip(latents, output, |x, v| signal * x - noise * v),
        }
    }

    const ALL: [Self; 3] = [Self::Epsilon, Self::Sample, Self::Velocity];

    fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Sample => "sample",
            Self::Velocity => "v_prediction",
        }
    }
}
