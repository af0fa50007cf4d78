//! LiveWebcamAI's runner: paints the frames of job directories with a candle model.
//!
//! [`job`] holds the rules of the job directory and knows no model; [`serve`] takes one job after the other from a queue;
//! [`model`] holds the models and knows no job directory. [`fetch`] gets them from the hub, and nothing else talks to a
//! network. The binary wires these together. Nothing here listens on a port or talks to a scheduler.

pub mod cli;
pub mod fetch;
pub mod frame;
mod hash;
pub mod job;
pub mod log;
pub mod model;
pub mod nn;
pub mod picture;
pub mod sd;
pub mod serve;
pub mod threads;
