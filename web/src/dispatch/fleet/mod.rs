//! Warm runners: as many as frames wait, started gently and watched while they live.
//!
//! The fleet asks the scheduler about all of them in one question, and reads their heartbeats, every few seconds and only
//! while there are any. A runner that dies takes no frame along: whoever waits for one that it had claimed is told.

mod estate;
mod plan;
mod runner;
mod trouble;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use livewebcam_jobs::batch_script::Serving;
use livewebcam_jobs::{BatchJob, DeviceChoice, Failure, Heartbeat, RunnerFile, RunnerId, Stage, local};
use serde::Serialize;
use tokio::sync::mpsc;

use self::plan::{Standing, Step, plan};
use self::runner::{End, Runner};
use self::trouble::Trouble;
use super::Dispatcher;
use super::pace::Pace;
use super::paint::{SMALL_FILE, chain};
use super::watcher::Verdict;
use crate::scheduler::SubmitError;
use crate::settings::{PLACES_PER_RUNNER, Policy, seconds};
use crate::transport::TransportError;

/// After so long without news, what was known of idle runners is looked at again before a frame relies on it.
const QUIET: Duration = Duration::from_secs(1);
/// Between two thoughts while frames wait: for pauses that end and patience that runs out.
const THOUGHT: Duration = Duration::from_millis(500);
/// Files that are read at once.
const BREADTH: usize = 32;

/// A runner, as `/serverinfo` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct RunnerInfo {
    /// Its id.
    pub id: RunnerId,
    /// The model that it serves.
    pub model: String,
    /// Where that computes, once it has said so.
    pub device: Option<DeviceChoice>,
    /// `pending`, `starting`, `idle`, `painting` or `leaving`.
    pub state: &'static str,
    /// Frames that it has painted.
    pub painted: u64,
}

/// What others may know of the fleet.
#[derive(Default)]
pub(super) struct Board(Mutex<News>);

#[derive(Default)]
struct News {
    runners: Vec<RunnerInfo>,
    /// Models whose runners do not stay, and why.
    troubles: BTreeMap<String, String>,
    /// The model that runners are kept for.
    standby: Option<String>,
}

impl Board {
    pub(super) fn runners(&self) -> Vec<RunnerInfo> {
        self.lock().runners.clone()
    }

    pub(super) fn troubles(&self) -> BTreeMap<String, String> {
        self.lock().troubles.clone()
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a runner was not submitted.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("its directory could not be put together")]
    Stage(#[from] TransportError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error("it took longer than {0} s")]
    Deadline(f64),
}

struct Fleet {
    dispatcher: Dispatcher,
    board: Arc<Board>,
    pace: Pace,
    runners: BTreeMap<RunnerId, Runner>,
    troubles: BTreeMap<String, Trouble>,
    launched: mpsc::UnboundedReceiver<(RunnerId, Result<(), LaunchError>)>,
    tell_launched: mpsc::UnboundedSender<(RunnerId, Result<(), LaunchError>)>,
}

impl Dispatcher {
    /// Looks after warm runners until the dispatcher closes.
    pub(super) fn keep_fleet(&self) {
        if self.0.settings.policy() == Policy::Warm {
            let (tell_launched, launched) = mpsc::unbounded_channel();
            let fleet = Fleet {
                dispatcher: self.clone(),
                board: self.0.board.clone(),
                pace: Pace::new(self.0.settings.submits_per_minute()),
                runners: BTreeMap::new(),
                troubles: BTreeMap::new(),
                launched,
                tell_launched,
            };
            self.spawn(fleet.run());
        }
    }

    /// Keeps `warm.min_standby` runners of this model from now on.
    pub fn keep_standby(&self, model: &str) {
        self.0.board.lock().standby = Some(model.to_owned());
        self.0.line.stir();
    }

    /// Ends the runners of a predecessor: their frames are nobody's any more. Those that were alive may still conclude them.
    pub(super) async fn retire_runners(&self) -> Result<HashSet<RunnerId>, TransportError> {
        let entries = self.0.transport.list(&self.0.transport.root().runners()).await?;
        let runners: Vec<BatchJob> =
            entries.iter().filter_map(|entry| entry.name.parse().ok()).map(BatchJob::Runner).collect();
        if runners.is_empty() {
            return Ok(HashSet::new());
        }
        // Should the scheduler not answer, they find this.
        let ended = self.end_runners(&runners).await;
        if ended.is_err() {
            for id in entries.iter().filter_map(|entry| entry.name.parse().ok()) {
                let stop = self.0.transport.root().warm_runner(id).file(RunnerFile::Stop);
                self.0.transport.replace(&stop, b"the server was restarted\n", 0o600).await?;
            }
        }
        ended
    }

    async fn end_runners(&self, runners: &[BatchJob]) -> Result<HashSet<RunnerId>, TransportError> {
        let sights = self.0.scheduler.look(runners).await?;
        let alive: Vec<BatchJob> =
            sights.into_iter().filter(|(_, sight)| sight.is_alive()).map(|(runner, _)| runner).collect();
        if !alive.is_empty() {
            tracing::info!(runners = alive.len(), "ending the runners of the last frontend");
        }
        self.0.scheduler.cancel(&alive).await?;
        let runner = |job: BatchJob| match job {
            BatchJob::Runner(id) => Some(id),
            BatchJob::Frame(_) => None,
        };
        Ok(alive.into_iter().filter_map(runner).collect())
    }
}

impl Fleet {
    async fn run(mut self) {
        let dispatcher = self.dispatcher.clone();
        let (line, scheduler) = (&dispatcher.0.line, &dispatcher.0.scheduler);
        let interval = scheduler.look_interval(seconds(dispatcher.0.settings.watch.squeue_seconds));
        let (mut looked, mut stirred) = (Instant::now(), Instant::now());
        loop {
            let rest = if !line.demand().is_empty() { THOUGHT.min(interval) } else { interval };
            let asleep = self.runners.is_empty() && line.demand().is_empty() && !self.lacks_standby();
            if dispatcher.is_superseded() {
                break;
            }
            let mut ended = false;
            tokio::select! {
                () = dispatcher.0.closing.cancelled() => break,
                () = line.changed() => {
                    if stirred.elapsed() > QUIET {
                        self.listen().await;
                    }
                    stirred = Instant::now();
                }
                () = scheduler.ended() => ended = true,
                Some((id, launched)) = self.launched.recv() => self.was_launched(id, launched).await,
                () = tokio::time::sleep(rest), if !asleep => {}
            }
            if ended || looked.elapsed() >= interval {
                self.look().await;
                looked = Instant::now();
            }
            self.steer().await;
            self.publish();
        }
        let runners: Vec<BatchJob> = self.runners.keys().copied().map(BatchJob::Runner).collect();
        if let Err(error) = scheduler.cancel(&runners).await {
            tracing::warn!(error = chain(&error), "the runners were not ended; the next start does it");
        }
    }

    fn lacks_standby(&self) -> bool {
        let least = self.dispatcher.0.settings.warm.min_standby;
        self.runners.len() < least && self.board.lock().standby.is_some()
    }

    /// Starts and stops runners as the line asks.
    async fn steer(&mut self) {
        let dispatcher = self.dispatcher.clone();
        let (line, settings) = (&dispatcher.0.line, &dispatcher.0.settings);
        let now = Instant::now();
        let mut demand = line.demand();
        for (model, trouble) in self.troubles.iter().filter(|(_, trouble)| trouble.pauses(now)) {
            demand.remove(model);
            if let Some(failure) = trouble.hopeless()
                && !self.runners.values().any(|runner| runner.model == *model)
            {
                line.refuse(model, failure);
                for id in line.placed(model) {
                    dispatcher.0.watcher.tell(id, Verdict::Hopeless(failure.clone()));
                }
            }
        }
        let unwanted = |(id, runner): (&RunnerId, &mut Runner)| {
            let wanted = demand.contains_key(&runner.model);
            runner.is_idle_wish(wanted, now).then_some(*id)
        };
        for id in self.runners.iter_mut().filter_map(unwanted).collect::<Vec<_>>() {
            self.withdraw(id).await;
        }
        let standby = self.board.lock().standby.clone();
        let standby = standby.filter(|model| !self.troubles.get(model).is_some_and(|trouble| trouble.pauses(now)));
        let least = standby.map(|model| (model, settings.warm.min_standby)).into_iter().collect();
        for step in plan(&demand, &self.standings(), &least, settings.max_runners()) {
            match step {
                Step::Start(model) => {
                    if self.pace.take().is_err() {
                        break;
                    }
                    self.start(&model);
                }
                Step::Stop(id) => self.stop(id).await,
            }
        }
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for runner in self.runners.values() {
            *places.entry(&runner.model).or_default() += if runner.leaving { 0 } else { PLACES_PER_RUNNER };
        }
        line.set_places(&places);
    }

    fn standings(&self) -> Vec<Standing> {
        let standing = |(id, runner): (&RunnerId, &Runner)| Standing {
            id: *id,
            model: runner.model.clone(),
            idle: runner.is_idle(),
            settled: runner.painted() > 0,
            leaving: runner.leaving,
        };
        self.runners.iter().map(standing).collect()
    }

    fn start(&mut self, model: &str) {
        let id = RunnerId::new();
        tracing::info!(runner = %id, model, "starting a warm runner");
        let settings = &self.dispatcher.0.settings.warm;
        let staying = self.runners.values().filter(|runner| runner.model == model && runner.stays).count();
        let stays = self.board.lock().standby.as_deref() == Some(model) && staying < settings.min_standby;
        self.runners.insert(id, Runner::new(model, stays, Instant::now()));
        // A runner on standby ends with its time limit, or with the frontend.
        let idle_exit = (!stays).then_some(settings.idle_exit);
        let (dispatcher, tell, model) = (self.dispatcher.clone(), self.tell_launched.clone(), model.to_owned());
        self.dispatcher.spawn(async move {
            let deadlines = &dispatcher.0.settings.deadlines;
            let deadline = deadlines.stage + 3.0 * deadlines.submit;
            let launched =
                match tokio::time::timeout(seconds(deadline), launch(&dispatcher, id, &model, idle_exit)).await {
                    Ok(launched) => launched,
                    Err(_) => Err(LaunchError::Deadline(deadline)),
                };
            let _ = tell.send((id, launched));
        });
    }

    async fn was_launched(&mut self, id: RunnerId, launched: Result<(), LaunchError>) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        runner.submitted = true;
        let Err(error) = launched else { return };
        let reason = match &error {
            LaunchError::Submit(error) => error.for_visitor(),
            LaunchError::Stage(_) | LaunchError::Deadline(_) => "the cluster could not be told to start a runner",
        };
        tracing::warn!(runner = %id, error = chain(&error), "the runner was not submitted");
        // Should it start all the same, nobody counts on it.
        if let Err(error) = self.dispatcher.0.scheduler.cancel(&[BatchJob::Runner(id)]).await {
            tracing::debug!(runner = %id, error = chain(&error), "nor was it cancelled");
        }
        let model = runner.model.clone();
        self.runners.remove(&id);
        self.blame(&model, Failure::new(Stage::Submit, reason, chain(&error)));
    }

    /// Takes a runner that only waits in the scheduler's queue out of it.
    async fn withdraw(&mut self, id: RunnerId) {
        match self.dispatcher.0.scheduler.cancel(&[BatchJob::Runner(id)]).await {
            Ok(()) => {
                tracing::info!(runner = %id, "nobody waits any longer for a runner that has not started; it is withdrawn");
                self.runners.remove(&id);
            }
            Err(error) => {
                tracing::warn!(runner = %id, error = chain(&error), "a runner was not withdrawn; trying again")
            }
        }
    }

    /// Tells a runner to leave when it has finished its frame.
    async fn stop(&mut self, id: RunnerId) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        if !runner.running {
            return self.withdraw(id).await;
        }
        tracing::info!(runner = %id, model = runner.model, "sending a runner away to make room for another model");
        runner.leaving = true;
        let transport = &self.dispatcher.0.transport;
        let stop = transport.root().warm_runner(id).file(RunnerFile::Stop);
        if let Err(error) = transport.replace(&stop, b"another model is wanted\n", 0o600).await {
            tracing::warn!(runner = %id, error = chain(&error), "the runner was not told to leave; trying again");
            runner.leaving = false;
        }
    }

    /// One question to the scheduler, for all runners, and a look at their heartbeats.
    async fn look(&mut self) {
        let ids: Vec<RunnerId> =
            self.runners.iter().filter(|(_, runner)| runner.submitted).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let batch_jobs: Vec<BatchJob> = ids.iter().copied().map(BatchJob::Runner).collect();
        let sights = match self.dispatcher.0.scheduler.look(&batch_jobs).await {
            Ok(sights) => sights,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the scheduler does not answer; keeping the last known states");
                return self.listen().await;
            }
        };
        // Whoever leaves says so before the scheduler can know it, so heartbeats are read after the question.
        self.listen().await;
        let now = Instant::now();
        for id in ids {
            let Some(runner) = self.runners.get_mut(&id) else { continue };
            if let Some(end) = runner.seen(sights.get(&BatchJob::Runner(id)), now) {
                self.end(id, end).await;
            }
        }
        self.explain();
    }

    /// Reads the heartbeats of all runners that may have one.
    async fn listen(&mut self) {
        let transport = self.dispatcher.0.transport.clone();
        let heard = |id: RunnerId| {
            let transport = transport.clone();
            async move {
                let path = transport.root().warm_runner(id).file(RunnerFile::Heartbeat);
                let json = transport.read(&path, SMALL_FILE).await.ok()??;
                Some((id, serde_json::from_slice::<Heartbeat>(&json).ok()?))
            }
        };
        let ids: Vec<RunnerId> =
            self.runners.iter().filter(|(_, runner)| runner.submitted).map(|(id, _)| *id).collect();
        let beats: Vec<_> = stream::iter(ids).map(heard).buffer_unordered(BREADTH).collect().await;
        let now = Instant::now();
        for (id, heartbeat) in beats.into_iter().flatten() {
            let Some(runner) = self.runners.get_mut(&id) else { continue };
            if heartbeat.painted > 0 {
                self.troubles.remove(&runner.model);
            }
            let ended = runner.heard(heartbeat, now);
            if let Some(end) = ended {
                self.end(id, end).await;
            }
        }
    }

    /// A runner is gone. What it had claimed goes to another one.
    async fn end(&mut self, id: RunnerId, end: End) {
        let Some(runner) = self.runners.get(&id) else { return };
        let (model, painted, told) = (runner.model.clone(), runner.painted(), runner.leaving);
        let words = match end {
            End::Left(why) => {
                tracing::info!(runner = %id, painted, why, "a runner has left");
                why
            }
            End::Died(words) => {
                tracing::warn!(runner = %id, model, painted, words, "a runner has died");
                words
            }
            End::Silent(words) => {
                tracing::warn!(runner = %id, model, painted, words, "ending a runner");
                // Until that has worked, it may come back to life and counts as one of the runners.
                if let Err(error) = self.dispatcher.0.scheduler.cancel(&[BatchJob::Runner(id)]).await {
                    tracing::warn!(runner = %id, error = chain(&error), "the runner was not ended; trying again");
                    return;
                }
                words
            }
        };
        let placed = self.dispatcher.0.line.placed(&model);
        let claimed = match self.dispatcher.claimed_by(id, placed).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(runner = %id, error = chain(&error), "what the runner had claimed is not known; trying again");
                return;
            }
        };
        self.runners.remove(&id);
        let log = self.dispatcher.0.transport.root().warm_runner(id).file(RunnerFile::Log);
        for job in claimed {
            self.dispatcher.0.watcher.tell(job, Verdict::Dead { words: words.clone(), log: log.clone() });
        }
        if painted == 0 && !told && self.dispatcher.0.line.demand().contains_key(&model) {
            let detail = self.dispatcher.tail_of(&log).await;
            self.blame(&model, Failure::new(Stage::Wait, format!("no runner stays on the cluster ({words})"), detail));
        }
        self.dispatcher.sweep_runners_later();
    }

    fn blame(&mut self, model: &str, failure: Failure) {
        let now = Instant::now();
        match self.troubles.get_mut(model) {
            Some(trouble) => trouble.again(now, failure),
            None => drop(self.troubles.insert(model.to_owned(), Trouble::new(now, failure))),
        }
    }

    /// Tells whoever waits why no runner has started yet.
    fn explain(&self) {
        for model in self.dispatcher.0.line.demand().keys() {
            let mut runners = self.runners.values().filter(|runner| runner.model == *model);
            let started = runners.clone().any(|runner| runner.running);
            let waits = if started { None } else { runners.find_map(|runner| runner.waits) };
            for id in self.dispatcher.0.line.placed(model) {
                self.dispatcher.0.journeys.waits(id, waits);
            }
        }
    }

    fn publish(&self) {
        let info = |(id, runner): (&RunnerId, &Runner)| RunnerInfo {
            id: *id,
            model: runner.model.clone(),
            device: runner.heartbeat.as_ref().and_then(|heartbeat| heartbeat.device),
            state: runner.state(),
            painted: runner.painted(),
        };
        let mut news = self.board.lock();
        news.runners = self.runners.iter().map(info).collect();
        news.troubles =
            self.troubles.iter().map(|(model, trouble)| (model.clone(), trouble.reason().to_owned())).collect();
    }
}

/// Puts a runner's directory together and submits it.
async fn launch(dispatcher: &Dispatcher, id: RunnerId, model: &str, idle_exit: Option<u32>) -> Result<(), LaunchError> {
    let (transport, settings) = (&dispatcher.0.transport, &dispatcher.0.settings);
    let runner = transport.root().warm_runner(id);
    let serving = Serving { model, idle_exit, time_limit: &settings.warm.time_limit };
    let script = settings.slurm.resources.script_of_runner(id, &serving);
    let script = script.expect("the settings were checked when they were read");
    dispatcher.open_queue(model).await?;
    transport.create_dir(runner.path()).await?;
    transport.replace(&runner.file(RunnerFile::Script), script.as_bytes(), 0o600).await?;
    let submission = dispatcher.0.scheduler.submit(BatchJob::Runner(id)).await?;
    if dispatcher.is_closing() {
        // Whoever ends the runners may have done so before this one was there.
        dispatcher.0.scheduler.cancel(&[BatchJob::Runner(id)]).await?;
    }
    transport.replace(&runner.file(RunnerFile::Submission), &local::to_json(&submission), 0o600).await?;
    Ok(())
}
