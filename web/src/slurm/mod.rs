//! Every word of Slurm's: the commands as they are called and their answers as they are read.
//!
//! Nothing here runs a command, and nothing outside this module knows what Slurm calls a thing. What is parsed was
//! captured from Slurm 22.05, or stands in its message catalogue.

mod commands;
mod queue;
mod reason;
mod refusal;
mod state;
mod submission;

pub use commands::{sbatch, sbatch_test_only, scancel, shell_line, shell_quote, squeue, squeue_named};
pub use queue::Queue;
pub use reason::explain;
pub use state::JobState;
pub use submission::{SubmitError, read_submission, read_test_only};
