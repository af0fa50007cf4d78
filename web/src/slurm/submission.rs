//! What became of an sbatch: a job, a refusal, or nobody knows.

use super::refusal::{Verdict, judge};
use crate::text::printable;

/// A job that Slurm has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Slurm's number for it.
    pub slurm_job_id: String,
}

/// A submission that gave no job number. The messages are the operator's; [`SubmitError::for_visitor`] is the
/// visitor's.
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
/// See [`SubmitError`]. What is not understood is [`SubmitError::Unknown`]: to take it for a refusal might give two
/// jobs.
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
    let spoke = !lines.is_empty();
    if !spoke {
        lines = stderr.lines().map(plain).filter(|line| !line.is_empty()).collect();
    }
    lines.dedup();
    let message = match (shortened(&lines.join("; ")), code) {
        (message, _) if !message.is_empty() => message,
        (_, Some(code)) => format!("exit code {code} without a word"),
        (_, None) => "it was killed, or its connection broke".to_owned(),
    };
    let verdict = if spoke || code.is_none_or(|code| code >= 126) { judge(code, &message) } else { Verdict::Unknown };
    match verdict {
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

    /// What sbatch prints for these messages, `FAILED` standing for how it begins when the controller said no.
    fn stderr(messages: &[&str]) -> String {
        let line =
            |message: &&str| format!("sbatch: error: {}\n", message.replace("FAILED", "Batch job submission failed"));
        messages.iter().map(line).collect()
    }

    fn refused(code: i32, stderr: &str) -> (String, &'static str) {
        match read_submission(Some(code), "", stderr) {
            Err(SubmitError::Refused { message, advice }) => (message, advice),
            other => panic!("not refused: {other:?}"),
        }
    }

    const POLICY: &str =
        "FAILED: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
    const NO_NODE: &str = "FAILED: Requested node configuration is not available";

    #[test]
    fn a_refusal_names_the_setting() {
        // Captured from sbatch of Slurm 22.05.8; those about accounts and limits are composed of its message catalogue.
        let cases: &[(i32, &[&str], &str)] = &[
            (1, &["invalid partition specified: x", "FAILED: Invalid partition name specified"], "slurm.partition"),
            (1, &["FAILED: No partition specified or system default partition"], "slurm.partition"),
            (1, &["FAILED: User's group not permitted to use this partition"], "slurm.partition"),
            (1, &["FAILED: Invalid account or account/partition combination specified"], "slurm.account"),
            (1, &["FAILED: Invalid qos specification"], "slurm.qos"),
            (1, &["Invalid generic resource (gres) specification"], "slurm.gres"),
            (1, &[NO_NODE], "slurm.gres"),
            (1, &["Invalid numeric value \"abc\" for --cpus-per-task."], "slurm.cpus"),
            (1, &["CPU count per node can not be satisfied", NO_NODE], "slurm.cpus"),
            (255, &["Invalid --mem specification"], "slurm.memory"),
            (1, &["Memory specification can not be satisfied", NO_NODE], "slurm.memory"),
            (255, &["Invalid --time specification"], "slurm.time_limit"),
            (1, &["FAILED: Requested time limit is invalid (missing or exceeds some limit)"], "slurm.time_limit"),
            (1, &["FAILED: Invalid feature specification"], "slurm.constraint"),
            (1, &["FAILED: Requested reservation is invalid"], "slurm.directives"),
            (1, &["FAILED: Invalid license specification"], "slurm.directives"),
            (1, &["FAILED: Invalid node name specified"], "slurm.directives"),
            (255, &["Invalid --mail-type specification"], "slurm.directives"),
            (1, &["Unable to open file /scratch/jobs/x/job.sbatch"], "cluster.root"),
            (1, &["Batch script is empty!"], "cluster.root"),
            (1, &["This does not look like a batch script.  The first", "line must start with #!"], "cluster.root"),
            (1, &["fetch_config: DNS SRV lookup failed", "Could not establish a configuration source"], "SLURM_CONF"),
            (1, &["Please ask for at least one card.", "FAILED: Unspecified error"], "[slurm]"),
            (1, &["QOSMaxWallDurationPerJobLimit", POLICY], "slurm.time_limit"),
            (1, &["QOSMaxGRESPerJob", POLICY], "slurm.gres"),
        ];
        for (code, messages, setting) in cases {
            let (message, advice) = refused(*code, &stderr(messages));
            assert!(advice.contains(setting), "{message}: {advice}");
            assert!(!message.contains("sbatch:"), "{message}");
        }
        let option = "sbatch: unrecognized option '--nonsense'\nTry \"sbatch --help\" for more information\n";
        assert!(refused(255, option).1.contains("slurm.directives"));
        for shell in ["bash: line 1: sbatch: command not found\n", "sh: 1: sbatch: not found\n"] {
            assert!(refused(127, shell).1.contains("PATH"));
        }
        let noise = format!("Loading modules…\n{}bye\n", stderr(&["invalid partition specified: nope"]));
        assert_eq!(refused(1, &noise).0, "invalid partition specified: nope");
    }

    #[test]
    fn what_passes_is_no_refusal() {
        let cases: &[&[&str]] = &[
            &["FAILED: Unable to contact slurm controller (connect failure)"],
            &["FAILED: Slurm backup controller in standby mode"],
            &["FAILED: Resource temporarily unavailable"],
            &["FAILED: Required partition not available (inactive or drain)"],
            &["QOSMaxSubmitJobPerUserLimit", POLICY],
            &["AssocMaxSubmitJobLimit", POLICY],
            &[POLICY],
            &["Munge encode failed: Failed to access \"/run/munge.sock\"", "FAILED: Protocol authentication error"],
        ];
        for messages in cases {
            let error = read_submission(Some(1), "", &stderr(messages)).expect_err("no job");
            assert!(matches!(error, SubmitError::Busy { .. }), "{error}");
        }
    }

    #[test]
    fn a_lost_answer_is_not_taken_for_a_refusal() {
        // The first was captured while slurmctld stood still for a minute; the job ran all the same.
        for message in [
            "FAILED: Socket timed out on send/recv operation",
            "FAILED: Connection reset by peer",
            "FAILED: Unable to contact slurm controller (receive failure)",
            "FAILED: Unable to contact slurm controller (send failure)",
            "FAILED: Zero Bytes were transmitted or received",
            "FAILED: Unexpected message received",
            "FAILED: Die Verbindung wurde vom Kommunikationspartner zurückgesetzt",
        ] {
            let error = read_submission(Some(1), "", &stderr(&[message])).expect_err("no number");
            assert!(matches!(error, SubmitError::Unknown { .. }), "{error}");
        }
        let invalid = stderr(&["Invalid feature specification"]);
        for (code, stderr) in [
            (Some(1), ""),
            (Some(1), "the wrapper finds this invalid\n"),
            (Some(137), "Killed\n"),
            (Some(143), &invalid),
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
