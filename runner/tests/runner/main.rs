//! The runner as its users meet it: pictures in and out, and the real binary on real job directories.

mod claims;
mod command_line;
mod conclusions;
mod diffusion;
mod kept;
mod painting;
mod requests;
mod serving;
mod support;
mod warm_models;
