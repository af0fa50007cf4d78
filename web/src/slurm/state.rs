//! The states of a job.

use std::borrow::Cow;
use std::fmt;

/// Where Slurm says that a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waits for its turn, or for resources.
    Pending,
    /// Has resources that are being made ready.
    Configuring,
    /// Has resources that are being powered up.
    PowerUpNode,
    /// Runs.
    Running,
    /// Was halted and gave its cores away.
    Suspended,
    /// Was halted and keeps its cores.
    Stopped,
    /// Is being sent a signal.
    Signaling,
    /// Changes its size.
    Resizing,
    /// Is over, save for what Slurm still does on the node.
    Completing,
    /// Has its files moved out of a burst buffer.
    StageOut,
    /// Is being written to the accounting database.
    UpdateDb,
    /// Is the next to be looked at, before all others.
    Expediting,
    /// Waits once more after a first start.
    Requeued,
    /// Waits once more, because of a federation.
    RequeueFed,
    /// Was held after a first start.
    RequeueHold,
    /// Was held by its own exit code.
    SpecialExit,
    /// Was held because its reservation was deleted.
    ResvDelHold,
    /// Ended with exit code 0.
    Completed,
    /// Was cancelled, by its user or an administrator.
    Cancelled,
    /// Ended with another exit code, or could not start.
    Failed,
    /// Reached its time limit.
    Timeout,
    /// Used more memory than it had asked for.
    OutOfMemory,
    /// Lost a node.
    NodeFail,
    /// Never got its node booted.
    BootFail,
    /// Made room for another job.
    Preempted,
    /// Could not have ended before its deadline.
    Deadline,
    /// Could not be started on its node.
    LaunchFailed,
    /// Could not have its node configured.
    ReconfigFail,
    /// Was started by another cluster of the federation.
    Revoked,
    /// A state that this version does not know, as Slurm spells it.
    Other(String),
}

/// Every known state as squeue's `%T` and `%t` spell it; some have no short form.
static SPELLINGS: [(JobState, &str, &str); 29] = [
    (JobState::Pending, "PENDING", "PD"),
    (JobState::Configuring, "CONFIGURING", "CF"),
    (JobState::PowerUpNode, "POWER_UP_NODE", ""),
    (JobState::Running, "RUNNING", "R"),
    (JobState::Suspended, "SUSPENDED", "S"),
    (JobState::Stopped, "STOPPED", "ST"),
    (JobState::Signaling, "SIGNALING", "SI"),
    (JobState::Resizing, "RESIZING", "RS"),
    (JobState::Completing, "COMPLETING", "CG"),
    (JobState::StageOut, "STAGE_OUT", "SO"),
    (JobState::UpdateDb, "UPDATE_DB", ""),
    (JobState::Expediting, "EXPEDITING", ""),
    (JobState::Requeued, "REQUEUED", "RQ"),
    (JobState::RequeueFed, "REQUEUE_FED", "RF"),
    (JobState::RequeueHold, "REQUEUE_HOLD", "RH"),
    (JobState::SpecialExit, "SPECIAL_EXIT", "SE"),
    (JobState::ResvDelHold, "RESV_DEL_HOLD", "RD"),
    (JobState::Completed, "COMPLETED", "CD"),
    (JobState::Cancelled, "CANCELLED", "CA"),
    (JobState::Failed, "FAILED", "F"),
    (JobState::Timeout, "TIMEOUT", "TO"),
    (JobState::OutOfMemory, "OUT_OF_MEMORY", "OOM"),
    (JobState::NodeFail, "NODE_FAIL", "NF"),
    (JobState::BootFail, "BOOT_FAIL", "BF"),
    (JobState::Preempted, "PREEMPTED", "PR"),
    (JobState::Deadline, "DEADLINE", "DL"),
    (JobState::LaunchFailed, "LAUNCH_FAILED", ""),
    (JobState::ReconfigFail, "RECONFIG_FAIL", ""),
    (JobState::Revoked, "REVOKED", "RV"),
];

impl JobState {
    /// Reads `RUNNING`, `R`, or `CANCELLED by 1000`; every text is a state.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let word =
            text.split(|c: char| c.is_whitespace() || c == '+').find(|word| !word.is_empty()).unwrap_or_default();
        let upper = word.to_ascii_uppercase();
        let known = SPELLINGS.iter().find(|(_, long, short)| !word.is_empty() && (upper == *long || upper == *short));
        known.map_or_else(|| Self::Other(text.trim().to_owned()), |(state, ..)| state.clone())
    }

    /// Whether the job will not run any more. An unknown state is not taken for an end: a deadline is.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Completed
            | Self::Cancelled
            | Self::Failed
            | Self::Timeout
            | Self::OutOfMemory
            | Self::NodeFail
            | Self::BootFail
            | Self::Preempted
            | Self::Deadline
            | Self::LaunchFailed
            | Self::ReconfigFail
            | Self::Revoked => true,
            Self::Pending
            | Self::Configuring
            | Self::PowerUpNode
            | Self::Running
            | Self::Suspended
            | Self::Stopped
            | Self::Signaling
            | Self::Resizing
            | Self::Completing
            | Self::StageOut
            | Self::UpdateDb
            | Self::Expediting
            | Self::Requeued
            | Self::RequeueFed
            | Self::RequeueHold
            | Self::SpecialExit
            | Self::ResvDelHold
            | Self::Other(_) => false,
        }
    }

    /// What a visitor may read, to stand behind "the job": `the job was cancelled on the cluster`.
    #[must_use]
    pub fn words(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Pending | Self::Expediting => "waits for its turn on the cluster",
            Self::Configuring => "waits while a compute node is made ready for it",
            Self::PowerUpNode => "waits while a compute node is switched on for it",
            Self::Running => "runs on the cluster",
            Self::Suspended => "was suspended on the cluster and may go on later",
            Self::Stopped => "was halted on the cluster and may go on later",
            Self::Signaling => "is being sent a signal on the cluster",
            Self::Resizing => "is being moved to other resources of the cluster",
            Self::Completing | Self::StageOut | Self::UpdateDb => "is over, and the cluster tidies up behind it",
            Self::Requeued | Self::RequeueFed => "was put back into the cluster's queue",
            Self::RequeueHold | Self::SpecialExit | Self::ResvDelHold => "is held in the cluster's queue",
            Self::Completed => "ended on the cluster without an error",
            Self::Cancelled => "was cancelled on the cluster",
            Self::Failed => "failed on the cluster",
            Self::Timeout => "reached its time limit on the cluster",
            Self::OutOfMemory => "needed more memory than the cluster gave it",
            Self::NodeFail => "lost its compute node",
            Self::BootFail => "lost its compute node while that was starting",
            Self::Preempted => "had to make room for another job of the cluster",
            Self::Deadline => "could not have ended before its deadline on the cluster",
            Self::LaunchFailed => "could not be started on its compute node",
            Self::ReconfigFail => "lost its compute node while that was being configured",
            Self::Revoked => "was handed over to another cluster",
            Self::Other(_) => "is in a state that this server does not know",
        })
    }
}

impl fmt::Display for JobState {
    /// As squeue's `%T` spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            known => f.write_str(SPELLINGS.iter().find(|(state, ..)| state == known).map_or("", |(_, long, _)| long)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_known_by_both_spellings() {
        for (state, long, short) in &SPELLINGS {
            assert_eq!(JobState::parse(long), *state);
            assert!(short.is_empty() || JobState::parse(short) == *state, "{short}");
            assert_eq!(state.to_string(), *long);
            assert!(!state.words().is_empty());
        }
        let mut spellings: Vec<&str> = SPELLINGS.iter().flat_map(|(_, long, short)| [*long, *short]).collect();
        spellings.retain(|spelling| !spelling.is_empty());
        spellings.sort_unstable();
        assert!(spellings.windows(2).all(|pair| pair[0] != pair[1]), "no spelling stands for two states");
    }

    #[test]
    fn what_surrounds_a_state_does_not_matter() {
        assert_eq!(JobState::parse("CANCELLED by 1000"), JobState::Cancelled);
        assert_eq!(JobState::parse(" CANCELLED+ "), JobState::Cancelled);
        assert_eq!(JobState::parse("running"), JobState::Running);
    }

    #[test]
    fn an_unknown_state_keeps_its_text_and_ends_nothing() {
        let state = JobState::parse("HIBERNATING now");
        assert_eq!(state, JobState::Other("HIBERNATING now".to_owned()));
        assert_eq!(state.to_string(), "HIBERNATING now");
        assert!(!state.is_terminal());
        assert!(!JobState::parse("").is_terminal());
    }

    #[test]
    fn jobs_that_are_over_are_told_from_those_that_are_not() {
        let over = SPELLINGS.iter().filter(|(state, ..)| state.is_terminal()).map(|(_, long, _)| *long);
        assert_eq!(
            over.collect::<Vec<_>>(),
            [
                "COMPLETED",
                "CANCELLED",
                "FAILED",
                "TIMEOUT",
                "OUT_OF_MEMORY",
                "NODE_FAIL",
                "BOOT_FAIL",
                "PREEMPTED",
                "DEADLINE",
                "LAUNCH_FAILED",
                "RECONFIG_FAIL",
                "REVOKED"
            ]
        );
    }
}
