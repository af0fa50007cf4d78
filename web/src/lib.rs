//! The frontend of LiveWebcamAI: takes frames from browsers and has a cluster paint them.
//!
//! Dependencies point one way: routes → dispatch → transport and scheduler → the contract in `livewebcam-jobs`.

pub mod application;
mod assets;
mod catalog;
mod dispatch;
mod frame;
mod guard;
mod inspect;
mod languages;
mod metrics;
pub mod operator;
mod routes;
mod scheduler;
pub mod settings;
mod slurm;
pub mod telemetry;
mod text;
mod transport;

/// This host's name, for people.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
