//! The inspection pages. The list is the operator's; a job is its visitor's and the operator's.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{self, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use livewebcam_jobs::{JobFile, JobId, State as JobState, local};
use serde::Deserialize;
use tera::Context;

use super::error::ApiError;
use super::job_views::{JobView, request_rows, timing_bar};
use super::page::{for_people, render};
use crate::application::State;
use crate::frame;
use crate::guard::{SignIn, Visitor};
use crate::inspect::{self, Job};
use crate::slurm::shell_quote;
use crate::text::printable;

/// Jobs on a page of the list.
const PAGE: usize = 24;
/// Width of a thumbnail in pixels.
const THUMBNAIL: u32 = 240;

/// A list of some kind of job looks through so many of the newest.
const LOOKED_THROUGH: usize = 1000;
/// What [`JobState`] is called in addresses.
const STATES: [&str; 5] = ["queued", "running", "done", "failed", "cancelled"];

#[derive(Deserialize)]
pub(super) struct ListQuery {
    page: Option<String>,
    /// Empty for any.
    #[serde(default)]
    state: String,
    /// Empty for any.
    #[serde(default)]
    model: String,
}

impl ListQuery {
    /// Without what no job can meet: an old address shows every job rather than none.
    fn known(&self, models: &[String]) -> Self {
        let known = |text: &String, there: bool| if there { text.clone() } else { String::new() };
        Self {
            page: self.page.clone(),
            state: known(&self.state, STATES.contains(&self.state.as_str())),
            model: known(&self.model, models.contains(&self.model)),
        }
    }

    fn wants_all(&self) -> bool {
        self.state.is_empty() && self.model.is_empty()
    }

    fn wants(&self, job: &Job) -> bool {
        let model = job.request.as_ref().map(|request| request.model.as_str());
        (self.state.is_empty() || job.state.to_string() == self.state)
            && (self.model.is_empty() || model == Some(self.model.as_str()))
    }
}

/// `GET /jobs`. With the right token it gives the operator's cookie and comes again without the token in the address.
pub(super) async fn list(request: HttpRequest, query: Query<ListQuery>, state: Data<State>) -> HttpResponse {
    if let Some(SignIn { cookie, location }) = state.operator.sign_in(&request) {
        return HttpResponse::SeeOther().insert_header((LOCATION, location)).cookie(cookie).finish();
    }
    match jobs_page(&request, &query, &state).await {
        Ok(context) => render(&state, &request, "jobs.html", context),
        Err(error) => for_people(&request, &state, error),
    }
}

async fn jobs_page(request: &HttpRequest, query: &ListQuery, state: &State) -> Result<Context, ApiError> {
    operator_only(request, state)?;
    let page = match &query.page {
        None => 1,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|page| *page > 0)
            .ok_or_else(|| ApiError::bad_request("the page is no positive number"))?,
    };
    let models: Vec<String> = state.catalog.models().into_iter().map(|model| model.name).collect();
    let query = query.known(&models);
    let transport = state.dispatcher.transport();
    let ids = inspect::job_ids(transport).await.map_err(|error| ApiError::cluster(&error))?;
    let skipped = (page - 1).saturating_mul(PAGE);
    let (jobs, total) = if query.wants_all() {
        let shown: Vec<JobId> = ids.iter().skip(skipped).take(PAGE).copied().collect();
        (inspect::jobs(transport, &shown).await, ids.len())
    } else {
        let newest = &ids[..ids.len().min(LOOKED_THROUGH)];
        let found = inspect::jobs(transport, newest).await.map(|mut jobs| {
            jobs.retain(|job| query.wants(job));
            jobs
        });
        let total = found.as_ref().map_or(0, Vec::len);
        (found.map(|jobs| jobs.into_iter().skip(skipped).take(PAGE).collect()), total)
    };
    let jobs = jobs.map_err(|error| ApiError::cluster(&error))?;
    let pages = total.div_ceil(PAGE).max(1);
    let mut context = Context::new();
    context.insert("jobs", &jobs.iter().map(JobView::new).collect::<Vec<_>>());
    context.insert("filtered", &!query.wants_all());
    context.insert("wanted_state", &query.state);
    context.insert("wanted_model", &query.model);
    context.insert("states", &STATES);
    context.insert("models", &models);
    context.insert("page", &page);
    context.insert("pages", &pages);
    context.insert("total", &total);
    context.insert("newer", &(page > 1).then(|| (page - 1).min(pages)));
    context.insert("older", &(page < pages).then_some(page + 1));
    Ok(context)
}

/// `GET /jobs/{id}`.
pub(super) async fn show(request: HttpRequest, visitor: Visitor, id: Path<String>, state: Data<State>) -> HttpResponse {
    match job_page(&request, &visitor, &id, &state).await {
        Ok(context) => render(&state, &request, "job.html", context),
        Err(error) => for_people(&request, &state, error),
    }
}

async fn job_page(request: &HttpRequest, visitor: &Visitor, id: &str, state: &State) -> Result<Context, ApiError> {
    let id = parse(id)?;
    let operator = allow(request, visitor, id, state).await?;
    let transport = state.dispatcher.transport();
    let job = inspect::job(transport, id).await.map_err(|error| ApiError::cluster(&error))?;
    let job: Job = job.ok_or_else(no_such_job)?;
    // Logs hold paths, hosts and users: they are the operator's.
    let log =
        if operator { inspect::log(transport, id).await.map_err(|error| ApiError::cluster(&error))? } else { None };
    let outcome = job.outcome.as_ref();
    let concluded = matches!(job.state, JobState::Concluded(_));

    let mut context = Context::new();
    context.insert("job", &JobView::new(&job));
    context.insert("operator", &operator);
    context.insert("request", &request_rows(&job));
    context.insert("timings", &outcome.map(|outcome| timing_bar(&outcome.timings)).unwrap_or_default());
    context.insert("log_cut", &log.as_ref().is_some_and(|(_, cut)| *cut));
    context.insert("log", &log.map(|(text, _)| printable(&text)));
    let detail = outcome.and_then(|outcome| outcome.failure.as_ref()).map(|failure| printable(&failure.detail));
    context.insert("detail", &detail.filter(|detail| operator && !detail.is_empty()));
    let result =
        outcome.filter(|_| operator).map(|outcome| String::from_utf8_lossy(&local::to_json(outcome)).into_owned());
    context.insert("result_json", &result.map(|json| printable(&json)));
    context.insert("replay", &(operator && concluded && job.request.is_some()).then(|| replay_command(state, id)));
    context.insert("cancellable", &(!concluded && !state.settings.server.insecure));
    Ok(context)
}

fn replay_command(state: &State, id: JobId) -> String {
    let root = state.dispatcher.transport().root();
    format!(
        "{} replay --job {} --output replay.png",
        shell_quote(&root.runner().to_string_lossy()),
        shell_quote(&root.job(id).path().to_string_lossy())
    )
}

#[derive(Deserialize)]
pub(super) struct PictureQuery {
    thumb: Option<String>,
}

/// `GET /jobs/{id}/input.png` and `…/output.png`, with `?thumb=1` a small JPEG. A concluded job's pictures never change.
pub(super) async fn picture(
    request: HttpRequest,
    visitor: Visitor,
    path: Path<(String, String)>,
    query: Query<PictureQuery>,
    state: Data<State>,
) -> HttpResponse {
    let (id, name) = path.into_inner();
    match read_picture(&request, &visitor, &id, &name, query.thumb.is_some(), &state).await {
        Ok((kind, bytes)) => HttpResponse::Ok()
            .content_type(kind)
            .insert_header((CACHE_CONTROL, "private, max-age=86400, immutable"))
            .body(bytes),
        Err(error) => for_people(&request, &state, error),
    }
}

async fn read_picture(
    request: &HttpRequest,
    visitor: &Visitor,
    id: &str,
    name: &str,
    thumb: bool,
    state: &State,
) -> Result<(&'static str, Vec<u8>), ApiError> {
    let id = parse(id)?;
    let file = match name {
        "input" => JobFile::Input,
        "output" => JobFile::Output,
        _ => return Err(ApiError::not_found("a job has the pictures input.png and output.png")),
    };
    allow(request, visitor, id, state).await?;
    let png =
        inspect::picture(state.dispatcher.transport(), id, file).await.map_err(|error| ApiError::cluster(&error))?;
    let png = png.ok_or_else(|| ApiError::not_found("this job has no such picture (yet)"))?;
    if !thumb {
        return Ok(("image/png", png));
    }
    let small = web::block(move || frame::thumbnail(&png, THUMBNAIL)).await;
    match small {
        Ok(Ok(jpeg)) => Ok(("image/jpeg", jpeg)),
        _ => Err(ApiError::new(StatusCode::BAD_GATEWAY, "this picture is damaged")),
    }
}

/// `DELETE /jobs/{id}`: answered at once; the job's own page tells when it has stopped.
pub(super) async fn cancel(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    state: Data<State>,
) -> HttpResponse {
    match request_cancel(&request, &visitor, &id, &state).await {
        Ok(id) => HttpResponse::Accepted().json(serde_json::json!({ "job": id, "state": "cancelling" })),
        Err(error) => for_people(&request, &state, error),
    }
}

async fn request_cancel(request: &HttpRequest, visitor: &Visitor, id: &str, state: &State) -> Result<JobId, ApiError> {
    let id = parse(id)?;
    allow(request, visitor, id, state).await?;
    let job = inspect::job(state.dispatcher.transport(), id).await.map_err(|error| ApiError::cluster(&error))?;
    if let JobState::Concluded(_) = job.ok_or_else(no_such_job)?.state {
        return Err(ApiError::new(StatusCode::CONFLICT, "this job has already ended"));
    }
    state.dispatcher.cancel_later(id, "cancelled by its visitor or by the operator");
    Ok(id)
}

pub(super) fn parse(id: &str) -> Result<JobId, ApiError> {
    id.parse().map_err(|error: livewebcam_jobs::InvalidJobId| ApiError::not_found(error.to_string()))
}

fn no_such_job() -> ApiError {
    ApiError::not_found("there is no such job; concluded jobs are kept for a while only")
}

fn operator_only(request: &HttpRequest, state: &State) -> Result<(), ApiError> {
    off_if_insecure(state)?;
    if state.operator.is_operator(request) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "the list of jobs is the operator's: open the link that `livewebcam serve` printed when it started",
    ))
}

fn off_if_insecure(state: &State) -> Result<(), ApiError> {
    if state.settings.server.insecure {
        return Err(ApiError::forbidden("job pages and cancelling are off while the server runs with --insecure"));
    }
    Ok(())
}

/// Whether the job may be seen, and whether by the operator.
pub(super) async fn allow(
    request: &HttpRequest,
    visitor: &Visitor,
    id: JobId,
    state: &State,
) -> Result<bool, ApiError> {
    off_if_insecure(state)?;
    if state.operator.is_operator(request) {
        return Ok(true);
    }
    let asked = inspect::request(state.dispatcher.transport(), id).await.map_err(|error| ApiError::cluster(&error))?;
    if visitor.owns(asked.ok_or_else(no_such_job)?.visitor.as_deref()) {
        return Ok(false);
    }
    Err(ApiError::forbidden("this job is another visitor's"))
}
