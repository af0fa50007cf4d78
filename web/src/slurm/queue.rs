//! What squeue lists.

use livewebcam_jobs::BatchJob;

use super::JobState;

/// The answer of one squeue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The account's jobs, other programs' too, in squeue's order.
    pub entries: Vec<QueueEntry>,
    /// How many lines were none of squeue's (a site's greeting, or the second line of a name with a line break in it).
    pub skipped: usize,
}

/// One job of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// `123`, or `123_4` and `123_[5-9%2]` of an array, or `123+1` of a heterogeneous job.
    pub slurm_job_id: String,
    /// As it was submitted.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
    /// Slurm's word for why it waits or why it ended, see [`super::explain`].
    pub reason: String,
}

impl QueueEntry {
    /// Which of our jobs it is, if it is one.
    #[must_use]
    pub fn batch_job(&self) -> Option<BatchJob> {
        self.name.parse().ok()
    }

    /// Only the name may hold a separator.
    fn parse(line: &str) -> Option<Self> {
        let (slurm_job_id, rest) = line.trim_end_matches('\r').split_once('|')?;
        let (rest, reason) = rest.rsplit_once('|')?;
        let (name, state) = rest.rsplit_once('|')?;
        let slurm_job_id = slurm_job_id.trim();
        if !is_job_id(slurm_job_id) || state.trim().is_empty() {
            return None;
        }
        Some(Self {
            slurm_job_id: slurm_job_id.to_owned(),
            name: name.to_owned(),
            state: JobState::parse(state),
            reason: reason.trim().to_owned(),
        })
    }
}

impl Queue {
    /// Reads what [`super::squeue`] printed before it exited with 0. Of a squeue that failed nothing follows, not even
    /// that there are no jobs.
    #[must_use]
    pub fn parse(stdout: &str) -> Self {
        let mut queue = Self::default();
        for line in stdout.lines().filter(|line| !line.trim().is_empty()) {
            match QueueEntry::parse(line) {
                Some(entry) => queue.entries.push(entry),
                None => queue.skipped += 1,
            }
        }
        queue
    }
}

fn is_job_id(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &text[digits..];
    let part = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | '-' | ',' | '%' | ':' | '.');
    digits > 0 && (rest.is_empty() || rest.strip_prefix(['_', '+']).is_some_and(|rest| rest.chars().all(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from squeue of Slurm 22.05.8; a site's greeting is put before it.
    const CAPTURED: &str = "\
Welcome to the cluster | maintenance on Friday | read the news

5|job.sbatch|CANCELLED|PartitionConfig
18_1|job.sbatch|COMPLETED|None
2|job.sbatch|FAILED|BadConstraints
16|job.sbatch|FAILED|JobLaunchFailure
27|later|PENDING|BeginTime
30|dep|PENDING|DependencyNeverSatisfied
33|busy|PENDING|Resources
34|busy|PENDING|Priority
29|livewebcam-0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0f|PENDING|JobHeldUser
26+0|job.sbatch|PENDING|JobHeldUser
25|tab\tü|PENDING|JobHeldUser
24|new
line|PENDING|JobHeldUser
23_[1-5%2]|arr|PENDING|JobHeldUser
22|pipe|| ||PENDING|JobHeldUser
21|a|RUNNING|None|PENDING|JobHeldUser
31|busy|RUNNING|None
43|nn|PENDING|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions
";

    #[test]
    fn what_squeue_printed_is_read() {
        let queue = Queue::parse(CAPTURED);
        assert_eq!(queue.skipped, 3, "the greeting, and a name of two lines");
        let line = |id: &str| {
            let entry = queue.entries.iter().find(|entry| entry.slurm_job_id == id).expect(id);
            (entry.name.as_str(), entry.state.to_string(), entry.reason.as_str())
        };
        assert_eq!(queue.entries.len(), 16);
        assert_eq!(line("5"), ("job.sbatch", "CANCELLED".to_owned(), "PartitionConfig"));
        assert_eq!(line("18_1"), ("job.sbatch", "COMPLETED".to_owned(), "None"));
        assert_eq!(line("26+0").0, "job.sbatch");
        assert_eq!(line("23_[1-5%2]").0, "arr");
        assert_eq!(line("22"), ("pipe|| |", "PENDING".to_owned(), "JobHeldUser"));
        assert_eq!(line("21"), ("a|RUNNING|None", "PENDING".to_owned(), "JobHeldUser"));
        assert!(line("43").2.starts_with("Nodes required"));
    }

    #[test]
    fn our_own_jobs_are_known_by_their_names() {
        let ours: Vec<BatchJob> = Queue::parse(CAPTURED).entries.iter().filter_map(QueueEntry::batch_job).collect();
        assert_eq!(ours, [BatchJob::Frame("0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0f".parse().expect("an id"))]);
        let foreign = Queue::parse("1|livewebcam-|RUNNING|None\n2|livewebcam-../x|RUNNING|None\n");
        assert_eq!(foreign.entries.iter().filter_map(QueueEntry::batch_job).count(), 0);
    }

    #[test]
    fn junk_is_counted_and_no_job() {
        for junk in
            ["x", "1", "1|a", "1|a|RUNNING", "|a|RUNNING|None", "abc|a|RUNNING|None", "1_x|a|RUNNING|None", "1|a||"]
        {
            assert_eq!(Queue::parse(junk), Queue { entries: Vec::new(), skipped: 1 }, "{junk}");
        }
        assert_eq!(Queue::parse("\n \n"), Queue::default());
        let windows = Queue::parse("7|a|CANCELLED by 1000|None\r\n");
        assert_eq!(
            (windows.entries[0].state.clone(), windows.entries[0].reason.as_str()),
            (JobState::Cancelled, "None")
        );
    }
}
