//! Who may go next. A frame waits here, in the frontend's memory, until a place on the cluster is its own, so that order,
//! fairness and freshness are decided late and cost the cluster nothing.
//!
//! Places go round the visitors: whoever has the fewest frames under way is next, and of those whoever was served longest
//! ago. Of one visitor only the newest frame waits; it takes the place of the one before, which nobody would look at any
//! more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use livewebcam_jobs::{Failure, JobId};
use serde::Serialize;
use tokio::sync::{Notify, oneshot};

/// How much a new measurement counts in the mean time of a painting.
const NEWEST: f64 = 0.2;
/// Visitors whose last turn is remembered.
const REMEMBERED: usize = 1000;

/// Too many frames; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}; try again in {retry_after} s", full.words())]
pub struct Busy {
    /// Which bound was met.
    pub full: Full,
    /// Seconds after which a new try makes sense.
    pub retry_after: u64,
}

/// A bound on frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// On frames under way and waiting.
    Line,
    /// On one visitor's.
    Visitor,
    /// On submissions in a minute.
    Pace,
}

impl Full {
    fn words(self) -> &'static str {
        match self {
            Self::Line => "as many frames as allowed are being painted",
            Self::Visitor => "as many of your frames as allowed are being painted",
            Self::Pace => "as many frames as allowed were submitted in the last minute",
        }
    }
}

/// Why a frame's turn will not come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// A newer frame of the same visitor took its place.
    Superseded,
    /// Nobody can paint it.
    Hopeless(Failure),
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Frames for the same model that come before it.
    pub ahead: usize,
    /// About how many seconds it takes until it is painted, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// What is asked of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// Frames without an answer.
    pub(super) frames: usize,
    /// How long the oldest of them has been waiting: for a place, a runner, or its painting.
    pub(super) waited: Duration,
}

/// Frames that wait and frames under way. Clones share them.
#[derive(Clone)]
pub(super) struct Line(Arc<Shared>);

struct Shared {
    book: Mutex<Book>,
    changed: Notify,
}

struct Book {
    /// Places for all models together.
    places: usize,
    /// Places of each model, where runners serve one model each.
    places_of: Option<HashMap<String, usize>>,
    max_waiting: usize,
    per_visitor: usize,
    frames: BTreeMap<JobId, Frame>,
    /// Counts turns.
    turn: u64,
    /// Each visitor's last turn.
    turns: HashMap<String, u64>,
    /// Mean milliseconds that a painting takes, by model.
    pace: HashMap<String, f64>,
}

struct Frame {
    visitor: String,
    model: String,
    arrived: Instant,
    state: State,
}

enum State {
    Waiting(oneshot::Sender<Result<(), Refusal>>),
    /// In the order of turns.
    Placed(u64),
}

/// A frame's right to its place in the line, and then to its place on the cluster, until it is dropped.
pub(super) struct Ticket {
    line: Line,
    id: JobId,
    turn: Option<oneshot::Receiver<Result<(), Refusal>>>,
}

impl Line {
    /// Room for `places` frames under way; of each model for none until [`Line::set_places`] says otherwise, if `by_model`.
    pub(super) fn new(places: usize, by_model: bool, max_waiting: usize, per_visitor: usize) -> Self {
        let book = Book {
            places,
            places_of: by_model.then(HashMap::new),
            max_waiting,
            per_visitor,
            frames: BTreeMap::new(),
            turn: 0,
            turns: HashMap::new(),
            pace: HashMap::new(),
        };
        Self(Arc::new(Shared { book: Mutex::new(book), changed: Notify::new() }))
    }

    /// Takes a visitor's new frame in. If it has to wait, it supersedes the one that already does.
    pub(super) fn enter(&self, id: JobId, visitor: &str, model: &str) -> Result<Ticket, Busy> {
        let (sender, turn) = oneshot::channel();
        let mut book = self.lock();
        book.room_for(visitor)?;
        let (visitor, model) = (visitor.to_owned(), model.to_owned());
        let frame = Frame { visitor, model, arrived: Instant::now(), state: State::Waiting(sender) };
        book.frames.insert(id, frame);
        book.grant();
        if book.is_waiting(id) {
            book.supersede(id);
            let waiting = book.waiting().count();
            // Where models have places of their own, a first frame is what brings them.
            if waiting > book.max_waiting && (book.places_of.is_none() || book.under_way() + waiting > book.places) {
                book.frames.remove(&id);
                return Err(Busy { full: Full::Line, retry_after: 1 });
            }
        }
        drop(book);
        self.stir();
        Ok(Ticket { line: self.clone(), id, turn: Some(turn) })
    }

    /// Whether a visitor's frame would be taken in, as far as can be told before it has arrived.
    pub(super) fn room_for(&self, visitor: &str) -> Result<(), Busy> {
        let book = self.lock();
        book.room_for(visitor)?;
        let full = book.under_way() >= book.places && book.waiting().count() >= book.max_waiting;
        if full && !book.waiting().any(|(_, frame)| frame.visitor == visitor) {
            return Err(Busy { full: Full::Line, retry_after: 1 });
        }
        Ok(())
    }

    /// Resolves after a frame came or went.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Makes [`Line::changed`] resolve.
    pub(super) fn stir(&self) {
        self.0.changed.notify_one();
    }

    /// Models have these places from now on, and all others none.
    pub(super) fn set_places(&self, places: &BTreeMap<&str, usize>) {
        let mut book = self.lock();
        if book.places_of.is_some() {
            book.places_of = Some(places.iter().map(|(model, places)| ((*model).to_owned(), *places)).collect());
        }
        book.grant();
    }

    /// What is asked of each model.
    pub(super) fn demand(&self) -> BTreeMap<String, Demand> {
        let mut demands = BTreeMap::new();
        for frame in self.lock().frames.values() {
            let demand = demands.entry(frame.model.clone()).or_insert(Demand { frames: 0, waited: Duration::ZERO });
            demand.frames += 1;
            demand.waited = demand.waited.max(frame.arrived.elapsed());
        }
        demands
    }

    /// The frames of a model that have a place.
    pub(super) fn placed(&self, model: &str) -> Vec<JobId> {
        let book = self.lock();
        let placed = |frame: &Frame| frame.model == model && matches!(frame.state, State::Placed(_));
        book.frames.iter().filter(|(_, frame)| placed(frame)).map(|(id, _)| *id).collect()
    }

    /// Older frames of the same visitor and model that have a place while this one waits, oldest first.
    pub(super) fn in_the_way_of(&self, id: JobId) -> Vec<JobId> {
        let book = self.lock();
        let Some(newest) = book.frames.get(&id).filter(|_| book.is_waiting(id)) else { return Vec::new() };
        let same = |frame: &Frame| frame.visitor == newest.visitor && frame.model == newest.model;
        let placed = |frame: &Frame| same(frame) && matches!(frame.state, State::Placed(_));
        book.frames.range(..id).filter(|(_, frame)| placed(frame)).map(|(id, _)| *id).collect()
    }

    /// Nobody can paint this model's frames: those that wait are told so.
    pub(super) fn refuse(&self, model: &str, failure: &Failure) {
        self.lock().refuse(|frame| frame.model == model, &Refusal::Hopeless(failure.clone()));
    }

    /// A painting took this long.
    pub(super) fn painted(&self, model: &str, milliseconds: f64) {
        let mut book = self.lock();
        let mean = book.pace.entry(model.to_owned()).or_insert(milliseconds);
        *mean += (milliseconds - *mean) * NEWEST;
    }

    /// Where a frame stands, if it is here.
    pub(super) fn position(&self, id: JobId) -> Option<Position> {
        self.lock().position(id)
    }

    /// Frames under way, frames that wait, and places.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let book = self.lock();
        (book.under_way(), book.waiting().count(), book.places)
    }

    /// How many frames a visitor does well to have in flight: more of them would only wait.
    pub(super) fn share(&self, visitor: &str) -> usize {
        let book = self.lock();
        let mut visitors: HashSet<&str> = book.frames.values().map(|frame| frame.visitor.as_str()).collect();
        visitors.insert(visitor);
        let places = book.places_of.as_ref().map_or(book.places, |places_of| places_of.values().sum::<usize>().max(2));
        (places.min(book.places) / visitors.len()).clamp(1, book.per_visitor.max(1))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn waiting(&self) -> impl Iterator<Item = (JobId, &Frame)> {
        self.frames.iter().filter(|(_, frame)| matches!(frame.state, State::Waiting(_))).map(|(id, frame)| (*id, frame))
    }

    fn under_way(&self) -> usize {
        self.frames.len() - self.waiting().count()
    }

    fn is_waiting(&self, id: JobId) -> bool {
        self.frames.get(&id).is_some_and(|frame| matches!(frame.state, State::Waiting(_)))
    }

    /// A frame that waits makes room for a newer one of its visitor.
    fn room_for(&self, visitor: &str) -> Result<(), Busy> {
        let under_way = self.placed_count(|frame| frame.visitor == visitor);
        if under_way < self.per_visitor {
            return Ok(());
        }
        Err(Busy { full: Full::Visitor, retry_after: 1 })
    }

    fn placed_count(&self, which: impl Fn(&Frame) -> bool) -> usize {
        self.frames.values().filter(|frame| matches!(frame.state, State::Placed(_)) && which(frame)).count()
    }

    fn has_place(&self, model: &str) -> bool {
        let Some(places_of) = &self.places_of else { return self.under_way() < self.places };
        let of_model = self.placed_count(|frame| frame.model == model);
        // Frames that lie ready for a model whose runners have left keep nobody else from painting.
        let under_way = self.placed_count(|frame| places_of.contains_key(&frame.model));
        under_way < self.places && of_model < places_of.get(model).copied().unwrap_or(0)
    }

    /// Frames that wait, in the order of their turns if places came free one by one.
    fn order(&self) -> Vec<JobId> {
        let mut waiting: Vec<_> = self
            .waiting()
            .map(|(id, frame)| {
                let under_way = self.placed_count(|other| other.visitor == frame.visitor);
                (under_way, self.turns.get(&frame.visitor).copied().unwrap_or(0), id)
            })
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Gives every free place away.
    fn grant(&mut self) {
        while let Some(id) = self.order().into_iter().find(|id| self.has_place(&self.frames[id].model)) {
            self.turn += 1;
            let turn = self.turn;
            let Some(frame) = self.frames.get_mut(&id) else { return };
            let State::Waiting(sender) = std::mem::replace(&mut frame.state, State::Placed(turn)) else { return };
            self.turns.insert(frame.visitor.clone(), turn);
            if self.turns.len() > REMEMBERED {
                self.turns.retain(|_, last| *last + (REMEMBERED / 2) as u64 > turn);
            }
            // A frame whose request is gone leaves by its ticket.
            let _ = sender.send(Ok(()));
        }
    }

    fn supersede(&mut self, newest: JobId) {
        let visitor = self.frames[&newest].visitor.clone();
        let older: Vec<JobId> =
            self.waiting().filter(|(id, frame)| *id < newest && frame.visitor == visitor).map(|(id, _)| id).collect();
        for id in older {
            // What a visitor has waited is not lost with the frame that they waited for first.
            let arrived = self.frames[&id].arrived;
            if let Some(frame) = self.frames.get_mut(&newest) {
                frame.arrived = frame.arrived.min(arrived);
            }
            self.send_away(id, Refusal::Superseded);
        }
    }

    fn refuse(&mut self, which: impl Fn(&Frame) -> bool, refusal: &Refusal) {
        let refused: Vec<JobId> = self.waiting().filter(|(_, frame)| which(frame)).map(|(id, _)| id).collect();
        for id in refused {
            self.send_away(id, refusal.clone());
        }
    }

    fn send_away(&mut self, id: JobId, refusal: Refusal) {
        if let Some(Frame { state: State::Waiting(sender), .. }) = self.frames.remove(&id) {
            let _ = sender.send(Err(refusal));
        }
    }

    fn position(&self, id: JobId) -> Option<Position> {
        let frame = self.frames.get(&id)?;
        let before = match frame.state {
            State::Placed(turn) => self.placed_count(|other| {
                other.model == frame.model && matches!(other.state, State::Placed(t) if t < turn)
            }),
            State::Waiting(_) => {
                let order = self.order().into_iter().filter(|id| self.frames[id].model == frame.model);
                self.placed_count(|other| other.model == frame.model) + order.take_while(|other| *other != id).count()
            }
        };
        // Two places stand for one runner, see the fleet. Where every frame is a job of its own, only the scheduler knows.
        let runners = self.places_of.as_ref().map(|places| (places.get(&frame.model).copied().unwrap_or(0) / 2).max(1));
        let seconds = runners.zip(self.pace.get(&frame.model)).map(|(runners, mean)| {
            let rounds = before as f64 / runners as f64 + 1.0;
            (rounds * mean / 1000.0).ceil() as u64
        });
        Some(Position { ahead: before, seconds })
    }
}

impl Ticket {
    /// The frame's job.
    pub(super) fn id(&self) -> JobId {
        self.id
    }

    /// Whether the frame has to wait.
    pub(super) fn is_waiting(&self) -> bool {
        self.line.lock().is_waiting(self.id)
    }

    /// Resolves when the frame has a place.
    pub(super) async fn turn(&mut self) -> Result<(), Refusal> {
        match self.turn.take() {
            // The line outlives its tickets and never forgets a frame without a word.
            Some(turn) => turn.await.unwrap_or(Err(Refusal::Superseded)),
            None => Ok(()),
        }
    }

    /// The frame goes on as another job, in its place.
    pub(super) fn becomes(&mut self, id: JobId) {
        let mut book = self.line.lock();
        if let Some(frame) = book.frames.remove(&self.id) {
            book.frames.insert(id, frame);
        }
        drop(book);
        self.id = id;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.line.lock();
        book.frames.remove(&self.id);
        book.grant();
        drop(book);
        self.line.stir();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MODEL: &str = "starter";

    fn enter(line: &Line, visitor: &str) -> Ticket {
        line.enter(JobId::new(), visitor, MODEL).expect("room")
    }

    /// `None` while it waits.
    fn turn(ticket: &mut Ticket) -> Option<Result<(), Refusal>> {
        let pending = ticket.turn.as_mut().expect("asked once");
        let turn = pending.now_or_never().map(|turn| turn.expect("a word"));
        if turn.is_some() {
            ticket.turn = None;
        }
        turn
    }

    #[test]
    fn places_go_round_the_visitors() {
        let line = Line::new(1, false, 10, 4);
        let mut first = enter(&line, "ada");
        assert_eq!(turn(&mut first), Some(Ok(())));
        let (mut again, mut bob, mut cyd) = (enter(&line, "ada"), enter(&line, "bob"), enter(&line, "cyd"));
        assert_eq!((turn(&mut again), turn(&mut bob), turn(&mut cyd)), (None, None, None));
        assert_eq!(line.position(cyd.id()).map(|position| position.ahead), Some(2), "ada was served already");
        drop(first);
        assert_eq!((turn(&mut again), turn(&mut bob), turn(&mut cyd)), (None, Some(Ok(())), None));
        let mut bobs_next = enter(&line, "bob");
        drop(bob);
        assert_eq!((turn(&mut again), turn(&mut bobs_next), turn(&mut cyd)), (None, None, Some(Ok(()))));
        drop(cyd);
        assert_eq!((turn(&mut again), turn(&mut bobs_next)), (Some(Ok(())), None));
        drop(again);
        assert_eq!(turn(&mut bobs_next), Some(Ok(())));
        drop(bobs_next);
        assert_eq!(line.counts(), (0, 0, 1));
    }

    #[test]
    fn of_one_visitor_only_the_newest_frame_waits() {
        let line = Line::new(1, false, 10, 4);
        let _painted = enter(&line, "ada");
        let (mut stale, mut other) = (enter(&line, "ada"), enter(&line, "bob"));
        let mut newest = enter(&line, "ada");
        assert_eq!(turn(&mut stale), Some(Err(Refusal::Superseded)));
        assert_eq!((turn(&mut newest), turn(&mut other)), (None, None));
        drop(stale);
        assert_eq!(line.counts(), (1, 2, 1));
    }

    #[test]
    fn with_free_places_nothing_is_superseded() {
        let line = Line::new(3, false, 10, 4);
        let mut burst = [enter(&line, "ada"), enter(&line, "ada"), enter(&line, "ada")];
        assert!(burst.iter_mut().all(|ticket| turn(ticket) == Some(Ok(()))));
    }

    #[test]
    fn every_bound_is_kept() {
        let line = Line::new(2, false, 1, 2);
        let _under_way = [enter(&line, "ada"), enter(&line, "ada")];
        let refused = |visitor: &str| line.enter(JobId::new(), visitor, MODEL).err().map(|busy| busy.full);
        assert_eq!(refused("ada"), Some(Full::Visitor));
        let _waiting = enter(&line, "bob");
        assert_eq!(refused("cyd"), Some(Full::Line));
        assert!(line.room_for("cyd").is_err() && line.room_for("bob").is_ok());
        let _instead = enter(&line, "bob");
        assert_eq!(line.counts(), (2, 1, 2));
    }

    #[test]
    fn a_model_has_the_places_of_its_runners() {
        let line = Line::new(8, true, 10, 4);
        let mut frames = [enter(&line, "ada"), enter(&line, "bob"), enter(&line, "cyd")];
        assert!(frames.iter_mut().all(|frame| turn(frame).is_none()));
        assert_eq!(line.demand()[MODEL].frames, 3);
        line.set_places(&BTreeMap::from([("another", 4)]));
        assert!(turn(&mut frames[0]).is_none());
        line.set_places(&BTreeMap::from([(MODEL, 2)]));
        assert_eq!(frames.each_mut().map(turn), [Some(Ok(())), Some(Ok(())), None]);
        assert_eq!(line.placed(MODEL), [frames[0].id(), frames[1].id()]);
        let failure = Failure::new(livewebcam_jobs::Stage::Wait, "no runner", "");
        line.refuse(MODEL, &failure);
        assert_eq!(turn(&mut frames[2]), Some(Err(Refusal::Hopeless(failure))));
    }

    #[test]
    fn frames_of_a_model_without_runners_keep_nobody_from_painting() {
        let line = Line::new(2, true, 10, 4);
        line.set_places(&BTreeMap::from([(MODEL, 2)]));
        let _ready = [enter(&line, "ada"), enter(&line, "bob")];
        let mut other = line.enter(JobId::new(), "cyd", "another").expect("room");
        line.set_places(&BTreeMap::from([("another", 2)]));
        assert_eq!(turn(&mut other), Some(Ok(())));
    }

    #[test]
    fn only_older_frames_of_the_same_kind_are_in_the_way() {
        let line = Line::new(3, false, 10, 4);
        let first = enter(&line, "ada");
        let _other = line.enter(JobId::new(), "ada", "another").expect("room");
        let _bob = enter(&line, "bob");
        let newest = enter(&line, "ada");
        assert_eq!(line.in_the_way_of(newest.id()), [first.id()]);
        let id = first.id();
        drop(first);
        assert_eq!((line.in_the_way_of(newest.id()), line.in_the_way_of(id)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_wait_is_estimated_from_what_paintings_took() {
        let line = Line::new(8, true, 10, 4);
        line.set_places(&BTreeMap::from([(MODEL, 4)]));
        let frames: Vec<Ticket> = ["a", "b", "c", "d", "e"].map(|visitor| enter(&line, visitor)).into();
        let position = |n: usize| line.position(frames[n].id()).expect("it is here");
        assert_eq!(position(4), Position { ahead: 4, seconds: None });
        line.painted(MODEL, 1500.0);
        assert_eq!(position(0), Position { ahead: 0, seconds: Some(2) });
        assert_eq!(position(4), Position { ahead: 4, seconds: Some(5) }, "two runners, two rounds before it");
    }

    #[test]
    fn a_share_is_what_the_others_leave() {
        let line = Line::new(4, false, 10, 3);
        assert_eq!(line.share("ada"), 3, "not more than the bound");
        let _ada = enter(&line, "ada");
        assert_eq!(line.share("bob"), 2);
        let _bob = [enter(&line, "bob"), enter(&line, "cyd"), enter(&line, "dan"), enter(&line, "eve")];
        assert_eq!(line.share("bob"), 1);
    }

    #[test]
    fn a_frame_goes_on_under_another_name() {
        let line = Line::new(1, false, 10, 4);
        let mut ticket = enter(&line, "ada");
        let again = JobId::new();
        ticket.becomes(again);
        assert_eq!(line.placed(MODEL), [again]);
        drop(ticket);
        assert_eq!(line.counts(), (0, 0, 1));
    }
}
