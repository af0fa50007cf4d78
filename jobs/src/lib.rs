//! The contract of LiveWebcamAI's job directories: what every file and marker is called, what is in it, and the
//! state that follows from it. The frontend and the runner share nothing else.
//!
//! Names and shapes are plain data. The two operations that the contract stands on, an atomic write and an exclusive
//! one, are in [`local`] for whoever has the tree mounted; over SFTP the frontend does the same in its own transport.
//! There is no async code, no SSH and no model in this crate.

pub mod batch_script;
mod heartbeat;
mod hub_name;
mod id;
mod layout;
mod loading;
pub mod local;
mod model;
mod outcome;
mod request;
mod style;

pub use batch_script::BatchJob;
pub use heartbeat::{Heartbeat, RunnerState};
pub use hub_name::{HubName, InvalidHubName};
pub use id::{InvalidJobId, InvalidRunnerId, JobId, RunnerId};
pub use layout::{JobDir, JobFile, Marker, Root, RunnerDir, RunnerFile, model_key};
pub use loading::{DeviceChoice, LoadChoices, LoadOptions, Precision, Unloadable};
pub use model::{Bounds, Controls, FrameSize, ModelInfo, Style};
pub use outcome::{
    Author, Claim, Clamped, Failure, Frontend, Outcome, Output, Phase, Progress, Stage, State, Status, Submission,
    Timings,
};
pub use request::{Parameters, REQUEST_VERSION, Request};
pub use style::{Blend, InvalidBlend};
