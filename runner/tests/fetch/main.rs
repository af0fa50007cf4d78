//! `livewebcam-runner fetch`: the real binary against a server that speaks the hub's protocol.

mod breaks;
mod hub;
mod installs;
mod mends;
mod protocol;
mod refusals;
mod support;
