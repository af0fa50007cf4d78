//! `livewebcam jobs`: the job directories without a browser, through the same transport.

use std::sync::Arc;

use anyhow::{Context, ensure};
use livewebcam_jobs::{
    Author, BatchJob, Claim, Failure, JobFile, JobId, Marker, Outcome, Stage, State, Status, Timings, local, model_key,
};

use crate::inspect::{self, Job};
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::text::printable;
use crate::transport::Transport;

/// What to do with them.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the newest jobs.
    Ls {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        count: usize,
    },
    /// Show one job: request, result and the end of its log.
    Show {
        /// Its id.
        id: JobId,
    },
    /// Cancel an unfinished job.
    Cancel {
        /// Its id.
        id: JobId,
    },
    /// Remove concluded jobs.
    Clean {
        /// Leave the newest ones.
        #[arg(long, default_value_t = 0)]
        keep: usize,
    },
}

/// Runs one of them.
///
/// # Errors
/// The shared tree cannot be reached, or there is no such job.
pub async fn run(settings: &Settings, command: Command) -> anyhow::Result<()> {
    let transport = Arc::new(Transport::connect(settings).await?);
    match command {
        Command::Ls { count } => list(&transport, count).await,
        Command::Show { id } => show(&transport, id).await,
        Command::Cancel { id } => cancel(settings, transport, id).await,
        Command::Clean { keep } => clean(&transport, keep).await,
    }
}

async fn list(transport: &Transport, count: usize) -> anyhow::Result<()> {
    let ids = inspect::job_ids(transport).await?;
    let shown: Vec<JobId> = ids.iter().take(count).copied().collect();
    for job in inspect::jobs(transport, &shown).await? {
        println!("{}  {:<9}  {}", job.id, job.state.to_string(), summary(&job));
    }
    if ids.len() > count {
        println!("{} more; see --count", ids.len() - count);
    }
    Ok(())
}

fn summary(job: &Job) -> String {
    let model = job.request.as_ref().map_or("?", |request| &request.model);
    let story = match &job.outcome {
        None => String::new(),
        Some(outcome) => match &outcome.failure {
            None => format!("{:.0} ms", outcome.timings.total_ms),
            Some(failure) => failure.reason.clone(),
        },
    };
    printable(&format!("{model}  {story}")).replace('\n', " ")
}

async fn find(transport: &Transport, id: JobId) -> anyhow::Result<Job> {
    inspect::job(transport, id)
        .await?
        .with_context(|| format!("there is no job {id} in {}", transport.root().jobs().display()))
}

async fn show(transport: &Transport, id: JobId) -> anyhow::Result<()> {
    let job = find(transport, id).await?;
    println!("{}  {}\n{}", job.id, job.state, transport.root().job(id).path().display());
    for json in [
        job.request.as_ref().map(local::to_json),
        job.submission.as_ref().map(local::to_json),
        job.outcome.as_ref().map(local::to_json),
    ]
    .into_iter()
    .flatten()
    {
        print!("\n{}", printable(&String::from_utf8_lossy(&json)));
    }
    if let Some((log, _)) = inspect::log(transport, id).await? {
        println!("\nslurm.log:\n{}", printable(&log));
    }
    Ok(())
}

/// The same rule as in the server: win the claim, or leave the wish.
async fn cancel(settings: &Settings, transport: Arc<Transport>, id: JobId) -> anyhow::Result<()> {
    let job = find(&transport, id).await?;
    ensure!(!matches!(job.state, State::Concluded(_)), "the job has already ended ({})", job.state);
    let model = job.request.map(|request| request.model).unwrap_or_default();
    let dir = transport.root().job(id);
    let author = Author::Frontend { instance: format!("operator-{:016x}", rand::random::<u64>()) };
    let claim = Claim { author: author.clone(), nonce: format!("{:032x}", rand::random::<u128>()) };
    let why = "cancelled by the operator";
    let won = transport.publish_exclusively(&dir.file(JobFile::Claim), &local::to_json(&claim)).await?;
    if won {
        let failure = Failure::new(Stage::Wait, why, "");
        let outcome = Outcome {
            status: Status::Cancelled,
            author,
            model: model.clone(),
            output: None,
            failure: Some(failure),
            parameters: None,
            loading: None,
            clamped: Vec::new(),
            timings: Timings::default(),
            warnings: Vec::new(),
        };
        transport.publish_exclusively(&dir.file(JobFile::Outcome), &local::to_json(&outcome)).await?;
        transport.remove_file(&transport.root().marker(&Marker::Queued { model_key: model_key(&model) }, id)).await?;
    } else {
        transport.replace(&dir.file(JobFile::Cancel), why.as_bytes(), 0o600).await?;
    }
    Scheduler::new(settings, transport).cancel(&[BatchJob::Frame(id)]).await?;
    println!("{}", if won { "cancelled before anybody had claimed it" } else { "its runner is told to stop" });
    Ok(())
}

async fn clean(transport: &Transport, keep: usize) -> anyhow::Result<()> {
    let ids = inspect::job_ids(transport).await?;
    let old: Vec<JobId> = ids.into_iter().skip(keep).collect();
    let mut removed = 0;
    for chunk in old.chunks(50) {
        for job in inspect::jobs(transport, chunk).await? {
            if matches!(job.state, State::Concluded(_)) {
                transport.remove_folder(transport.root().job(job.id).path()).await?;
                transport.remove_file(&transport.root().marker(&Marker::Done, job.id)).await?;
                removed += 1;
            }
        }
    }
    println!("removed {removed} concluded jobs");
    Ok(())
}
