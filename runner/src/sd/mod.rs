//! Stable Diffusion from a folder in diffusers' layout, image to image, with diffusers' own pictures: the same folder, frame
//! and seed give what diffusers gives on the CPU, up to the rounding of f32.
//!
//! [`Pipeline::load`] reads a folder; [`Pipeline::img2img`] paints; [`describe`] says what a folder holds without loading
//! it. Nothing here knows of job directories.

mod clip;
mod conditioning;
mod config;
mod describe;
mod device;
mod error;
mod files;
mod folder;
mod index;
mod needed;
mod picture;
mod pipeline;
mod prompts;
mod rng;
mod scheduler;
mod tokenizer;
mod unet;
mod vae;
mod verify;

pub use describe::describe;
pub use error::{LoadError, PaintError, SchedulerError};
pub use files::{Files, check_autoencoder};
pub use folder::{Folder, Keep, WeightFiles};
pub use livewebcam_jobs::{DeviceChoice, LoadOptions, Precision};
pub use needed::needed_tensors;
pub use pipeline::{Img2Img, Painting, Part, Pipeline, Rehearsal, Trace};
pub use rng::Generator;
pub use scheduler::{Choice, Kind, UnknownScheduler};
pub use tokenizer::{Tokenizer, Tokens};
pub use verify::verify;
