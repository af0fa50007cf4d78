//! LiveWebcamAI's runner: paints the frame of a job directory with a candle model and leaves again.
//!
//! [`job`] holds the rules of the job directory and knows no model; [`model`] holds the models and knows no job directory.
//! [`fetch`] gets
//! them from the hub, and nothing else talks to a network. The binary wires these together. Nothing here listens on a port or
//! talks to a scheduler.

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
pub mod threads;
