//! Which frames are on their way and how far, for the visitors who wait for them. Nothing here asks the cluster: others
//! write down what they learn anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livewebcam_jobs::JobId;

/// How far a frame is, as far as the frontend knows without looking into its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journey {
    /// Whether the scheduler has taken its job.
    pub submitted: bool,
    /// Why the scheduler lets the job wait, in plain words, where it says so.
    pub waits: Option<&'static str>,
    /// Frames that came earlier and are still on their way.
    pub ahead: usize,
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
    submitted: bool,
    waits: Option<&'static str>,
}

/// Every frame in flight, in the order in which they came.
#[derive(Clone, Default)]
pub(super) struct Journeys(Arc<Mutex<BTreeMap<JobId, Entry>>>);

/// Keeps a frame listed until it is dropped.
pub(super) struct Listed {
    journeys: Journeys,
    id: JobId,
}

impl Journeys {
    pub(super) fn begin(&self, id: JobId, tag: Option<Tag>) -> Listed {
        self.lock().insert(id, Entry { tag, ..Entry::default() });
        Listed { journeys: self.clone(), id }
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
        let Entry { submitted, waits, .. } = *entries.get(&id)?;
        Some(Journey { submitted, waits, ahead: entries.range(..id).count() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    pub(super) fn submitted(&self) {
        if let Some(entry) = self.journeys.lock().get_mut(&self.id) {
            entry.submitted = true;
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.journeys.lock().remove(&self.id);
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
        assert_eq!(journeys.of(second), Some(Journey { submitted: false, waits: None, ahead: 1 }));
        listed.submitted();
        journeys.waits(second, Some("all places are taken"));
        drop(elder);
        let waits = Some("all places are taken");
        assert_eq!(journeys.of(second), Some(Journey { submitted: true, waits, ahead: 0 }));
        drop(listed);
        assert_eq!(journeys.of(second), None);
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
