//! What a failed sbatch means, by the words that Slurm uses for it.
//!
//! The dangerous mistake is to take an accepted job for a refused one and to submit it again. sbatch reports a
//! controller that was too slow to answer in the same way as one that said no, so the words decide: a connection that
//! never came about carried no job; one that broke or fell silent may have.

/// What follows for a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No job, now or later; what to change.
    Refused(&'static str),
    /// No job now; what to do if it stays like this.
    Busy(&'static str),
    /// A job or not.
    Unknown,
}

use Verdict::{Busy, Refused, Unknown};

/// Judges a message of sbatch's and its exit code.
pub(super) fn judge(code: Option<i32>, message: &str) -> Verdict {
    match code {
        Some(126 | 127) => return Refused(NOT_FOUND),
        // 255 is what sbatch itself exits with over its arguments; the others stand for signals.
        None | Some(128..=254) => return Unknown,
        _ => {}
    }
    let message = message.to_lowercase();
    let rule = RULES.iter().find(|(needles, _)| needles.iter().any(|needle| message.contains(needle)));
    rule.map_or(Unknown, |(_, verdict)| *verdict)
}

const NOT_FOUND: &str = "sbatch is not in the PATH of a shell without a terminal on the login node; extend PATH in \
                         `~/.bashrc` above the line that leaves it for such shells";
const PARTITION: &str = "set `slurm.partition` to one that `sinfo -s` lists and this account may use";
const ACCOUNT: &str =
    "set `slurm.account` to one that `sacctmgr show associations user=$USER format=account,partition,qos` lists";
const QOS: &str =
    "set `slurm.qos` to one that `sacctmgr show associations user=$USER format=account,partition,qos` lists";
const GRES: &str = "set `slurm.gres` to what `sinfo -o '%P %G'` lists for the partition";
const CONSTRAINT: &str = "set `slurm.constraint` to features that `sinfo -o '%P %f'` lists for the partition";
const MEMORY: &str = "set `slurm.memory` to something like `8G` that `sinfo -o '%P %m'` (in MB) allows";
const CPUS: &str = "set `slurm.cpus` to what `sinfo -o '%P %c'` allows";
const TIME: &str = "set `slurm.time_limit` to something like `00:05:00` that `sinfo -o '%P %l'` allows";
const NODE: &str = "no node of the partition has all of `slurm.gres`, `slurm.constraint`, `slurm.cpus` and \
                    `slurm.memory`; `sinfo -o '%P %G %f %c %m'` lists what there is";
const DIRECTIVES: &str = "correct or remove the option in `slurm.directives`";
const SCRIPT: &str = "the login node does not read the script as it was written; `cluster.root` must name the same \
                      folder for the frontend and for the login node";
const CONFIGURATION: &str = "Slurm does not find its configuration in a shell without a terminal; set SLURM_CONF there \
                             in `~/.bashrc`, above the line that leaves it for such shells";
const SITE: &str = "the cluster's own rules refused it, its message says which; change the settings in `[slurm]`";
const LIMITS: &str = "the account or its QOS limits each job; lower `slurm.time_limit`, `slurm.gres`, `slurm.cpus` or \
                      `slurm.memory`, or change `slurm.qos`";
const SUBMIT_LIMIT: &str = "as many jobs as the account may have are queued; wait, lower `max_in_flight`, or check \
                            that `slurm.time_limit`, `slurm.gres` and `slurm.cpus` are within the limits of the QOS";
const CONTROLLER: &str = "if it stays like this, ask the cluster's administrators whether Slurm is up";

/// Words in lower case, and what they mean. The first rule that fits decides, so what leaves a job's fate open comes
/// first, and the particular before the general.
const RULES: &[(&[&str], Verdict)] = &[
    (
        &[
            "socket timed out",
            "timed out",
            "(send failure)",
            "(receive failure)",
            "(shutdown failure)",
            "zero bytes were transmitted",
            "unexpected message received",
            "connection reset",
            "broken pipe",
            "header lengths are longer",
            "zero length message",
            "message length < 0",
            "failed to send entire message",
            "shutdown failure",
        ],
        Unknown,
    ),
    (
        &[
            "unable to contact slurm controller",
            "communication connection failure",
            "connection refused",
            "no route to host",
            "standby mode",
            "temporarily un",
            "munge",
            "protocol authentication error",
            "prologslurmctld is still running",
            "try again",
            "error writing script/environment",
            "maintenance reservation",
        ],
        Busy(CONTROLLER),
    ),
    (&["partition not available", "partition configuration not available now"], Busy(PARTITION)),
    (&["reservation is in use", "reservation not usable now"], Busy(DIRECTIVES)),
    (&["submitjob"], Busy(SUBMIT_LIMIT)),
    (&["perjob", "pernode", "walldur", "maxmemperlimit", "qosmin", "minutes"], Refused(LIMITS)),
    (&["job violates accounting/qos policy"], Busy(SUBMIT_LIMIT)),
    (&["account or account/partition combination", "invalid account"], Refused(ACCOUNT)),
    (&["partition"], Refused(PARTITION)),
    (&["qos"], Refused(QOS)),
    (&["gres"], Refused(GRES)),
    (&["feature", "--constraint", "knl"], Refused(CONSTRAINT)),
    (&["memory", "--mem"], Refused(MEMORY)),
    (&["time limit", "--time"], Refused(TIME)),
    (&["cpu", "more processors requested", "more tasks than available", "threads per core"], Refused(CPUS)),
    (&["node configuration is not available", "node count specification", "node not available"], Refused(NODE)),
    (
        &[
            "reservation",
            "license",
            "wckey",
            "node name",
            "nodes not in",
            "dependency",
            "array",
            "unrecognized option",
            "ambiguous",
            "requires an argument",
            "invalid directive",
            "invalid argument",
            "invalid --",
            "--cluster",
            "burst buffer",
            "tres",
        ],
        Refused(DIRECTIVES),
    ),
    (&["unable to open file", "batch script", "parameter too long", "unable to resolve path"], Refused(SCRIPT)),
    (&["configuration source", "configuration file", "incompatible versions"], Refused(CONFIGURATION)),
    (
        &[
            "unspecified error",
            "not permitted",
            "denied",
            "not supported",
            "presently disabled",
            "only batch jobs",
            "plugin",
            "specification invalid",
            "invalid",
        ],
        Refused(SITE),
    ),
];
