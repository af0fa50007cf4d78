//! The operator's command line: each command's work. They print to standard output; errors go up to `main`.

pub mod check;
pub mod deploy;
pub mod jobs;
pub mod submit;
