//! Which frames are on their way and how far, for the visitors who wait for them. Nothing here asks the cluster: others
//! write down what they learn anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livewebcam_jobs::JobId;

use super::line::Position;

/// How far a frame is, as far as the frontend knows without looking into its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journey {
    /// Whether it waits for others and no longer for the frontend: in line, for the scheduler or for a runner.
    pub waiting: bool,
    /// Why the scheduler lets the job wait, in plain words, where it says so.
    pub waits: Option<&'static str>,
    /// Its place among the frames for its model.
    pub position: Position,
}

/// Who may ask for a frame before they know its job: a visitor, by a name of their own choice for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The fingerprint of the visitor's cookie.
    pub visitor: String,
    /// The visitor's name for the request.
    pub request: String,
}

#[derive(Default)]
struct Entry {
    tag: Option<Tag>,
    waiting: bool,
    waits: Option<&'static str>,
}

/// Every frame in flight.
#[derive(Clone, Default)]
pub(super) struct Journeys(Arc<Mutex<BTreeMap<JobId, Entry>>>);

/// Keeps a frame listed until it is dropped.
pub(super) struct Listed {
    journeys: Journeys,
    id: Mutex<JobId>,
}

impl Journeys {
    pub(super) fn begin(&self, id: JobId, tag: Option<Tag>) -> Listed {
        self.lock().insert(id, Entry { tag, ..Entry::default() });
        Listed { journeys: self.clone(), id: Mutex::new(id) }
    }

    pub(super) fn waits(&self, id: JobId, why: Option<&'static str>) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.waits = why;
        }
    }

    pub(super) fn named(&self, tag: &Tag) -> Option<JobId> {
        self.lock().iter().find(|(_, entry)| entry.tag.as_ref() == Some(tag)).map(|(id, _)| *id)
    }

    pub(super) fn of(&self, id: JobId) -> Option<Journey> {
        let entries = self.lock();
        let Entry { waiting, waits, .. } = *entries.get(&id)?;
        Some(Journey { waiting, waits, position: Position::default() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Whether the frame waits for others than the frontend.
    pub(super) fn waits(&self, waiting: bool) {
        if let Some(entry) = self.journeys.lock().get_mut(&self.id()) {
            entry.waiting = waiting;
        }
    }

    /// The frame goes on as another job.
    pub(super) fn becomes(&self, id: JobId) {
        let mut entries = self.journeys.lock();
        let mut own = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.remove(&own) {
            entries.insert(id, Entry { waits: None, ..entry });
        }
        *own = id;
    }

    fn id(&self) -> JobId {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let id = self.id();
        self.journeys.lock().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(visitor: &str) -> Tag {
        Tag { visitor: visitor.to_owned(), request: "mine".to_owned() }
    }

    #[test]
    fn a_frame_is_listed_from_its_beginning_to_its_end() {
        let journeys = Journeys::default();
        let (first, second) = (JobId::new(), JobId::new());
        let elder = journeys.begin(first, None);
        let listed = journeys.begin(second, Some(tag("ada")));
        let position = Position::default();
        assert_eq!(journeys.of(second), Some(Journey { waiting: false, waits: None, position }));
        listed.waits(true);
        journeys.waits(second, Some("all places are taken"));
        drop(elder);
        let waits = Some("all places are taken");
        assert_eq!(journeys.of(second), Some(Journey { waiting: true, waits, position }));
        let third = JobId::new();
        listed.becomes(third);
        assert_eq!((journeys.of(second), journeys.named(&tag("ada"))), (None, Some(third)));
        drop(listed);
        assert_eq!(journeys.of(third), None);
    }

    #[test]
    fn a_request_is_its_visitors() {
        let journeys = Journeys::default();
        let id = JobId::new();
        let _listed = journeys.begin(id, Some(tag("ada")));
        assert_eq!(journeys.named(&tag("ada")), Some(id));
        assert_eq!(journeys.named(&tag("bob")), None);
    }
}
