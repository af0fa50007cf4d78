//! How far a job is, as server-sent events: for its visitor and the operator, while it lasts.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, stream};
use livewebcam_jobs::{JobFile, JobId, Phase, Progress};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::error::ApiError;
use super::jobs::{allow, parse};
use super::page::for_people;
use crate::application::State;
use crate::dispatch::{Position, Tag};
use crate::guard::Visitor;

/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(400);
/// How long a request may take to become a job: its upload is still being read.
const ARRIVAL: Duration = Duration::from_secs(20);
/// A stream that has nothing to say says so this often, or else nobody learns that its reader went away.
const QUIET: Duration = Duration::from_secs(15);
/// `progress.json` is smaller than this.
const SMALL_FILE: u64 = 1 << 16;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Stage {
    /// Its frame is on its way to the cluster.
    Staging {
        #[serde(flatten)]
        position: Position,
    },
    /// It waits for its turn or for a runner; why, in plain words, where the scheduler says so.
    Queued {
        #[serde(flatten)]
        position: Position,
        waits: Option<&'static str>,
    },
    /// The model is being read.
    Loading,
    /// It is being painted.
    Painting { step: u32, steps: u32 },
    /// The painting is on its way back.
    Finishing,
    /// There is nothing more to come.
    Ended,
}

/// Whose events these are.
enum Subject {
    /// A request that may not have become a job yet.
    Request(Tag, Instant),
    Job(JobId),
}

struct Watch {
    state: Data<State>,
    subject: Subject,
    last: Option<Stage>,
    spoke: Instant,
    _seat: OwnedSemaphorePermit,
}

/// `GET /jobs/{id}/events`.
pub(super) async fn of_job(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    state: Data<State>,
) -> HttpResponse {
    let id = match parse(&id) {
        Ok(id) => id,
        Err(error) => return for_people(&request, &state, error),
    };
    match allow(&request, &visitor, id, &state).await {
        Ok(_) => events(&request, state.clone(), Subject::Job(id)),
        Err(error) => for_people(&request, &state, error),
    }
}

#[derive(Deserialize)]
pub(super) struct RequestQuery {
    request: String,
}

/// `GET /events?request=…`: of the frame that this visitor sent with that `request`. It may come before the frame does; what
/// another visitor sent is not found.
pub(super) async fn of_request(
    request: HttpRequest,
    visitor: Visitor,
    query: Query<RequestQuery>,
    state: Data<State>,
) -> HttpResponse {
    let tag = Tag { visitor: visitor.fingerprint(), request: query.into_inner().request };
    events(&request, state, Subject::Request(tag, Instant::now()))
}

fn events(request: &HttpRequest, state: Data<State>, subject: Subject) -> HttpResponse {
    let Ok(seat) = state.listeners.clone().try_acquire_owned() else {
        return for_people(request, &state, ApiError::busy("too many are following their frames", 5));
    };
    let watch = Watch { state, subject, last: None, spoke: Instant::now(), _seat: seat };
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(watch.stream())
}

impl Watch {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((Ok(Bytes::from(event)), watch))
        })
    }

    /// The next event; `None` after the last.
    async fn next(&mut self) -> Option<String> {
        if self.last == Some(Stage::Ended) {
            return None;
        }
        loop {
            let stage = self.look().await;
            if let Some(stage) = stage
                && self.last.as_ref() != Some(&stage)
            {
                let data = serde_json::to_string(&stage).expect("a stage is JSON");
                self.last = Some(stage);
                self.spoke = Instant::now();
                return Some(format!("data: {data}\n\n"));
            }
            if self.spoke.elapsed() >= QUIET {
                self.spoke = Instant::now();
                return Some(":\n\n".to_owned());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Where the job is now; `None` where nothing is known yet, or nothing new.
    async fn look(&mut self) -> Option<Stage> {
        let dispatcher = &self.state.dispatcher;
        if dispatcher.is_closing() {
            return Some(Stage::Ended);
        }
        let id = match &self.subject {
            Subject::Job(id) => *id,
            // Asked anew each time: a request goes on with another job when its runner dies.
            Subject::Request(tag, since) => match dispatcher.job_of(tag) {
                Some(id) => id,
                None => return (self.last.is_some() || since.elapsed() >= ARRIVAL).then_some(Stage::Ended),
            },
        };
        let Some(journey) = dispatcher.journey_of(id) else { return Some(Stage::Ended) };
        if !journey.waiting {
            return Some(Stage::Staging { position: journey.position });
        }
        let path = dispatcher.transport().root().job(id).file(JobFile::Progress);
        let progress = dispatcher.transport().read(&path, SMALL_FILE).await.ok()?;
        let progress = progress.and_then(|json| serde_json::from_slice::<Progress>(&json).ok());
        Some(match progress {
            None if matches!(self.last, Some(Stage::Loading | Stage::Painting { .. })) => return None,
            None => Stage::Queued { position: journey.position, waits: journey.waits },
            Some(Progress { phase: Phase::Load, .. }) => Stage::Loading,
            Some(Progress { phase: Phase::Encode | Phase::Paint, step, steps }) => Stage::Painting { step, steps },
            Some(Progress { phase: Phase::Decode | Phase::Write, .. }) => Stage::Finishing,
        })
    }
}
