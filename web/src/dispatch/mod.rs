//! A frame's way from a clean PNG to a painting: admit, stage, submit, wait, retrieve. Everything that holds a frame in
//! flight is bounded, and each job ends with exactly one `result.json`.
//!
//! Knows neither HTTP nor SSH nor Slurm's words.

mod conclude;
mod fleet;
mod journeys;
mod line;
mod ownership;
mod pace;
mod paint;
mod recovery;
mod sweeper;
mod watcher;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use livewebcam_jobs::{Author, Clamped, Failure, JobId, ModelInfo, Outcome, Parameters, Timings};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::fleet::Board;
pub use self::fleet::RunnerInfo;
use self::journeys::Journeys;
pub use self::journeys::{Journey, Tag};
use self::line::Line;
pub use self::line::{Busy, Position};
use self::ownership::Ownership;
pub use self::ownership::OwnershipError;
use self::pace::Pace;
pub(crate) use self::paint::chain;
use self::sweeper::Sweeper;
use self::watcher::Watcher;
use crate::frame::Frame;
use crate::scheduler::{Scheduler, SubmitError};
use crate::settings::{Policy, Settings};
use crate::transport::{Transport, TransportError};

/// What is to be painted.
#[derive(Clone)]
pub struct Order {
    /// The model, as the runner listed it.
    pub model: ModelInfo,
    /// The frame, at a size that the model takes.
    pub frame: Frame,
    /// Parameters inside the model's bounds.
    pub parameters: Parameters,
    /// Numbers that were not.
    pub clamped: Vec<Clamped>,
    /// SHA-256 of the visitor's cookie.
    pub visitor: String,
    /// By which the visitor may ask for the frame before its job is known.
    pub tag: Option<Tag>,
}

/// A painting and its story.
#[derive(Clone, Debug)]
pub struct Painting {
    /// The job that made it.
    pub id: JobId,
    /// The PNG, checked against its size and its SHA-256.
    pub png: Vec<u8>,
    /// What the runner says of it.
    pub outcome: Outcome,
    /// How long each stage of the frontend took.
    pub durations: Durations,
}

/// Milliseconds of the frontend's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// Putting the job directory together.
    pub stage_ms: f64,
    /// Handing it to the scheduler.
    pub submit_ms: f64,
    /// All else until the result was seen, less the runner's own total: the frontend's line and the scheduler's queue.
    pub queue_ms: f64,
    /// Fetching the painting.
    pub retrieve_ms: f64,
}

/// Why there is no painting.
#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    /// Too many frames.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The job directory could not be put together.
    #[error("staging the job failed")]
    Stage(#[source] TransportError),
    /// The scheduler did not take the job.
    #[error("submitting the job failed")]
    Submit(#[source] SubmitError),
    /// The job ended without a painting, and its result says why.
    #[error("the job failed: {}", .0.reason)]
    Failed(Failure),
    /// Nobody wanted it any more.
    #[error("the job was cancelled")]
    Cancelled,
    /// Its visitor has sent a newer one, and that is painted instead.
    #[error("a newer frame of yours took this one's place")]
    Superseded,
    /// It took too long.
    #[error("{stage} took longer than {seconds} s")]
    Deadline {
        /// The stage.
        stage: &'static str,
        /// Its deadline.
        seconds: f64,
    },
    /// The painting could not be fetched.
    #[error("retrieving the painting failed")]
    Retrieve(#[source] anyhow::Error),
    /// The frontend is shutting down.
    #[error("the server is shutting down")]
    Closing,
}

/// The frontend's side of every job of one root.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    settings: Settings,
    transport: Arc<Transport>,
    scheduler: Arc<Scheduler>,
    instance: String,
    line: Line,
    pace: Pace,
    board: Arc<Board>,
    watcher: Watcher,
    journeys: Journeys,
    sweeper: Sweeper,
    ownership: Ownership,
    /// Queue folders that are known to exist.
    queues: Mutex<HashSet<PathBuf>>,
    tasks: TaskTracker,
    /// The runtime that the dispatcher was started on. The web server's workers have their own, which end with their
    /// connections, and a job must be concluded all the same.
    runtime: Handle,
    closing: CancellationToken,
}

/// Why the dispatcher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tree cannot be used.
    #[error("the root cannot be used; check cluster.root and its permissions")]
    Root(#[source] TransportError),
    /// Another frontend serves the root.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
}

impl Dispatcher {
    /// Makes the root's folders, takes the root, concludes what a predecessor left unfinished, and starts to watch.
    ///
    /// # Errors
    /// The root cannot be used, or another frontend serves it.
    pub async fn start(
        settings: &Settings,
        transport: Arc<Transport>,
        scheduler: Arc<Scheduler>,
    ) -> Result<Self, StartError> {
        let instance = format!("{:016x}", rand::random::<u64>());
        for folder in transport.root().skeleton() {
            transport.create_dir(&folder).await.map_err(StartError::Root)?;
        }
        let root = transport.root().path();
        if let Some(metadata) = transport.metadata(root).await.map_err(StartError::Root)?
            && metadata.mode & 0o077 != 0
        {
            tracing::warn!("others may see visitors' frames: chmod 700 {}", root.display());
        }
        let ownership = Ownership::take(&transport, &instance, settings).await?;
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let journeys = Journeys::default();
        let warm = settings.policy() == Policy::Warm;
        let watcher = Watcher::start(&transport, (!warm).then_some(&scheduler), settings, &journeys);
        let limits = &settings.limits;
        let dispatcher = Self(Arc::new(Inner {
            settings: settings.clone(),
            line: Line::new(settings.max_in_flight(), warm, limits.max_waiting, limits.per_visitor),
            pace: Pace::new(settings.submits_per_minute()),
            board: Arc::default(),
            sweeper: Sweeper::new(settings.keep.clone()),
            transport,
            scheduler,
            instance,
            watcher,
            journeys,
            ownership,
            queues: Mutex::default(),
            tasks,
            runtime: Handle::current(),
            closing,
        }));
        dispatcher.recover().await.map_err(StartError::Root)?;
        dispatcher.keep_root();
        dispatcher.keep_fleet();
        Ok(dispatcher)
    }

    /// The way to the shared tree.
    #[must_use]
    pub fn transport(&self) -> &Arc<Transport> {
        &self.0.transport
    }

    /// Who starts the runners.
    #[must_use]
    pub fn scheduler(&self) -> &Arc<Scheduler> {
        &self.0.scheduler
    }

    /// Frames on the cluster, frames that wait in line, and how many may be on the cluster.
    #[must_use]
    pub fn frames(&self) -> (usize, usize, usize) {
        self.0.line.counts()
    }

    /// How many frames a visitor does well to have in flight now.
    #[must_use]
    pub fn share(&self, visitor: &str) -> usize {
        self.0.line.share(visitor)
    }

    /// Whether a visitor's frame would be taken in now.
    ///
    /// # Errors
    /// Too many are on their way.
    pub fn room_for(&self, visitor: &str) -> Result<(), Busy> {
        self.0.line.room_for(visitor)
    }

    /// The warm runners.
    #[must_use]
    pub fn runners(&self) -> Vec<RunnerInfo> {
        self.0.board.runners()
    }

    /// Models whose runners do not stay, and why.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.0.board.troubles()
    }

    /// The job of a visitor's request, while it lasts.
    #[must_use]
    pub fn job_of(&self, tag: &Tag) -> Option<JobId> {
        self.0.journeys.named(tag)
    }

    /// How far a frame in flight is.
    #[must_use]
    pub fn journey_of(&self, id: JobId) -> Option<Journey> {
        let mut journey = self.0.journeys.of(id)?;
        journey.position = self.0.line.position(id).unwrap_or_default();
        Some(journey)
    }

    /// Whether no more frames are taken.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Whether the root was taken over by another frontend; this one then paints no more.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.0.ownership.is_lost()
    }

    /// Stops taking frames, cancels those in flight and gives the root up.
    pub async fn shut_down(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(std::time::Duration::from_secs(20), self.0.tasks.wait()).await.is_err() {
            tracing::warn!("some frames did not end within 20 s; the next start concludes them");
        }
        self.0.scheduler.shut_down().await;
        self.0.ownership.give_up(&self.0.transport).await;
    }

    /// Work that outlives the request that it began in; [`Dispatcher::shut_down`] waits for it.
    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.tasks.spawn_on(work, &self.0.runtime)
    }

    fn author(&self) -> Author {
        Author::Frontend { instance: self.0.instance.clone() }
    }

    fn outcome(&self, model: &str, status: livewebcam_jobs::Status, failure: Failure) -> Outcome {
        Outcome {
            status,
            author: self.author(),
            model: model.to_owned(),
            output: None,
            failure: Some(failure),
            parameters: None,
            loading: None,
            clamped: Vec::new(),
            timings: Timings::default(),
            warnings: Vec::new(),
        }
    }
}
