//! What became of an sbatch: a job, a refusal, or nobody knows.

use super::refusal::{Verdict, judge};
use crate::text::printable;

/// A job that Slurm has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Slurm's number for it.
    pub slurm_job_id: String,
}

/// A submission that gave no job number. The messages are the operator's; [`SubmitError::for_visitor`] is the visitor's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is no job, and the same submission would be refused again.
    #[error("sbatch refused the job ({message}); {advice}")]
    Refused {
        /// What sbatch said.
        message: String,
        /// What to change.
        advice: &'static str,
    },
    /// There is no job, but the same submission may well be accepted later.
    #[error("the cluster takes no job at the moment ({message}); {advice}")]
    Busy {
        /// What sbatch said.
        message: String,
        /// What to do if it stays like this.
        advice: &'static str,
    },
    /// The answer was lost: there may be a job or not. Only squeue can tell, by the job's name.
    #[error("sbatch's answer was lost, the job may run all the same ({message})")]
    Unknown {
        /// What is known.
        message: String,
    },
}

impl SubmitError {
    /// One sentence for the visitor, without anything of the cluster's.
    #[must_use]
    pub fn for_visitor(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "the cluster refused the job; its operator has to change a setting",
            Self::Busy { .. } => "the cluster takes no job at the moment; try again soon",
            Self::Unknown { .. } => "the cluster did not say whether it took the job",
        }
    }
}

/// Reads the answer of [`super::sbatch`]. `code` is its exit code, if it came to one.
///
/// # Errors
/// See [`SubmitError`]. What is not understood is [`SubmitError::Unknown`]: to take it for a refusal might give two jobs.
pub fn read_submission(code: Option<i32>, stdout: &str, stderr: &str) -> Result<Submitted, SubmitError> {
    if code != Some(0) {
        return Err(failure(code, stderr));
    }
    // Wrappers and site plugins print before it, seldom behind it.
    let slurm_job_id = stdout.lines().rev().find_map(job_number).map(str::to_owned);
    slurm_job_id.map(|slurm_job_id| Submitted { slurm_job_id }).ok_or_else(|| SubmitError::Unknown {
        message: format!("sbatch exited with 0 and printed no job number but {:?}", shortened(stdout)),
    })
}

/// Reads the answer of [`super::sbatch_test_only`]: a sentence about when and where the job would start.
///
/// # Errors
/// See [`SubmitError`]; nothing was submitted in any case.
pub fn read_test_only(code: Option<i32>, stderr: &str) -> Result<String, SubmitError> {
    if code != Some(0) {
        return Err(failure(code, stderr));
    }
    let line = stderr.lines().rev().map(plain).find(|line| line.contains("to start at"));
    Ok(shortened(line.unwrap_or("the job would be accepted")))
}

/// `123` or `123;cluster`, as `--parsable` has it, or the sentence of a wrapper that swallowed the option.
fn job_number(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("Submitted batch job ").unwrap_or(line);
    let number = line.split([';', ' ']).next()?;
    let rest = &line[number.len()..];
    let cluster = |rest: &str| rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let sound = rest.is_empty() || rest.starts_with(" on cluster ") || rest.strip_prefix(';').is_some_and(cluster);
    (sound && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some(number)
}

fn failure(code: Option<i32>, stderr: &str) -> SubmitError {
    // sbatch's own lines, if it came to say anything, and not the noise of start files around them.
    let own = |line: &&str| line.contains("sbatch:") || line.starts_with("allocation failure:");
    let mut lines: Vec<&str> = stderr.lines().filter(own).map(plain).collect();
    if lines.is_empty() {
        lines = stderr.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    }
    lines.dedup();
    let message = match (shortened(&lines.join("; ")), code) {
        (message, _) if !message.is_empty() => message,
        (_, Some(code)) => format!("exit code {code} without a word"),
        (_, None) => "it was killed, or its connection broke".to_owned(),
    };
    match judge(code, &message) {
        Verdict::Refused(advice) => SubmitError::Refused { message, advice },
        Verdict::Busy(advice) => SubmitError::Busy { message, advice },
        Verdict::Unknown => SubmitError::Unknown { message },
    }
}

/// A line of sbatch's without the prefixes that say nothing.
fn plain(line: &str) -> &str {
    let line = line.trim();
    ["sbatch: error: ", "sbatch: fatal: ", "sbatch: "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line)
}

/// At most 500 characters of one printable line: messages go into logs and records.
fn shortened(text: &str) -> String {
    let text = printable(text.trim()).replace(['\n', '\t'], " ");
    match text.char_indices().nth(500) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(stdout: &str) -> Option<String> {
        read_submission(Some(0), stdout, "").ok().map(|submitted| submitted.slurm_job_id)
    }

    #[test]
    fn the_job_number_is_found_among_noise() {
        for (stdout, number) in [
            ("123\n", "123"),
            ("123;alpha-2.site\n", "123"),
            ("Welcome to the cluster!\nYou have used 80 of 100 hours.\n4711\n", "4711"),
            ("2024\n4711\n", "4711"),
            ("4711\nHave a nice day.\n", "4711"),
            ("Submitted batch job 4711\n", "4711"),
            ("Submitted batch job 4711 on cluster alpha\n", "4711"),
            ("  4711\r\n", "4711"),
        ] {
            assert_eq!(submitted(stdout).as_deref(), Some(number), "{stdout:?}");
        }
        for stdout in ["", "\n", "ok", "12a", "-1", "job 4711", "4711 jobs", ";alpha", "4711;a b", "4711,4712"] {
            assert_eq!(submitted(stdout), None, "{stdout:?}");
            let error = read_submission(Some(0), stdout, "").expect_err("no number");
            assert!(matches!(error, SubmitError::Unknown { .. }), "a zero exit without a number is no refusal");
        }
        // A controller that was full for a moment: sbatch slept and tried again by itself.
        let chatter = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n";
        assert_eq!(read_submission(Some(0), "7\n", chatter), Ok(Submitted { slurm_job_id: "7".to_owned() }));
    }

    fn refused(code: i32, stderr: &str) -> (String, &'static str) {
        match read_submission(Some(code), "", stderr) {
            Err(SubmitError::Refused { message, advice }) => (message, advice),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_refusal_names_the_setting() {
        // Captured from sbatch of Slurm 22.05.8, or composed of its message catalogue.
        for (code, stderr, setting) in [
            (
                1,
                "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified\n",
                "slurm.partition",
            ),
            (
                1,
                "sbatch: error: Batch job submission failed: No partition specified or system default partition\n",
                "slurm.partition",
            ),
            (
                1,
                "sbatch: error: Batch job submission failed: User's group not permitted to use this partition\n",
                "slurm.partition",
            ),
            (
                1,
                "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified\n",
                "slurm.account",
            ),
            (1, "sbatch: error: Batch job submission failed: Invalid qos specification\n", "slurm.qos"),
            (1, "sbatch: error: Invalid generic resource (gres) specification\n", "slurm.gres"),
            (
                1,
                "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
                "slurm.gres",
            ),
            (1, "sbatch: error: Invalid numeric value \"abc\" for --cpus-per-task.\n", "slurm.cpus"),
            (
                1,
                "sbatch: error: CPU count per node can not be satisfied\nsbatch: error: Batch job submission failed: Requested node configuration is not available\n",
                "slurm.cpus",
            ),
            (255, "sbatch: error: Invalid --mem specification\n", "slurm.memory"),
            (
                1,
                "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: Requested node configuration is not available\n",
                "slurm.memory",
            ),
            (255, "sbatch: error: Invalid --time specification\n", "slurm.time_limit"),
            (
                1,
                "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)\n",
                "slurm.time_limit",
            ),
            (1, "sbatch: error: Batch job submission failed: Invalid feature specification\n", "slurm.constraint"),
            (1, "sbatch: error: Batch job submission failed: Requested reservation is invalid\n", "slurm.directives"),
            (1, "sbatch: error: Batch job submission failed: Invalid license specification\n", "slurm.directives"),
            (1, "sbatch: error: Batch job submission failed: Invalid node name specified\n", "slurm.directives"),
            (
                255,
                "sbatch: unrecognized option '--nonsense'\nTry \"sbatch --help\" for more information\n",
                "slurm.directives",
            ),
            (255, "sbatch: error: Invalid --mail-type specification\n", "slurm.directives"),
            (1, "sbatch: error: Unable to open file /scratch/jobs/x/job.sbatch\n", "cluster.root"),
            (1, "sbatch: error: Batch script is empty!\n", "cluster.root"),
            (
                1,
                "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must start with #! followed by the path to an interpreter.\nsbatch: error: For instance: #!/bin/sh\n",
                "cluster.root",
            ),
            (
                1,
                "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: error: _establish_config_source: failed to fetch config\nsbatch: fatal: Could not establish a configuration source\n",
                "SLURM_CONF",
            ),
            (127, "bash: line 1: sbatch: command not found\n", "PATH"),
            (127, "sh: 1: sbatch: not found\n", "PATH"),
            (
                1,
                "sbatch: error: Please ask for at least one GPU.\nsbatch: error: Batch job submission failed: Unspecified error\n",
                "[slurm]",
            ),
            (
                1,
                "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
                "slurm.time_limit",
            ),
        ] {
            let (message, advice) = refused(code, stderr);
            assert!(advice.contains(setting), "{message}: {advice}");
            assert!(!message.contains("sbatch: error"), "{message}");
        }
        let (message, _) = refused(1, "Loading modules…\nsbatch: error: invalid partition specified: nope\nbye\n");
        assert_eq!(message, "invalid partition specified: nope");
    }

    #[test]
    fn what_passes_is_no_refusal() {
        for stderr in [
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
            "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode\n",
            "sbatch: error: Batch job submission failed: Resource temporarily unavailable\n",
            "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)\n",
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            "sbatch: error: If munged is up, restart with --num-threads=10\nsbatch: error: Munge encode failed: Failed to access \"/run/munge.sock\": No such file or directory (Did you start munged?)\nsbatch: error: slurm_send_node_msg: auth_g_create: REQUEST_SUBMIT_BATCH_JOB has authentication error\nsbatch: error: Batch job submission failed: Protocol authentication error\n",
        ] {
            let error = read_submission(Some(1), "", stderr).expect_err("no job");
            assert!(matches!(error, SubmitError::Busy { .. }), "{error}");
        }
    }

    #[test]
    fn a_lost_answer_is_not_taken_for_a_refusal() {
        // The first two captured while a job was accepted, or might have been.
        for (code, stderr) in [
            (Some(1), "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"),
            (Some(1), "sbatch: error: Batch job submission failed: Connection reset by peer\n"),
            (
                Some(1),
                "sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)\n",
            ),
            (
                Some(1),
                "sbatch: error: Batch job submission failed: Unable to contact slurm controller (send failure)\n",
            ),
            (Some(1), "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received\n"),
            (Some(1), "sbatch: error: Batch job submission failed: Unexpected message received\n"),
            (Some(1), "sbatch: error: Batch job submission failed: Die Verbindung wurde zurückgesetzt\n"),
            (Some(1), ""),
            (Some(1), "the wrapper says no\n"),
            (Some(137), "Killed\n"),
            (Some(143), "sbatch: error: Invalid feature specification\n"),
            (None, ""),
            (None, "Connection to login1 closed by remote host.\n"),
        ] {
            let error = read_submission(code, "", stderr).expect_err("no number");
            assert!(matches!(error, SubmitError::Unknown { .. }), "{code:?} {stderr}: {error}");
        }
    }

    #[test]
    fn messages_are_printable_and_bounded() {
        let stderr = format!("sbatch: error: \u{1b}[31mInvalid feature specification {}\n", "x".repeat(10_000));
        let (message, _) = refused(1, &stderr);
        assert!(message.starts_with("Invalid feature specification xxx") && message.chars().count() < 510);
        let error = read_submission(Some(1), "", &stderr).expect_err("refused");
        assert!(!error.for_visitor().contains("feature"));
    }

    #[test]
    fn a_rehearsal_says_when_the_job_would_start() {
        let said = "sbatch: Job 17 to start at 2026-11-28T04:30:06 using 1 processors on nodes n1 in partition debug\n";
        let expected = "Job 17 to start at 2026-11-28T04:30:06 using 1 processors on nodes n1 in partition debug";
        assert_eq!(read_test_only(Some(0), said).as_deref(), Ok(expected));
        assert!(read_test_only(Some(0), "").is_ok());
        let refusal =
            "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified\n";
        let error = read_test_only(Some(1), refusal).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "sbatch refused the job (invalid partition specified: nope; allocation failure: Invalid partition name \
             specified); set `slurm.partition` to one that `sinfo -s` lists and this account may use"
        );
    }
}
