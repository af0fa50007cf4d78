//! Job directories, read for people: the list, one job, its files. The directories themselves are the only source.

use futures_util::{StreamExt, stream};
use livewebcam_jobs::{Author, Claim, JobFile, JobId, Outcome, Request, RunnerFile, State, Status, Submission};
use serde::de::DeserializeOwned;

use crate::transport::{Transport, TransportError};

/// Largest JSON file that is read.
const SMALL_FILE: u64 = 1 << 20;
/// Largest picture that is read.
const PICTURE: u64 = 256 << 20;
/// How much of a log is shown.
pub const LOG_TAIL: u64 = 64 << 10;
/// Job directories read at once.
const BREADTH: usize = 16;

/// A job as its directory tells it. A file that is missing or damaged is `None`.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: State,
    /// `request.json`.
    pub request: Option<Request>,
    /// `submission.json`.
    pub submission: Option<Submission>,
    /// `result.json`.
    pub outcome: Option<Outcome>,
}

/// Ids of all jobs, newest first.
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn job_ids(transport: &Transport) -> Result<Vec<JobId>, TransportError> {
    let entries = transport.list(&transport.root().jobs()).await?;
    let mut ids: Vec<JobId> =
        entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| entry.name.parse().ok()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    Ok(ids)
}

/// Some jobs, in the order of `ids`; those that were removed meanwhile are left out.
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn jobs(transport: &Transport, ids: &[JobId]) -> Result<Vec<Job>, TransportError> {
    let read: Vec<_> = ids.iter().map(|id| job(transport, *id)).collect();
    let jobs: Vec<_> = stream::iter(read).buffered(BREADTH).collect().await;
    jobs.into_iter().filter_map(Result::transpose).collect()
}

/// One job, or `None` if there is no such directory.
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn job(transport: &Transport, id: JobId) -> Result<Option<Job>, TransportError> {
    let dir = transport.root().job(id);
    let (claim, result) = (dir.file(JobFile::Claim), dir.file(JobFile::Outcome));
    let (there, claim, result) =
        tokio::try_join!(transport.metadata(dir.path()), transport.metadata(&claim), transport.metadata(&result))?;
    if !there.is_some_and(|there| there.is_dir) {
        return Ok(None);
    }
    let (request, submission, outcome) = tokio::try_join!(
        json::<Request>(transport, id, JobFile::Request),
        json::<Submission>(transport, id, JobFile::Submission),
        json::<Outcome>(transport, id, JobFile::Outcome),
    )?;
    // A result that cannot be read ends a job all the same.
    let unreadable = result.map(|_| Status::Failed);
    let state = State::of(claim.is_some(), outcome.as_ref().map(|outcome| outcome.status).or(unreadable));
    Ok(Some(Job { id, state, request, submission, outcome }))
}

/// `request.json` alone: whose job it is.
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn request(transport: &Transport, id: JobId) -> Result<Option<Request>, TransportError> {
    json(transport, id, JobFile::Request).await
}

/// A picture of a job, or `None` if there is none (yet).
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn picture(transport: &Transport, id: JobId, file: JobFile) -> Result<Option<Vec<u8>>, TransportError> {
    readable(transport.read(&transport.root().job(id).file(file), PICTURE).await)
}

/// The end of a job's log and whether that is not all of it. A warm runner's log is that of many jobs: of it, this job's part.
///
/// # Errors
/// The shared tree cannot be reached.
pub async fn log(transport: &Transport, id: JobId) -> Result<Option<(String, bool)>, TransportError> {
    let root = transport.root();
    let own = readable(transport.read_tail(&root.job(id).file(JobFile::Log), LOG_TAIL).await)?;
    if let Some((bytes, cut)) = own {
        return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), cut)));
    }
    let claim = json::<Claim>(transport, id, JobFile::Claim).await?;
    let Some(Author::Runner { runner: Some(runner), .. }) = claim.map(|claim| claim.author) else { return Ok(None) };
    let log = root.warm_runner(runner).file(RunnerFile::Log);
    let tail = readable(transport.read_tail(&log, LOG_TAIL).await)?;
    let part = tail.map(|(bytes, _)| part_of(&String::from_utf8_lossy(&bytes), id));
    Ok(part.filter(|part| !part.is_empty()).map(|part| (part, false)))
}

/// The lines of one job in a warm runner's log: from the first that names it to the one that claims another.
fn part_of(log: &str, id: JobId) -> String {
    let id = id.to_string();
    let another = |line: &&str| line.contains(": claimed by") && !line.contains(&id);
    let lines = log.lines().skip_while(|line| !line.contains(&id)).take_while(|line| !another(line));
    lines.fold(String::new(), |part, line| part + line + "\n")
}

async fn json<T: DeserializeOwned>(
    transport: &Transport,
    id: JobId,
    file: JobFile,
) -> Result<Option<T>, TransportError> {
    let content = readable(transport.read(&transport.root().job(id).file(file), SMALL_FILE).await)?;
    Ok(content.and_then(|content| serde_json::from_slice(&content).ok()))
}

/// A file that cannot be read (a link, say) is as good as none; a tree that cannot be reached is an error.
fn readable<T>(result: Result<Option<T>, TransportError>) -> Result<Option<T>, TransportError> {
    match result {
        Err(TransportError::File { .. }) => Ok(None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_warm_runners_log_a_job_has_its_own_lines() {
        let ids = [JobId::new(), JobId::new(), JobId::new()];
        let line = |id: &JobId, words: &str| format!("1.0 job {id}: {words}\n");
        let log = format!(
            "runner starts\n{}loading\n{}{}a panic\n",
            line(&ids[0], "claimed by process 7"),
            line(&ids[0], "painted in 9 ms"),
            line(&ids[1], "claimed by process 7"),
        );
        let first = line(&ids[0], "claimed by process 7") + "loading\n" + &line(&ids[0], "painted in 9 ms");
        assert_eq!(part_of(&log, ids[0]), first);
        assert_eq!(part_of(&log, ids[1]), line(&ids[1], "claimed by process 7") + "a panic\n");
        assert_eq!(part_of(&log, ids[2]), "");
    }
}
