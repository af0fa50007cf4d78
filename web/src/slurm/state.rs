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

use JobState as S;

/// Every known state as squeue's `%T` and `%t` spell it; some have no short form.
static SPELLINGS: [(JobState, &str, &str); 29] = [
    (S::Pending, "PENDING", "PD"),
    (S::Configuring, "CONFIGURING", "CF"),
    (S::PowerUpNode, "POWER_UP_NODE", ""),
    (S::Running, "RUNNING", "R"),
    (S::Suspended, "SUSPENDED", "S"),
    (S::Stopped, "STOPPED", "ST"),
    (S::Signaling, "SIGNALING", "SI"),
    (S::Resizing, "RESIZING", "RS"),
    (S::Completing, "COMPLETING", "CG"),
    (S::StageOut, "STAGE_OUT", "SO"),
    (S::UpdateDb, "UPDATE_DB", ""),
    (S::Expediting, "EXPEDITING", ""),
    (S::Requeued, "REQUEUED", "RQ"),
    (S::RequeueFed, "REQUEUE_FED", "RF"),
    (S::RequeueHold, "REQUEUE_HOLD", "RH"),
    (S::SpecialExit, "SPECIAL_EXIT", "SE"),
    (S::ResvDelHold, "RESV_DEL_HOLD", "RD"),
    (S::Completed, "COMPLETED", "CD"),
    (S::Cancelled, "CANCELLED", "CA"),
    (S::Failed, "FAILED", "F"),
    (S::Timeout, "TIMEOUT", "TO"),
    (S::OutOfMemory, "OUT_OF_MEMORY", "OOM"),
    (S::NodeFail, "NODE_FAIL", "NF"),
    (S::BootFail, "BOOT_FAIL", "BF"),
    (S::Preempted, "PREEMPTED", "PR"),
    (S::Deadline, "DEADLINE", "DL"),
    (S::LaunchFailed, "LAUNCH_FAILED", ""),
    (S::ReconfigFail, "RECONFIG_FAIL", ""),
    (S::Revoked, "REVOKED", "RV"),
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
            S::Completed
            | S::Cancelled
            | S::Failed
            | S::Timeout
            | S::OutOfMemory
            | S::NodeFail
            | S::BootFail
            | S::Preempted
            | S::Deadline
            | S::LaunchFailed
            | S::ReconfigFail
            | S::Revoked => true,
            S::Pending
            | S::Configuring
            | S::PowerUpNode
            | S::Running
            | S::Suspended
            | S::Stopped
            | S::Signaling
            | S::Resizing
            | S::Completing
            | S::StageOut
            | S::UpdateDb
            | S::Expediting
            | S::Requeued
            | S::RequeueFed
            | S::RequeueHold
            | S::SpecialExit
            | S::ResvDelHold
            | S::Other(_) => false,
        }
    }

    /// What a visitor may read, to stand behind "the job": `the job was cancelled on the cluster`.
    #[must_use]
    pub fn words(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            S::Pending | S::Expediting => "waits for its turn on the cluster",
            S::Configuring => "waits while a compute node is made ready for it",
            S::PowerUpNode => "waits while a compute node is switched on for it",
            S::Running => "runs on the cluster",
            S::Suspended => "was suspended on the cluster and may go on later",
            S::Stopped => "was halted on the cluster and may go on later",
            S::Signaling => "is being sent a signal on the cluster",
            S::Resizing => "is being moved to other resources of the cluster",
            S::Completing | S::StageOut | S::UpdateDb => "is over, and the cluster tidies up behind it",
            S::Requeued | S::RequeueFed => "was put back into the cluster's queue",
            S::RequeueHold | S::SpecialExit | S::ResvDelHold => "is held in the cluster's queue",
            S::Completed => "ended on the cluster without an error",
            S::Cancelled => "was cancelled on the cluster",
            S::Failed => "failed on the cluster",
            S::Timeout => "reached its time limit on the cluster",
            S::OutOfMemory => "needed more memory than the cluster gave it",
            S::NodeFail => "lost its compute node",
            S::BootFail => "lost its compute node while that was starting",
            S::Preempted => "had to make room for another job of the cluster",
            S::Deadline => "could not have ended before its deadline on the cluster",
            S::LaunchFailed => "could not be started on its compute node",
            S::ReconfigFail => "lost its compute node while that was being configured",
            S::Revoked => "was handed over to another cluster",
            S::Other(_) => "is in a state that this server does not know",
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
