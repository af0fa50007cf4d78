//! `livewebcam-runner fetch`: a model from the Hugging Face hub into the shared tree, whole or not at all.
//!
//! The small files come first, so that a model which cannot be painted with is refused before anything large is downloaded.

mod account;
mod error;
mod hub;
mod place;
mod plan;
mod progress;
mod record;
mod transfer;

use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use livewebcam_jobs::{HubName, Root};

pub use error::FetchError;
use hub::Hub;
use place::Place;
use plan::Planner;
use progress::Progress;
pub use record::{Fetched, RemoteFile};

use crate::log::Log;
use crate::sd;

/// What to fetch, and where to.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model.
    pub name: HubName,
    /// The shared tree.
    pub root: PathBuf,
    /// A branch, a tag or a commit; `None` is the main branch, or for an installed model the commit that it is of.
    pub revision: Option<String>,
    /// The weights' number format, `fp16` or `bf16`; `None` is full precision where there is such.
    pub variant: Option<String>,
    /// Whether the small autoencoder that fits is fetched too.
    pub taesd: bool,
}

/// Fetches a model, or what an installed one lacks.
///
/// # Errors
/// See [`FetchError`]. The model is then not there, or as it was; what came is kept for the next time.
pub fn fetch(request: &Request, log: Log) -> Result<(), FetchError> {
    let hub = Hub::from_env()?;
    let place = Place::take(&Root::new(&request.root), &request.name, log)?;
    let folder = place.target();
    let mut progress = Progress::new(log);
    let mut planner = Planner { request, hub: &hub, place: &place, progress: &mut progress, fetched: 0 };
    let mut parts = Vec::new();
    parts.extend(planner.model(&folder)?);
    parts.extend(planner.taesd(&folder)?);
    let fetched = planner.fetched + parts.iter().map(|part| part.missing.len()).sum::<usize>();

    let planned: Vec<PathBuf> = parts.iter().flat_map(plan::Part::paths).collect();
    place.prune(&planned).map_err(write_error(&folder))?;
    progress.expect(parts.iter().flat_map(|part| &part.missing).map(|file| file.size).sum());
    for part in &parts {
        part.complete(&place, &mut progress)?;
    }
    let name = request.name.to_string();
    let unpaintable = |reason| FetchError::Unpaintable { name: name.clone(), reason };
    let info = sd::describe(&name, &folder).map_err(|error| unpaintable(error.to_string()))?;
    if let Some(reason) = info.broken {
        return Err(unpaintable(reason));
    }
    let installed = place.installed();
    place.publish().map_err(write_error(installed))?;

    let state = match (place.is_installed(), fetched) {
        (false, _) => "is installed".to_owned(),
        (true, 0) => "is complete".to_owned(),
        (true, 1) => "is complete: 1 file was fetched".to_owned(),
        (true, fetched) => format!("is complete: {fetched} files were fetched"),
    };
    let of_commit = |record: Fetched| format!(", commit {}", record.commit);
    let commit = recorded(installed)?.map(of_commit).unwrap_or_default();
    progress.say(&format!("{name} {state} in {} ({}{commit})", installed.display(), DecimalBytes(info.bytes)));
    Ok(())
}

fn recorded(folder: &Path) -> Result<Option<Fetched>, FetchError> {
    let path = folder.join(Fetched::FILE);
    Fetched::read(folder).map_err(|source| FetchError::Read { path, source })
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> FetchError {
    let path = path.to_owned();
    |source| FetchError::Write { path, source }
}
