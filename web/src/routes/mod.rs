//! HTTP. Thin: each handler reads its input, asks the rest of the crate, and words the answer.

mod error;
mod events;
mod form;
mod generate;
mod info;
mod job_views;
mod jobs;
mod page;

use actix_web::web::{self, ServiceConfig};

/// Every route but the static files.
pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(page::index))
        .route("/generate", web::post().to(generate::generate))
        .route("/serverinfo", web::get().to(info::server_info))
        .route("/healthz", web::get().to(info::healthz))
        .route("/metrics", web::get().to(info::metrics))
        .route("/jobs", web::get().to(jobs::list))
        .route("/jobs/{id}", web::get().to(jobs::show))
        .route("/jobs/{id}", web::delete().to(jobs::cancel))
        .route("/jobs/{id}/events", web::get().to(events::of_job))
        .route("/events", web::get().to(events::of_request))
        .route("/jobs/{id}/{picture}.png", web::get().to(jobs::picture))
        .default_service(web::to(page::not_found));
}
