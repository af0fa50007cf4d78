//! The whole way on real parts: sshd, a jump host, SFTP, Slurm, the runner. One cluster serves all tests; each has a root
//! of its own on it.

mod cancelling;
mod commands;
mod diffusion;
mod journey;
#[path = "../models.rs"]
mod models;
mod refusals;
mod support;
mod unlucky;
mod warm;
