//! `POST /generate`: blocks until the frame is painted, then streams it back.

use std::time::Instant;

use actix_multipart::Multipart;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use livewebcam_jobs::Clamped;

use super::error::ApiError;
use super::form;
use super::page::{for_people, with_cookie};
use crate::application::State;
use crate::dispatch::{Durations, Order, Painting, Tag};
use crate::frame::{self, Frame};
use crate::guard::Visitor;
use crate::settings::seconds;

pub(super) async fn generate(
    request: HttpRequest,
    payload: Payload,
    visitor: Visitor,
    state: Data<State>,
) -> HttpResponse {
    let multipart = Multipart::new(request.headers(), payload);
    let response = match paint(multipart, &visitor, &state).await {
        Ok(painting) => {
            for (stage, milliseconds) in stages(&painting) {
                state.metrics.spent(stage, milliseconds);
            }
            answer(painting)
        }
        Err(error) => for_people(&request, &state, error),
    };
    state.metrics.answered(response.status().as_u16());
    with_cookie(response, &visitor)
}

struct Painted {
    painting: Painting,
    model: String,
    clamped: Vec<Clamped>,
    validate_ms: f64,
}

async fn paint(multipart: Multipart, visitor: &Visitor, state: &State) -> Result<Painted, ApiError> {
    let start = Instant::now();
    let settings = &state.settings;
    let deadline = seconds(settings.deadlines.validate);
    let timed_out = |_| {
        let message = format!("the picture did not arrive within {} s", settings.deadlines.validate);
        ApiError::new(actix_web::http::StatusCode::REQUEST_TIMEOUT, message)
    };
    let busy = |_| ApiError::busy("many pictures are arriving at the moment; try again in a moment", 1);
    let upload = state.uploads.clone().try_acquire_owned().map_err(busy)?;
    let form = tokio::time::timeout(deadline, form::read(multipart, &settings.limits)).await.map_err(timed_out)??;

    let model = match &form.model {
        Some(name) => state.catalog.find(name, state.dispatcher.transport()).await?,
        None => state.catalog.default_model()?,
    };
    let mut parameters = form.parameters;
    let clamped = Clamped::joined(form.saturated, model.controls.clamp(&mut parameters));
    model
        .controls
        .resolve_style(parameters.style.as_ref(), &parameters.prompt)
        .map_err(|error| ApiError::new(actix_web::http::StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    if let Some(scheduler) = &parameters.scheduler
        && !model.controls.schedulers.is_empty()
        && !model.controls.schedulers.contains(scheduler)
    {
        let known = model.controls.schedulers.join(", ");
        let message = format!("unknown scheduler `{}`; this model has: {known}", crate::text::printable(scheduler));
        return Err(ApiError::new(actix_web::http::StatusCode::UNPROCESSABLE_ENTITY, message));
    }

    let tag = form.request.map(|request| Tag { visitor: visitor.fingerprint(), request });
    let visitor = visitor.fingerprint();
    state.dispatcher.room_for(&visitor).map_err(|busy| ApiError::paint(None, &busy.into()))?;
    let frame = decode(form.input, state, model.size).await?;
    // What waits from here on is bounded by the line.
    drop(upload);
    let validate_ms = start.elapsed().as_secs_f64() * 1000.0;
    let name = model.name.clone();
    let order = Order { model, frame, parameters, clamped: clamped.clone(), visitor, tag };
    let painting = state.dispatcher.paint(order).await.map_err(|(job, error)| ApiError::paint(job, &error))?;
    let clamped = Clamped::joined(clamped, painting.outcome.clamped.clone());
    Ok(Painted { painting, model: name, clamped, validate_ms })
}

/// Decoding is work for the processor and may be hostile: it runs apart, a few at a time, under a deadline.
async fn decode(input: Vec<u8>, state: &State, size: livewebcam_jobs::FrameSize) -> Result<Frame, ApiError> {
    let limits =
        frame::Limits { max_bytes: state.settings.limits.upload_bytes, max_pixels: state.settings.limits.pixels };
    let deadline = seconds(state.settings.deadlines.validate);
    let permit = tokio::time::timeout(deadline, state.decoders.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(ApiError::new(
            actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
            "too many pictures are being read",
        ));
    };
    let work = web::block(move || {
        let prepared = frame::prepare(&input, &limits, size);
        drop(permit);
        prepared
    });
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok(prepared)) => Ok(prepared?),
        Ok(Err(_)) => Err(ApiError::bad_request("the picture cannot be decoded")),
        Err(_) => Err(ApiError::bad_request("the picture takes too long to decode; send a smaller one")),
    }
}

fn answer(painted: Painted) -> HttpResponse {
    let timing = stages(&painted).map(|(stage, ms)| format!("{stage};dur={ms:.1}")).join(", ");
    let Painted { painting, model, clamped, .. } = painted;
    let mut response = HttpResponse::Ok();
    response
        .content_type("image/png")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Job-Id", painting.id.to_string()))
        .insert_header(("X-Model", model))
        .insert_header(("Server-Timing", timing));
    if !clamped.is_empty() {
        let report: Vec<String> = clamped.iter().map(ToString::to_string).collect();
        response.insert_header(("X-Clamped", report.join(", ")));
    }
    if !painting.outcome.warnings.is_empty() {
        // Warnings hold no line breaks; a header takes no other than ASCII text either.
        let text: String = painting
            .outcome
            .warnings
            .join("; ")
            .chars()
            .map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' })
            .collect();
        response.insert_header(("X-Warnings", text));
    }
    response.body(painting.png)
}

/// Each stage in milliseconds. Together they are the time from the request's first byte to the answer.
fn stages(Painted { painting, validate_ms, .. }: &Painted) -> [(&'static str, f64); 7] {
    let Durations { stage_ms, submit_ms, queue_ms, retrieve_ms } = painting.durations;
    let load_ms = painting.outcome.timings.load_ms;
    let paint_ms = (painting.outcome.timings.total_ms - load_ms).max(0.0);
    [
        ("validate", *validate_ms),
        ("stage", stage_ms),
        ("submit", submit_ms),
        ("queue", queue_ms),
        ("load", load_ms),
        ("paint", paint_ms),
        ("retrieve", retrieve_ms),
    ]
}
