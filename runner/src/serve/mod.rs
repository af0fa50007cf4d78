//! The warm runner: paints one frame after the other from a queue, keeps its model between them, and leaves when nobody
//! watches any more.
//!
//! Any number of them share a queue without knowing of each other: the claims decide. What it knows of the tree it reads anew
//! each time, so there is nothing to lose; only its heartbeat tells that it lives.

mod heartbeat;
mod limits;
mod pause;
mod place;
mod queue;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use livewebcam_jobs::{JobId, Root, RunnerId, RunnerState, model_key};

use crate::job::{Ended, Ending, Models, Painter, Seat, Task, this_process};
use crate::log::{Log, chain};
use heartbeat::Pulse;
use limits::Limits;
pub use limits::{InvalidTimeLimit, TimeLimit};
use pause::pause;
use place::Place;
use queue::{Queue, Standing, Waiting};

/// How a warm runner is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The shared tree.
    pub root: PathBuf,
    /// The runner's id; a new one without.
    pub runner: Option<RunnerId>,
    /// The model whose frames it paints, by its name or its queue's; without, that of the first frame that it finds.
    pub model: Option<String>,
    /// How long it stays without a frame; for good without.
    pub idle_exit: Option<Duration>,
    /// The scheduler's time limit, counted from the start of the process.
    pub time_limit: TimeLimit,
}

/// Why a warm runner could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no such tree.
    #[error("cannot open the shared tree {}", path.display())]
    Root {
        /// What was given.
        path: PathBuf,
        /// The filesystem's error.
        source: io::Error,
    },
    /// The runner's directory cannot be made.
    #[error("cannot make the runner's directory in {}", path.display())]
    Place {
        /// The tree.
        path: PathBuf,
        /// The filesystem's error.
        source: io::Error,
    },
    /// Another process has this id.
    #[error("runner {id} is or was another process; leave --runner away to serve under a new id")]
    Taken {
        /// The id.
        id: RunnerId,
    },
    /// A thread or a signal handler cannot be had.
    #[error("cannot start the runner's threads")]
    Threads(#[source] io::Error),
    /// A frame stays claimed without a result. Only a runner that has ended tells the frontend so.
    #[error("cannot write the result of job {job}")]
    Conclude {
        /// The frame's.
        job: JobId,
        /// The filesystem's error.
        source: io::Error,
    },
}

/// Paints frames until there is a reason to leave. SIGTERM and SIGINT end the process here: its frame is handed back first.
///
/// # Errors
/// See [`ServeError`].
pub fn serve(settings: &Settings, started: Instant, log: Log) -> Result<(), ServeError> {
    let path = &settings.root;
    // The batch script names the root by way of the runner's own directory, which may disappear.
    let root = path.canonicalize().map_err(|source| ServeError::Root { path: path.clone(), source })?;
    let root = Root::new(root);
    let id = settings.runner.unwrap_or_default();
    let place = Place::new(&root, id).map_err(|source| ServeError::Place { path: path.clone(), source })?;
    let author = this_process(Some(id));
    let pulse = Pulse::new(place.dir(), author.clone(), log);
    let last = pulse.clone();
    // Before anything is written: a full disk is a signal, too.
    let seat = Seat::with_signals(log, move |signal| last.leave(&format!("it was told to stop ({signal})")));
    let seat = seat.map_err(ServeError::Threads)?;
    match place.take(&author) {
        Ok(true) => {}
        Ok(false) => return Err(ServeError::Taken { id }),
        // On a full disk there are still frames to be told of it.
        Err(error) => log.line(format_args!("runner {id}: its claim cannot be written: {error}")),
    }
    pulse.start().map_err(ServeError::Threads)?;
    let queue = Queue::new(root.clone(), settings.model.as_deref().map(model_key));
    match queue.key() {
        Some(key) => log.line(format_args!("runner {id}: takes frames from the queue {key}")),
        None => log.line(format_args!("runner {id}: takes frames from the first queue that has one")),
    }
    let mut runner = Runner {
        painter: Painter::new(author, seat, Models::new(Some(root.clone()), log), log),
        queue,
        place,
        pulse: pulse.clone(),
        limits: Limits::new(settings.time_limit),
        idle_exit: settings.idle_exit,
        last_frame: Instant::now(),
        complaints: Complaints { log, made: HashSet::new() },
        root,
        started,
        painted: 0,
    };
    match runner.work() {
        Ok(why) => {
            pulse.leave(&why);
            log.line(format_args!("runner {id}: leaves ({} painted): {why}", runner.painted));
            Ok(())
        }
        Err(error) => {
            pulse.leave(&chain(&error));
            Err(error)
        }
    }
}

struct Runner {
    root: Root,
    queue: Queue,
    painter: Painter,
    place: Place,
    pulse: Pulse,
    limits: Limits,
    idle_exit: Option<Duration>,
    /// Of the process.
    started: Instant,
    /// When the last frame was concluded, or else the runner was ready.
    last_frame: Instant,
    painted: u64,
    complaints: Complaints,
}

impl Runner {
    /// Paints frames, and says why no more.
    fn work(&mut self) -> Result<String, ServeError> {
        loop {
            if let Some(why) = self.orders() {
                return Ok(why.to_owned());
            }
            if self.limits.near(self.started.elapsed()) {
                return Ok("its time limit is near".to_owned());
            }
            if self.paint_next()? {
                continue;
            }
            self.pulse.tell(|heartbeat| heartbeat.state = RunnerState::Idle);
            let idle = self.last_frame.elapsed();
            // Only after a look that found nothing: what was staged meanwhile is still painted.
            if let Some(idle_exit) = self.idle_exit.filter(|idle_exit| idle >= *idle_exit) {
                return Ok(format!("no frame for {} s", idle_exit.as_secs()));
            }
            let rest = self.idle_exit.map_or(Duration::MAX, |idle_exit| idle_exit.saturating_sub(idle));
            sleep(pause(idle).min(rest));
        }
    }

    fn orders(&mut self) -> Option<&'static str> {
        self.place.orders().unwrap_or_else(|error| {
            self.complaints.make(format!("its directory cannot be listed: {error}"));
            None
        })
    }

    /// Looks into the queue once, and paints the first frame there that it can claim. `false` if there is none.
    fn paint_next(&mut self) -> Result<bool, ServeError> {
        let waiting = self.queue.look().unwrap_or_else(|error| {
            self.complaints.make(format!("the queue cannot be listed: {error}"));
            Vec::new()
        });
        for waiting in waiting {
            if let Some(task) = self.claim(&waiting) {
                self.queue.settle(&waiting.key);
                self.paint(&task)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Claims the frame behind a marker, if it is free. What keeps one frame from being claimed is said and keeps nobody from
    /// the next.
    fn claim(&mut self, waiting: &Waiting) -> Option<Task> {
        let (id, dir) = (waiting.id, self.root.job(waiting.id));
        let claimed = match self.queue.standing(waiting) {
            Ok(Standing::Free) => {
                let task = Task { dir, id, queue: Some(waiting.key.clone()), started: Instant::now() };
                self.painter.claim(&task).map(|claimed| claimed.then_some(task))
            }
            Ok(Standing::Claimed) => Ok(None),
            Ok(Standing::Stale) => self.queue.remove(waiting).map(|()| None),
            Err(error) => Err(error),
        };
        claimed.unwrap_or_else(|error| {
            self.complaints.make(format!("job {id}: cannot be claimed: {error}"));
            None
        })
    }

    /// Paints a claimed frame. A frame that fails has its result, and the next one may do better.
    fn paint(&mut self, task: &Task) -> Result<(), ServeError> {
        self.pulse.tell(|heartbeat| heartbeat.state = RunnerState::Painting { job: task.id });
        let ended = self.painter.paint(task);
        let Ended { ending, timings } = ended.map_err(|source| ServeError::Conclude { job: task.id, source })?;
        self.painted += u64::from(ending == Ending::Painted);
        let without_load = (timings.total_ms - timings.load_ms).max(0.0);
        self.limits.count(Duration::from_secs_f64(without_load / 1e3));
        self.complaints.made.clear();
        let loaded = self.painter.models().loaded();
        self.pulse.tell(|heartbeat| {
            heartbeat.model = loaded.map(|(name, _)| name.to_owned());
            heartbeat.device = loaded.map(|(_, device)| device);
            heartbeat.painted = self.painted;
        });
        self.last_frame = Instant::now();
        Ok(())
    }
}

/// Says in the log what goes wrong, each thing once until a frame was painted again.
struct Complaints {
    log: Log,
    made: HashSet<String>,
}

impl Complaints {
    fn make(&mut self, complaint: String) {
        if self.made.insert(complaint.clone()) {
            self.log.line(format_args!("{complaint}"));
        }
    }
}
