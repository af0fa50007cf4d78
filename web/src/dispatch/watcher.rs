//! One watcher for all frames in flight: a look into `done/` many times a second, a question to the scheduler every few
//! seconds, and neither while nothing is in flight.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livewebcam_jobs::{BatchJob, Failure, JobFile, JobId, Marker};
use notify::Watcher as _;
use tokio::sync::{Notify, mpsc, oneshot};

use super::journeys::Journeys;
use super::paint::chain;
use crate::scheduler::{Scheduler, Sight};
use crate::settings::{Settings, seconds};
use crate::transport::{Entry, Transport, TransportError};

/// Successful questions in a row that a job must be missing from before it counts as dead.
const MISSING: u32 = 2;
/// After an error, looks are this far apart.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// A look that takes longer makes the connection suspect.
const LOOK_DEADLINE: Duration = Duration::from_secs(15);
/// Where the operating system tells of changes, a look for safety's sake this often.
const BEHIND_EVENTS: Duration = Duration::from_millis(250);

/// Why waiting for a job has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its marker is in `done/`, or somebody else concluded it.
    Done,
    /// Who was to paint it has ended. There may be a result all the same.
    Dead {
        /// How, in words.
        words: String,
        /// What it printed.
        log: PathBuf,
    },
    /// Nobody can paint it.
    Hopeless(Failure),
    /// A newer frame of the same visitor took its place, and it has been concluded.
    Superseded,
}

pub(super) struct Watcher {
    messages: mpsc::UnboundedSender<Message>,
}

enum Message {
    Expect(JobId, oneshot::Sender<Verdict>),
    Begin(JobId),
    Tell(JobId, Verdict),
}

/// The end of a job that is expected.
pub(super) struct Expected(oneshot::Receiver<Verdict>);

impl Expected {
    /// Resolves when the job has ended; the deadline is the caller's.
    pub(super) async fn verdict(self) -> Verdict {
        self.0.await.unwrap_or(Verdict::Done)
    }
}

impl Watcher {
    /// Without a `scheduler` frames have no batch jobs of their own that could be asked for.
    pub(super) fn start(
        transport: &Arc<Transport>,
        scheduler: Option<&Arc<Scheduler>>,
        settings: &Settings,
        journeys: &Journeys,
    ) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let events = Events::watch(transport);
        let round = Round {
            transport: transport.clone(),
            scheduler: scheduler.cloned(),
            journeys: journeys.clone(),
            look: Duration::from_millis(settings.watch.look_ms),
            ask: scheduler
                .map_or(Duration::MAX, |scheduler| scheduler.look_interval(seconds(settings.watch.squeue_seconds))),
            waiting: HashMap::new(),
            errors: 0,
            events,
        };
        tokio::spawn(round.run(inbox));
        Self { messages }
    }

    /// From now on nothing that is told of the job is lost. Nobody looks for its end before [`Watcher::begin`].
    pub(super) fn expect(&self, id: JobId) -> Expected {
        let (sender, receiver) = oneshot::channel();
        let _ = self.messages.send(Message::Expect(id, sender));
        Expected(receiver)
    }

    /// The job can end by itself now. Bounded by the frames in flight.
    pub(super) fn begin(&self, id: JobId) {
        let _ = self.messages.send(Message::Begin(id));
    }

    /// Lets everybody who waits for the job know.
    pub(super) fn tell(&self, id: JobId, verdict: Verdict) {
        let _ = self.messages.send(Message::Tell(id, verdict));
    }
}

/// The operating system's word that something changed in `done/`. NFS gives none for other hosts' changes, so it is only ever
/// a reason to look earlier.
struct Events {
    changed: Arc<Notify>,
    /// Kept for as long as it should report.
    _watcher: Option<notify::RecommendedWatcher>,
    /// Whether no look found a marker that had not been announced.
    trusted: bool,
}

impl Events {
    fn watch(transport: &Transport) -> Self {
        let changed = Arc::<Notify>::default();
        let folder = transport.root().marker_dir(&Marker::Done);
        let watcher = transport.mounted(&folder).and_then(|folder| {
            let tell = changed.clone();
            let handler = move |event: notify::Result<notify::Event>| {
                // Reading the folder is an event too, and no news.
                if event.is_ok_and(|event| event.kind.is_create() || event.kind.is_modify()) {
                    tell.notify_one();
                }
            };
            let mut watcher = notify::recommended_watcher(handler).ok()?;
            watcher.watch(&folder, notify::RecursiveMode::NonRecursive).ok()?;
            Some(watcher)
        });
        Self { changed, trusted: watcher.is_some(), _watcher: watcher }
    }
}

#[derive(Default)]
struct Waiting {
    listeners: Vec<oneshot::Sender<Verdict>>,
    begun: bool,
    missing: u32,
}

struct Round {
    transport: Arc<Transport>,
    scheduler: Option<Arc<Scheduler>>,
    /// Told why jobs wait.
    journeys: Journeys,
    look: Duration,
    ask: Duration,
    waiting: HashMap<JobId, Waiting>,
    errors: u32,
    events: Events,
}

impl Round {
    /// Ends when the dispatcher is gone.
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let mut asked = Instant::now();
        loop {
            self.forget_the_gone();
            if !self.waiting.values().any(|waiting| waiting.begun) {
                let message = inbox.recv().await;
                let Some(message) = message else { return };
                self.take(message);
                asked = Instant::now();
                continue;
            }
            let pause = match self.errors {
                0 if self.events.trusted => self.look.max(BEHIND_EVENTS),
                0 => self.look,
                _ => AFTER_ERROR,
            };
            let mut announced = false;
            let mut ended = false;
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return };
                    if !self.take(message) {
                        continue;
                    }
                }
                () = self.events.changed.notified() => announced = true,
                () = ended_somewhere(self.scheduler.as_deref()) => ended = true,
                () = tokio::time::sleep(pause) => {}
            }
            self.look(announced).await;
            if let Some(scheduler) = self.scheduler.clone()
                && (ended || asked.elapsed() >= self.ask)
            {
                self.ask(&scheduler).await;
                asked = Instant::now();
            }
        }
    }

    /// Whether a look is worth its while now.
    fn take(&mut self, message: Message) -> bool {
        let begins = matches!(message, Message::Begin(_));
        match message {
            Message::Expect(id, listener) => self.waiting.entry(id).or_default().listeners.push(listener),
            // It may have been told of meanwhile.
            Message::Begin(id) => self.waiting.get_mut(&id).into_iter().for_each(|waiting| waiting.begun = true),
            Message::Tell(id, verdict) => self.conclude(id, &verdict),
        }
        begins
    }

    /// Nobody waits any longer for a frame that was cancelled.
    fn forget_the_gone(&mut self) {
        self.waiting.retain(|_, waiting| {
            waiting.listeners.retain(|listener| !listener.is_closed());
            !waiting.listeners.is_empty()
        });
    }

    fn conclude(&mut self, id: JobId, verdict: &Verdict) {
        for listener in self.waiting.remove(&id).into_iter().flat_map(|waiting| waiting.listeners) {
            let _ = listener.send(verdict.clone());
        }
    }

    /// One READDIR of `done/`, for all frames.
    async fn look(&mut self, announced: bool) {
        let folder = self.transport.root().marker_dir(&Marker::Done);
        match self.list(&folder).await {
            Ok(entries) => {
                self.errors = 0;
                for id in entries.iter().filter_map(|entry| entry.name.parse().ok()) {
                    if self.waiting.contains_key(&id) {
                        self.conclude(id, &Verdict::Done);
                        // A marker may appear between its event and the look; one miss is no proof, but polling is never wrong.
                        self.events.trusted &= announced || self.events.changed_now();
                    }
                }
            }
            Err(error) => {
                self.errors += 1;
                if self.errors.is_power_of_two() {
                    tracing::warn!(errors = self.errors, error = chain(&error), "done/ cannot be read; trying again");
                }
            }
        }
    }

    async fn list(&self, folder: &Path) -> Result<Vec<Entry>, TransportError> {
        match tokio::time::timeout(LOOK_DEADLINE, self.transport.list(folder)).await {
            Ok(listed) => listed,
            Err(_) => {
                self.transport.suspect().await;
                let seconds = LOOK_DEADLINE.as_secs_f64();
                Err(TransportError::Deadline { action: "listing done/".to_owned(), seconds })
            }
        }
    }

    /// One question to the scheduler, for all frames. No answer means that the last known state holds.
    async fn ask(&mut self, scheduler: &Scheduler) {
        let begun = self.waiting.iter().filter(|(_, waiting)| waiting.begun);
        let ids: Vec<JobId> = begun.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let batch_jobs: Vec<BatchJob> = ids.iter().copied().map(BatchJob::Frame).collect();
        let sights = match scheduler.look(&batch_jobs).await {
            Ok(sights) => sights,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the scheduler does not answer; keeping the last known states");
                return;
            }
        };
        // A runner writes its marker before it ends, so the end is news only if a later look finds no marker.
        self.look(true).await;
        for id in ids {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            match sights.get(&BatchJob::Frame(id)) {
                Some(Sight::Alive { waits, .. }) => {
                    waiting.missing = 0;
                    self.journeys.waits(id, *waits);
                }
                Some(Sight::Ended(words)) => self.dead(id, words.clone()),
                None => {
                    waiting.missing += 1;
                    if waiting.missing >= MISSING {
                        self.dead(id, "the scheduler no longer knows the job".to_owned());
                    }
                }
            }
        }
    }
}

impl Round {
    fn dead(&mut self, id: JobId, words: String) {
        let log = self.transport.root().job(id).file(JobFile::Log);
        self.conclude(id, &Verdict::Dead { words, log });
    }
}

async fn ended_somewhere(scheduler: Option<&Scheduler>) {
    match scheduler {
        Some(scheduler) => scheduler.ended().await,
        None => std::future::pending().await,
    }
}

impl Events {
    /// Whether an event has come in since the last one was taken; it stays for the next round.
    fn changed_now(&self) -> bool {
        use futures_util::FutureExt;
        let came = self.changed.notified().now_or_never().is_some();
        if came {
            self.changed.notify_one();
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_told_of_a_job_before_it_begins_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::load(None, []).expect("the defaults");
        settings.cluster.root = folder.path().to_owned();
        let transport = Arc::new(Transport::connect(&settings).await.expect("a tree"));
        for folder in transport.root().skeleton() {
            transport.create_dir(&folder).await.expect("a folder");
        }
        let watcher = Watcher::start(&transport, None, &settings, &Journeys::default());
        let (early, late) = (JobId::new(), JobId::new());
        let (superseded, mut done) = (watcher.expect(early), Box::pin(watcher.expect(late).verdict()));
        watcher.tell(early, Verdict::Superseded);
        watcher.begin(early);
        assert_eq!(superseded.verdict().await, Verdict::Superseded);

        let marker = transport.root().marker(&Marker::Done, late);
        std::fs::write(marker, "").expect("a marker");
        tokio::time::sleep(2 * BEHIND_EVENTS).await;
        assert_eq!(done.as_mut().now_or_never(), None, "nothing has begun, and yet somebody looked");
        watcher.begin(late);
        assert_eq!(done.await, Verdict::Done);
    }
}
