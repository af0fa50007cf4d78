//! Why a job waits, or ended as it did.

/// Slurm's reason in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What a visitor may read, to stand by itself: `other jobs of the cluster are first in line`.
    pub words: &'static str,
    /// What the operator should change, if the job will never start otherwise.
    pub advice: Option<&'static str>,
}

/// Explains squeue's `%r` for a job that waits or failed; one that went on may still carry why it waited once. What is not known waits in the cluster's queue; the text
/// itself may name nodes and is not for visitors.
#[must_use]
pub fn explain(reason: &str) -> Reason {
    // `ReqNodeNotAvail, UnavailableNodes:n1` and the like carry details behind the code.
    let code = reason.split([',', ' ', ':', '(']).next().unwrap_or_default();
    match code {
        "" | "None" | "WaitingForScheduling" => passing("the cluster's scheduler has yet to look at it"),
        "Resources" | "SchedDefer" | "JobArrayTaskLimit" => passing("all suitable places on the cluster are taken"),
        "Priority" => passing("other jobs of the cluster are first in line"),
        "Prolog" | "Cleaning" | "FedJobLock" | "BurstBufferStageIn" => passing("the cluster is preparing it"),
        "BeginTime" => passing("it may start a little later"),
        "Licenses" => passing("it waits for a licence"),
        "Reservation" => passing("the time that is reserved for it has not come"),
        "Dependency" => passing("it waits for another job"),
        "ReqNodeNotAvail" | "Nodes" | "NodeDown" | "FrontEndDown" | "PowerNotAvail" | "PowerReserved" | "Reserved" => {
            passing("the compute nodes that it needs are away or reserved")
        }
        "PartitionDown" | "PartitionInactive" => stuck(
            "its part of the cluster is switched off",
            "`sinfo` shows the partitions; choose one that is up in `slurm.partition`, or wait for this one",
        ),
        "PartitionConfig" | "PartitionNodeLimit" => stuck(
            "no part of the cluster takes such a job",
            "the partition does not take a job of this size; lower `slurm.cpus`, `slurm.memory` or `slurm.gres`, or \
             change `slurm.partition`",
        ),
        "PartitionTimeLimit" => stuck(
            "it asks for more time than its part of the cluster gives",
            "lower `slurm.time_limit`; `sinfo -o '%P %l'` shows each partition's limit",
        ),
        "BadConstraints" => stuck(
            "the cluster has nothing that fits it",
            "no node has all of `slurm.gres`, `slurm.constraint`, `slurm.cpus` and `slurm.memory`; \
             `sinfo -o '%P %G %f %c %m'` shows what there is",
        ),
        "InvalidAccount" | "AccountNotAllowed" => stuck(
            "the cluster does not accept its account",
            "change `slurm.account`; `sacctmgr show associations user=$USER format=account,partition,qos` shows yours",
        ),
        "InvalidQOS" | "QOSNotAllowed" => stuck(
            "the cluster does not accept its quality of service",
            "change `slurm.qos`; `sacctmgr show associations user=$USER format=account,partition,qos` shows yours",
        ),
        "DependencyNeverSatisfied" => {
            stuck("it waits for a job that cannot come", "take the dependency out of `slurm.directives`")
        }
        "ReservationDeleted" => {
            stuck("what was reserved for it is gone", "take the reservation out of `slurm.directives`, or renew it")
        }
        "JobHeldUser" | "JobHeldAdmin" | "JobHoldMaxRequeue" => stuck(
            "it was put on hold",
            "somebody held the job; `scontrol release` by them lets it go on, or ask the cluster's administrators",
        ),
        "JobLaunchFailure" => stuck(
            "the compute node could not start it",
            "compute nodes must see `cluster.root` under the login node's path, and be able to write there",
        ),
        "SystemFailure" => passing("the cluster had a fault"),
        "NonZeroExitCode" | "RaisedSignal" => passing("its program stopped with an error"),
        "TimeLimit" | "InactiveLimit" | "DeadLine" => passing("its time was up"),
        "OutOfMemory" => stuck("it needed more memory than it got", "raise `slurm.memory`"),
        code => limit(code).unwrap_or(passing("it waits in the cluster's queue")),
    }
}

const fn passing(words: &'static str) -> Reason {
    Reason { words, advice: None }
}

const fn stuck(words: &'static str, advice: &'static str) -> Reason {
    Reason { words, advice: Some(advice) }
}

/// The limits of accounts and qualities of service: well over a hundred codes that tell by their parts what they limit.
fn limit(code: &str) -> Option<Reason> {
    let max_of_account = code.starts_with("Max") && code.ends_with("PerAccount");
    let owner = ["Assoc", "QOS"].iter().find_map(|owner| code.strip_prefix(owner));
    if owner.is_none() && !max_of_account && !matches!(code, "AccountingPolicy" | "MaxMemPerLimit") {
        return None;
    }
    let kind = owner.unwrap_or(code);
    let one_job = ["PerJob", "PerNode"].iter().any(|part| kind.contains(part)) || kind.starts_with("Min");
    Some(if kind.contains("Minutes") || code == "QOSUsageThreshold" {
        stuck(
            "the cluster's time for it is used up",
            "the account's hours are spent; ask for more, or change `slurm.account`",
        )
    } else if one_job || code == "MaxMemPerLimit" || kind.ends_with("TimeLimit") {
        stuck(
            "it asks for more than one job may have",
            "the account or its QOS has limits for each job; lower `slurm.gres`, `slurm.cpus`, `slurm.memory` or \
             `slurm.time_limit`, or change `slurm.qos`",
        )
    } else {
        passing("as much as the account may use at once is in use")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_needs_the_operator() {
        for reason in [
            "",
            "None",
            "WaitingForScheduling",
            "Resources",
            "Priority",
            "ReqNodeNotAvail, UnavailableNodes:n[1-2]",
            "ReqNodeNotAvail(Unavailable:n1)",
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "QOSMaxJobsPerUserLimit",
            "AssocGrpGRES",
            "AssocMaxJobsLimit",
            "QOSGrpCpuLimit",
            "MaxJobsPerAccount",
            "AssociationJobLimit",
            "a reason of tomorrow",
        ] {
            assert_eq!(explain(reason).advice, None, "{reason}");
        }
        for (reason, setting) in [
            ("PartitionTimeLimit", "slurm.time_limit"),
            ("PartitionConfig", "slurm.partition"),
            ("BadConstraints", "slurm.gres"),
            ("InvalidAccount", "slurm.account"),
            ("InvalidQOS", "slurm.qos"),
            ("QOSMaxGRESPerJob", "slurm.gres"),
            ("QOSMaxWallDurationPerJobLimit", "slurm.time_limit"),
            ("QOSMinGRES", "slurm.qos"),
            ("AssocMaxCpuPerNode", "slurm.cpus"),
            ("AssocGrpCPUMinutesLimit", "slurm.account"),
            ("DependencyNeverSatisfied", "slurm.directives"),
            ("JobLaunchFailure", "cluster.root"),
            ("OutOfMemory", "slurm.memory"),
        ] {
            let advice = explain(reason).advice.unwrap_or_else(|| panic!("{reason} needs the operator"));
            assert!(advice.contains(setting), "{reason}: {advice}");
        }
    }

    #[test]
    fn a_visitor_reads_neither_nodes_nor_codes() {
        for reason in
            ["ReqNodeNotAvail, UnavailableNodes:gpu17", "Held by root@gpu17 for maintenance", "QOSMaxJobsPerUserLimit"]
        {
            let words = explain(reason).words;
            assert!(!words.contains("gpu17") && !words.contains("QOS"), "{words}");
        }
        assert_eq!(explain("QOSMaxJobsPerUserLimit").words, "as much as the account may use at once is in use");
    }
}
