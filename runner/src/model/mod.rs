//! The models: what they take, what they give, and how a painting is watched while it is made.

mod catalogue;
mod diffusion;
mod error;
mod plan;
mod starter;

use std::time::Instant;

use image::RgbImage;
use livewebcam_jobs::{Clamped, InvalidBlend, Parameters, Progress};

pub use catalogue::{Catalogue, FindError, Installed};
pub use error::{FolderError, LoadError, PaintError, PlanError};
pub use plan::Plan;
use starter::Starter;

use crate::sd::{Pipeline, Trace};

/// A model with its weights.
pub struct Model {
    name: String,
    network: Network,
}

enum Network {
    Starter(Box<Starter>),
    Diffusion(Box<Pipeline>),
}

/// A finished painting.
#[derive(Clone, Debug)]
pub struct Painting {
    /// Of the frame's size.
    pub picture: RgbImage,
    /// How long each part took, in milliseconds.
    pub spent: Spent,
    /// The parameters as they were used.
    pub parameters: Parameters,
    /// Numbers of the plan that were changed because nothing would have been painted with them.
    pub clamped: Vec<Clamped>,
    /// What came up while it was painted, in sentences for whoever asked.
    pub warnings: Vec<String>,
    /// The latents after each step, where the plan asks for them and the model has any.
    pub trace: Option<Trace>,
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
pub trait Watch: Send {
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

impl Model {
    /// Paints `frame` with parameters that [`Plan::new`] made for this model.
    ///
    /// # Errors
    /// See [`PaintError`].
    pub fn paint(&self, frame: &RgbImage, plan: &Plan, watch: &mut dyn Watch) -> Result<Painting, PaintError> {
        let started = Instant::now();
        let parameters = &plan.parameters;
        match &self.network {
            Network::Starter(network) => {
                let style = parameters.style.as_ref().ok_or(InvalidBlend::Empty);
                let shares = style.and_then(|style| style.weights(&starter::styles())).map_err(PlanError::Style)?;
                let picture = network.paint(frame, &shares, parameters.strength.unwrap_or(1.0), watch)?;
                let spent = Spent { paint_ms: milliseconds(started), ..Spent::default() };
                let parameters = parameters.clone();
                Ok(Painting { picture, spent, parameters, clamped: Vec::new(), warnings: Vec::new(), trace: None })
            }
            Network::Diffusion(pipeline) => diffusion::paint(pipeline, &self.name, frame, plan, watch),
        }
    }
}

/// Milliseconds since `started`, to three places: people read them.
#[must_use]
pub fn milliseconds(started: Instant) -> f64 {
    three_places(started.elapsed().as_secs_f64() * 1e3)
}

fn three_places(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
