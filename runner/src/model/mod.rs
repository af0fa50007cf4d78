//! The models: what they take, what they give, and how a painting is watched while it is made.

mod catalogue;
mod plan;
mod starter;

use std::time::Instant;

use image::RgbImage;
use livewebcam_jobs::{InvalidBlend, ModelInfo, Progress};

pub use catalogue::{Catalogue, FindError};
pub use plan::Plan;
use starter::Starter;

/// A model with its weights.
#[derive(Debug)]
pub struct Model {
    info: ModelInfo,
    network: Network,
}

#[derive(Debug)]
enum Network {
    Starter(Starter),
}

/// A finished painting.
#[derive(Clone, Debug)]
pub struct Painting {
    /// Of the frame's size.
    pub picture: RgbImage,
    /// How long each part took, in milliseconds.
    pub spent: Spent,
}

/// How long the parts of a painting took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Encoding prompt and frame.
    pub encode_ms: f64,
    /// All else.
    pub paint_ms: f64,
    /// Decoding latents.
    pub decode_ms: f64,
}

/// What is told how far a painting is, and can end it.
pub trait Watch {
    /// A new phase or a finished step.
    ///
    /// # Errors
    /// The painting is to end here.
    fn progress(&mut self, progress: Progress) -> Result<(), Interrupted>;

    /// Between two parts of one step.
    ///
    /// # Errors
    /// The painting is to end here.
    fn check(&mut self) -> Result<(), Interrupted>;
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&mut self, _: Progress) -> Result<(), Interrupted> {
        Ok(())
    }

    fn check(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// Nobody wants the painting any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody wants the painting any more")]
pub struct Interrupted;

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The listing says why.
    #[error("model `{model}` cannot paint: {reason}")]
    Broken {
        /// Its full name.
        model: String,
        /// From the listing.
        reason: String,
    },
    /// Its weights are not what its network needs.
    #[error("the weights of model `{model}` cannot be loaded")]
    Weights {
        /// Its full name.
        model: String,
        /// What candle says.
        source: candle_core::Error,
    },
}

/// A painting that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    /// The style is none of the model's.
    #[error(transparent)]
    Style(#[from] InvalidBlend),
    /// The [`Watch`] ended it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The arithmetic failed.
    #[error("the model could not compute the painting")]
    Compute(#[from] candle_core::Error),
}

impl Model {
    fn starter() -> Result<Self, LoadError> {
        let info = starter::info();
        match Starter::load() {
            Ok(network) => Ok(Self { info, network: Network::Starter(network) }),
            Err(source) => Err(LoadError::Weights { model: info.name, source }),
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Paints `frame` with parameters that [`Plan::new`] made for this model.
    ///
    /// # Errors
    /// See [`PaintError`].
    pub fn paint(&self, frame: &RgbImage, plan: &Plan, watch: &mut dyn Watch) -> Result<Painting, PaintError> {
        let started = Instant::now();
        let parameters = &plan.parameters;
        match &self.network {
            Network::Starter(network) => {
                let style = parameters.style.as_ref().ok_or(InvalidBlend::Empty)?;
                let shares = style.weights(&self.info.controls.styles)?;
                let picture = network.paint(frame, &shares, parameters.strength.unwrap_or(1.0), watch)?;
                let paint_ms = milliseconds(started);
                Ok(Painting { picture, spent: Spent { paint_ms, ..Spent::default() } })
            }
        }
    }
}

/// Milliseconds since `started`, to three places: people read them.
#[must_use]
pub fn milliseconds(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
