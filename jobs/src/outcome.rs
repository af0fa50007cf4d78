//! What the parties write about a job: submission, claim, progress and, last, the result.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BatchJob, LoadOptions, Parameters, RunnerId};

/// `submission.json`: the scheduler's side of a job or of a warm runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// `process` or `slurm`.
    pub scheduler: String,
    /// The unique job name, by which a submission with an unknown outcome is found again.
    pub job_name: String,
    /// Slurm's job id or a process id; `unknown` where the scheduler's answer was lost.
    pub scheduler_job_id: String,
}

impl Submission {
    /// What is written down where the scheduler's answer was lost.
    pub const UNKNOWN: &str = "unknown";

    /// The record of a batch job.
    #[must_use]
    pub fn new(scheduler: &str, batch_job: BatchJob, scheduler_job_id: String) -> Self {
        Self { scheduler: scheduler.to_owned(), job_name: batch_job.to_string(), scheduler_job_id }
    }
}

/// Who wrote an exclusive file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "by")]
pub enum Author {
    /// A runner.
    Runner {
        /// Name of the host that it runs on.
        host: String,
        /// Its process id there.
        pid: u32,
        /// Slurm's job id, if it runs in one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slurm_job_id: Option<String>,
        /// Which warm runner, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        runner: Option<RunnerId>,
    },
    /// A frontend.
    Frontend {
        /// Its instance id.
        instance: String,
    },
}

/// `claim.json`: who paints. A frontend claims a job to keep everybody else from painting it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who won.
    #[serde(flatten)]
    pub author: Author,
    /// A random number of the claimant's, by which it knows its own claim again.
    pub nonce: String,
}

/// A part of the runner's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading the model's weights.
    Load,
    /// Encoding the prompt and the frame.
    Encode,
    /// Denoising, or the one pass of a network without steps.
    Paint,
    /// Decoding latents to pixels.
    Decode,
    /// Encoding and writing `output.png`.
    Write,
}

/// `progress.json`: how far the painting is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the runner is at.
    pub phase: Phase,
    /// Steps finished, of `steps`.
    pub step: u32,
    /// Steps in all; 1 for a network without steps.
    pub steps: u32,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `output.png` is there.
    Done,
    /// It failed; the result says why.
    Failed,
    /// Nobody wanted it any more.
    Cancelled,
}

/// `result.json`: how the job ended. Written exclusively, after every other file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Who says so.
    pub author: Author,
    /// The installed model that painted, or should have.
    pub model: String,
    /// The painting; present exactly where `status` is [`Status::Done`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// Why not; present exactly where `status` is not [`Status::Done`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The parameters as they were used, with the defaults filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// How the model was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<LoadOptions>,
    /// Numbers of the request that were changed because nothing could be painted with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clamped: Vec<Clamped>,
    /// How long each part took, on the runner's clock.
    #[serde(default)]
    pub timings: Timings,
    /// What the visitor should know (a prompt that was cut, say).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What `output.png` must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// Why a job has no painting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which part of the journey.
    pub stage: Stage,
    /// One sentence that a visitor may read: no path, user or host in it.
    pub reason: String,
    /// The whole story, for the operator.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether the runner gave the frame up unpainted because it had to leave, so that another one should paint it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handed_back: bool,
}

impl Failure {
    /// A failure that the job itself met.
    #[must_use]
    pub fn new(stage: Stage, reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { stage, reason: reason.into(), detail: detail.into(), handed_back: false }
    }
}

/// A part of a frame's journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The frontend reads the visitor's frame.
    Validate,
    /// The frontend puts the job directory together.
    Stage,
    /// The frontend hands the job to the scheduler.
    Submit,
    /// The frontend waits for the result.
    Wait,
    /// The runner reads the request and the frame.
    Read,
    /// The runner loads the model.
    Load,
    /// The runner paints.
    Paint,
    /// The runner writes `output.png`.
    Write,
    /// The frontend fetches `output.png`.
    Retrieve,
}

/// Durations in milliseconds, all measured by one process on one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// Reading the model's weights.
    pub load_ms: f64,
    /// Encoding the prompt and the frame.
    pub encode_ms: f64,
    /// From the decoded frame to the finished pixels, without `encode_ms` and `decode_ms`.
    pub paint_ms: f64,
    /// Decoding latents.
    pub decode_ms: f64,
    /// Encoding and writing `output.png`.
    pub write_ms: f64,
    /// From the start of the process (or, for a warm runner, of the claim) to just before `result.json`.
    pub total_ms: f64,
}

/// A number that was out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamped {
    /// The form field.
    pub field: String,
    /// What was asked.
    pub from: String,
    /// What was used.
    pub to: String,
}

impl Clamped {
    /// Adds later changes to earlier ones: one entry for each field, from what was asked first to what is used last.
    #[must_use]
    pub fn joined(mut earlier: Vec<Self>, later: impl IntoIterator<Item = Self>) -> Vec<Self> {
        for change in later {
            match earlier.iter_mut().find(|known| known.field == change.field) {
                Some(known) => known.to = change.to,
                None => earlier.push(change),
            }
        }
        earlier.retain(|change| change.from != change.to);
        earlier
    }
}

impl fmt::Display for Clamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}->{}", self.field, self.from, self.to)
    }
}

/// `frontend.json`: which frontend serves a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    /// A random id of the running process.
    pub instance: String,
    /// Name of its host, for people.
    pub host: String,
    /// Its process id there, for people.
    pub pid: u32,
    /// Grows with every heartbeat.
    pub sequence: u64,
}

/// Where a job stands, read off its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody has claimed it.
    Queued,
    /// Claimed, and no result yet.
    Running,
    /// There is a result.
    Concluded(Status),
}

impl State {
    /// The rule: a result decides; else a claim means running; else it is queued.
    #[must_use]
    pub fn of(claimed: bool, outcome: Option<Status>) -> Self {
        match (outcome, claimed) {
            (Some(status), _) => Self::Concluded(status),
            (None, true) => Self::Running,
            (None, false) => Self::Queued,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Concluded(Status::Done) => "done",
            Self::Concluded(Status::Failed) => "failed",
            Self::Concluded(Status::Cancelled) => "cancelled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_field_become_one() {
        let change = |field: &str, from: &str, to: &str| Clamped {
            field: field.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let painted = vec![change("steps", "4", "10"), change("strength", "0", "0.01")];
        let joined = Clamped::joined(vec![change("steps", "9", "4")], painted.clone());
        assert_eq!(joined, [change("steps", "9", "10"), change("strength", "0", "0.01")]);
        let back_again = Clamped::joined(vec![change("steps", "10", "4")], painted);
        assert_eq!(back_again, [change("strength", "0", "0.01")]);
    }
}
