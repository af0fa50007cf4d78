//! What a visitor is told when something goes wrong: a meaningful status, one sentence, and the job's id. Paths, users and
//! logs are the operator's to see, in the server's own log and on the job's page.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use livewebcam_jobs::{JobId, Stage};
use serde_json::json;

use crate::catalog::UnknownModel;
use crate::dispatch::{PaintError, chain};
use crate::frame::FrameError;
use crate::scheduler::SubmitError;
use crate::transport::TransportError;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    job: Option<JobId>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), job: None, retry_after: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn busy(message: &str, retry_after: u64) -> Self {
        let retry_after = Some(retry_after);
        Self { status: StatusCode::TOO_MANY_REQUESTS, message: message.to_owned(), job: None, retry_after }
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// An error of the shared tree. The visitor learns that the cluster cannot be reached, the operator why.
    pub(super) fn cluster(error: &TransportError) -> Self {
        tracing::warn!(error = chain(error), "the shared tree cannot be read");
        Self::new(StatusCode::BAD_GATEWAY, "the cluster cannot be reached at the moment; try again later")
    }

    /// What became of a frame. Written to the log here, once.
    pub(super) fn paint(job: Option<JobId>, error: &PaintError) -> Self {
        let (status, message, retry_after) = match error {
            PaintError::Busy(busy) => (StatusCode::TOO_MANY_REQUESTS, busy.to_string(), Some(busy.retry_after)),
            PaintError::Stage(_) => (
                StatusCode::BAD_GATEWAY,
                "the frame could not be sent to the cluster; try again later".to_owned(),
                None,
            ),
            PaintError::Submit(refusal @ SubmitError::Busy { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, refusal.for_visitor().to_owned(), Some(10))
            }
            PaintError::Submit(refusal) => (StatusCode::BAD_GATEWAY, refusal.for_visitor().to_owned(), None),
            PaintError::Failed(failure) => {
                // The runner found the request itself wanting: the visitor can mend that.
                let status = match failure.stage {
                    Stage::Validate | Stage::Read => StatusCode::BAD_REQUEST,
                    Stage::Stage
                    | Stage::Submit
                    | Stage::Wait
                    | Stage::Load
                    | Stage::Paint
                    | Stage::Write
                    | Stage::Retrieve => StatusCode::BAD_GATEWAY,
                };
                (status, failure.reason.clone(), None)
            }
            PaintError::Superseded => (StatusCode::CONFLICT, error.to_string(), None),
            PaintError::Cancelled => (StatusCode::BAD_GATEWAY, "the frame was cancelled".to_owned(), None),
            PaintError::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, format!("{error}; try again later"), None),
            PaintError::Retrieve(_) => {
                (StatusCode::BAD_GATEWAY, "the painting could not be fetched from the cluster".to_owned(), None)
            }
            PaintError::Closing => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is shutting down; try again in a moment".to_owned(),
                Some(5),
            ),
        };
        let job_field = job.map(|id| id.to_string());
        match error {
            PaintError::Busy(_) | PaintError::Cancelled | PaintError::Superseded | PaintError::Closing => {
                tracing::info!(job = job_field, "{error}");
            }
            PaintError::Failed(failure) => {
                tracing::warn!(job = job_field, stage = ?failure.stage, reason = failure.reason, "the job failed");
            }
            PaintError::Deadline { .. } => {
                tracing::warn!(job = job_field, "{error}; see [deadlines] and a model's deadline in the settings");
            }
            _ => tracing::warn!(job = job_field, error = chain(error), "no painting"),
        }
        Self { status, message, job, retry_after }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(job) = self.job {
            response.insert_header(("X-Job-Id", job.to_string()));
        }
        response.json(json!({ "error": self.message, "job": self.job }))
    }
}

impl From<UnknownModel> for ApiError {
    fn from(error: UnknownModel) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    }
}

impl From<FrameError> for ApiError {
    fn from(error: FrameError) -> Self {
        let status = match &error {
            FrameError::TooLarge { .. } | FrameError::TooManyPixels { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            FrameError::NotAnImage => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}
