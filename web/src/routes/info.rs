//! What the server says of itself, to pages, to clients of the Python version, and to monitors.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::error::ApiError;
use crate::application::State;
use crate::guard::Visitor;
use crate::metrics::Now;

/// `GET /serverinfo`: `available_gpus` is how many frames may be in flight at once, as clients of the Python version expect,
/// and `frames_per_visitor` how many of them whoever asks does well to have.
pub(super) async fn server_info(visitor: Visitor, state: Data<State>) -> HttpResponse {
    let (in_flight, waiting, max_in_flight) = state.dispatcher.frames();
    HttpResponse::Ok().json(json!({
        "hostname": crate::host_name(),
        "version": env!("CARGO_PKG_VERSION"),
        "available_gpus": max_in_flight,
        "in_flight": in_flight,
        "max_in_flight": max_in_flight,
        "waiting": waiting,
        "frames_per_visitor": state.dispatcher.share(&visitor.fingerprint()),
        "policy": state.settings.policy(),
        "runners": state.dispatcher.runners(),
        "transport": state.settings.cluster.transport,
        "scheduler": state.dispatcher.scheduler().name(),
        "models": state.catalog.models(),
        "default_model": state.catalog.default_model().map(|model| model.name).ok(),
    }))
}

/// `GET /healthz`: 200 while frames can be painted, else 503. The operator also sees what the cluster was asked so far.
pub(super) async fn healthz(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let connected = state.dispatcher.transport().is_connected();
    let superseded = state.dispatcher.is_superseded();
    let healthy = connected && !superseded;
    let mut health = json!({
        "status": if healthy { "ok" } else { "unavailable" },
        "cluster": {
            "transport": state.settings.cluster.transport,
            "scheduler": state.dispatcher.scheduler().name(),
            "connected": connected,
            "root_taken_by_another_frontend": superseded,
        },
    });
    if state.operator.is_operator(&request) {
        let (sbatch, squeue) = state.dispatcher.scheduler().calls();
        health["counters"] = json!({
            "transport": state.dispatcher.transport().counters(),
            "sbatch": sbatch,
            "squeue": squeue,
        });
        health["runners"] = json!({
            "alive": state.dispatcher.runners(),
            "troubles": state.dispatcher.troubles(),
        });
    }
    if healthy { HttpResponse::Ok().json(health) } else { HttpResponse::ServiceUnavailable().json(health) }
}

/// `GET /metrics`: counts for Prometheus, which brings the operator's token with `authorization: credentials`.
pub(super) async fn metrics(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, ApiError> {
    if !state.operator.is_operator(&request) {
        return Err(ApiError::forbidden(
            "only the operator reads the metrics: send the token as Authorization: Bearer …",
        ));
    }
    let dispatcher = &state.dispatcher;
    let (in_flight, waiting, places) = dispatcher.frames();
    let (sbatch, squeue) = dispatcher.scheduler().calls();
    let now = Now {
        connected: dispatcher.transport().is_connected(),
        in_flight,
        waiting,
        places,
        runners: dispatcher.runners().into_iter().map(|runner| (runner.model, runner.state)).collect(),
        sbatch,
        squeue,
        connections: dispatcher.transport().counters().connections,
    };
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok().content_type(content_type).body(state.metrics.encode(&now)))
}
