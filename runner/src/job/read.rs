//! Reading what the frontend put into a job directory. Links are not followed.

use std::io::{self, ErrorKind};

use livewebcam_jobs::{JobDir, JobFile, JobId, REQUEST_VERSION, Request, local};
use serde::Deserialize;

use super::error::JobError;
use crate::frame::{FrameError, decode_png};
use image::RgbImage;

/// The part of a request that every version has.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// `request.json`, if it is of a version that is known and made for this job.
pub(super) fn request(dir: &JobDir, id: JobId) -> Result<Request, JobError> {
    let content = local::read(&dir.file(JobFile::Request)).map_err(JobError::Request)?.ok_or(JobError::NoRequest)?;
    let invalid = |error| JobError::Request(io::Error::new(ErrorKind::InvalidData, error));
    // A newer version may have other fields, so this one is read by itself first.
    let Version { version } = serde_json::from_slice(&content).map_err(invalid)?;
    if version > u64::from(REQUEST_VERSION) {
        return Err(JobError::NewerRequest(version));
    }
    let request: Request = serde_json::from_slice(&content).map_err(invalid)?;
    if request.id == id { Ok(request) } else { Err(JobError::ForeignRequest) }
}

/// `input.png`, if it is as large as the request says.
pub(super) fn frame(dir: &JobDir, request: &Request) -> Result<RgbImage, JobError> {
    let content = local::read(&dir.file(JobFile::Input)).map_err(FrameError::Io)?.ok_or(JobError::NoFrame)?;
    Ok(decode_png(&content, (request.width, request.height))?)
}
