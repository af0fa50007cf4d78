//! The server under test: the same build as the program's, on a free port, with a root of its own.

use std::path::{Path, PathBuf};

use livewebcam::application::Application;
use livewebcam::settings::Settings;
use livewebcam_jobs::{JobFile, JobId, Outcome, Request, Root};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::driver::driver;
use crate::models::install;

/// A server that runs until [`Site::close`].
pub(crate) struct Site {
    /// The page's address, without a slash at its end.
    pub(crate) page: String,
    /// The operator's link to the list of jobs.
    pub(crate) jobs_link: String,
    root: PathBuf,
    port: u16,
    places: usize,
    stop: oneshot::Sender<()>,
    served: JoinHandle<anyhow::Result<()>>,
}

/// Where a closed server was, to open another one there.
pub(crate) struct Place {
    root: PathBuf,
    port: u16,
    /// Frames that may be in flight at once; 0 for the default.
    places: usize,
}

impl Site {
    /// On the embedded default: transport `local`, scheduler `process`, model `starter`.
    pub(crate) async fn open() -> Self {
        Self::with_places(0).await
    }

    /// The same with so many frames in flight at once.
    pub(crate) async fn with_places(places: usize) -> Self {
        Self::reopen(Place { root: driver().new_folder("root-"), port: 0, places }).await
    }

    /// The same with these models of `runner/tests/parity` installed.
    pub(crate) async fn with_models(models: &[&str]) -> Self {
        let root = driver().new_folder("root-");
        for model in models {
            install(&Root::new(&root), model);
        }
        Self::reopen(Place { root, port: 0, places: 0 }).await
    }

    pub(crate) async fn reopen(place: Place) -> Self {
        let mut settings = Settings::load(None, []).expect("the defaults");
        settings.server.port = place.port;
        settings.server.assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        settings.cluster.root = place.root.clone();
        settings.limits.max_in_flight = place.places;
        let application = Application::build(settings).await.expect("a server");
        let port = application.address().port();
        let (page, jobs_link) = application.links();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            // A dropped sender, of a test that has failed, ends the server just as well.
            let _ = stopped.await;
        };
        let served = tokio::spawn(application.run_until(shutdown));
        let jobs_link = jobs_link.expect("an operator");
        Self { page, jobs_link, root: place.root, port, places: place.places, stop, served }
    }

    /// Stops the server as the program does when it is told to.
    pub(crate) async fn close(self) -> Place {
        self.stop.send(()).expect("the server has stopped by itself");
        self.served.await.expect("the server panicked").expect("the server failed");
        Place { root: self.root, port: self.port, places: self.places }
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(&self.root)
    }

    /// The jobs in the root, oldest first.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        let entries = std::fs::read_dir(self.root().jobs()).expect("the folder of the jobs");
        let names = entries.map(|entry| entry.expect("a folder's entry").file_name());
        let mut ids: Vec<JobId> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        ids
    }

    /// What was asked of a job.
    pub(crate) fn request(&self, id: JobId) -> Request {
        let json = std::fs::read(self.root().job(id).file(JobFile::Request)).expect("request.json");
        serde_json::from_slice(&json).expect("a request")
    }

    /// How a job ended, if it has.
    pub(crate) fn outcome(&self, id: JobId) -> Option<Outcome> {
        let json = std::fs::read(self.root().job(id).file(JobFile::Outcome)).ok()?;
        Some(serde_json::from_slice(&json).expect("an outcome"))
    }
}
