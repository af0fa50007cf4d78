//! Which files a model's folder gets, and from which commit.

use std::fs;
use std::path::{Path, PathBuf};

use livewebcam_jobs::HubName;

use super::hub::{Commit, Hub};
use super::place::Place;
use super::progress::Progress;
use super::record::{Fetched, RemoteFile, State};
use super::{FetchError, Request, recorded, transfer, write_error};
use crate::sd::{self, Files, Folder, LoadError, WeightFiles};

const INDEX: &str = "model_index.json";
const BRANCH: &str = "main";
/// Who publishes `taesd` and `taesdxl`.
const TAESD_ORG: &str = "madebyollin";

/// Plans, and downloads the small files on which the plan depends.
pub(super) struct Planner<'a, 'p> {
    pub(super) request: &'a Request,
    pub(super) hub: &'a Hub,
    pub(super) place: &'a Place,
    pub(super) progress: &'p mut Progress,
    /// How many files were downloaded.
    pub(super) fetched: usize,
}

/// A folder, and what it lacks.
pub(super) struct Part<'a> {
    source: Commit<'a>,
    record: Fetched,
    is_new: bool,
    folder: PathBuf,
    /// The folder's name in the end, where that is another.
    becomes: Option<PathBuf>,
    pub(super) missing: Vec<RemoteFile>,
}

/// A folder that is being filled.
struct Filling<'a> {
    commit: Commit<'a>,
    folder: PathBuf,
    /// Whether its files are from fetches that did not come to their end, and no one else's.
    staged: bool,
    files: Vec<RemoteFile>,
}

impl Part<'_> {
    /// Its files, all of them.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.record.files.iter().map(|file| self.folder.join(&file.path))
    }

    /// Downloads what is missing and notes what there is.
    pub(super) fn complete(&self, place: &Place, progress: &mut Progress) -> Result<(), FetchError> {
        for file in &self.missing {
            transfer::download(&self.source, file, &self.folder, &place.parts(), progress)?;
        }
        if self.is_new {
            self.record.write(&self.folder).map_err(write_error(&self.folder))?;
        }
        match &self.becomes {
            Some(name) => fs::rename(&self.folder, name).map_err(write_error(name)),
            None => Ok(()),
        }
    }
}

impl<'a> Planner<'a, '_> {
    /// The model itself, in `folder`; `None` where someone else put a whole one there.
    pub(super) fn model(&mut self, folder: &Path) -> Result<Option<Part<'a>>, FetchError> {
        let Request { name, revision, variant, .. } = self.request;
        let installed = self.place.is_installed();
        if installed && let Some(record) = recorded(folder)? {
            self.refuse_another(&record)?;
            return self.recorded(record, folder).map(Some);
        }
        let paints = |info: livewebcam_jobs::ModelInfo| info.broken.is_none();
        if installed
            && revision.is_none()
            && variant.is_none()
            && sd::describe(&name.to_string(), folder).is_ok_and(paints)
        {
            return Ok(None);
        }
        let revision = revision.as_deref().unwrap_or(BRANCH);
        let mut filling = self.filling(name, revision, folder.to_owned(), !installed)?;
        if !filling.commit.has(INDEX) {
            return Err(FetchError::NotDiffusers { name: name.to_string() });
        }
        self.small(&mut filling, INDEX)?;
        let in_model = |error| in_model(name, error);
        let files = Files::read(folder).map_err(in_model)?;
        let has = |path: &str| filling.commit.has(path);
        let weights = files.weights(variant.as_deref(), &has).map_err(in_model)?;
        let small = files.small(&has).map_err(in_model)?;
        self.check_variant(&weights)?;
        for path in small {
            self.small(&mut filling, &path)?;
        }
        files.check().map_err(in_model)?;
        let mut large = Vec::new();
        for weights in weights {
            match weights {
                WeightFiles::Single(path) => large.push(path),
                WeightFiles::Sharded { index } => {
                    self.small(&mut filling, &index)?;
                    large.extend(files.shards(&index).map_err(in_model)?);
                }
            }
        }
        filling.finish(revision, variant.clone(), large).map(Some)
    }

    /// The small autoencoder that fits the model in `folder`, if it is asked for or has been fetched before.
    pub(super) fn taesd(&mut self, folder: &Path) -> Result<Option<Part<'a>>, FetchError> {
        let files = Files::read(folder).map_err(|error| in_model(&self.request.name, error))?;
        let own = files.taesd();
        let (target, installed) = (folder.join(own), self.place.is_installed());
        if installed && let Some(record) = recorded(&target)? {
            return self.recorded(record, &target).map(Some);
        }
        let whole = || sd::check_autoencoder(&target).is_ok() && Folder::new(folder).weights(own).is_ok();
        if !self.request.taesd || (installed && whole()) {
            return Ok(None);
        }
        // A folder with a configuration is a TAESD, so it appears whole in a model that is in use.
        let aside = (installed && !target.exists()).then(|| self.place.parts().join(own));
        let name = format!("{TAESD_ORG}/{own}").parse().expect("the fixed names are ones of the hub");
        let staged = !installed || aside.is_some();
        let mut filling = self.filling(&name, BRANCH, aside.clone().unwrap_or_else(|| target.clone()), staged)?;
        self.small(&mut filling, "config.json")?;
        sd::check_autoencoder(&filling.folder).map_err(|error| in_model(&name, error))?;
        let mut part = filling.finish(BRANCH, None, vec!["diffusion_pytorch_model.safetensors".to_owned()])?;
        part.becomes = aside.map(|_| target);
        Ok(Some(part))
    }

    fn filling(
        &mut self,
        name: &HubName,
        revision: &str,
        folder: PathBuf,
        staged: bool,
    ) -> Result<Filling<'a>, FetchError> {
        let commit = self.hub.resolve(name, revision)?;
        self.progress.say(&format!("{name}: {revision} is commit {}", commit.commit));
        Ok(Filling { commit, folder, staged, files: Vec::new() })
    }

    /// Sees to it that a small file is there.
    fn small(&mut self, filling: &mut Filling<'_>, path: &str) -> Result<(), FetchError> {
        let file = filling.commit.file(path)?;
        if filling.lacks(&file)? {
            self.download_now(&filling.commit, &file, &filling.folder)?;
        }
        filling.files.push(file);
        Ok(())
    }

    fn download_now(&mut self, source: &Commit<'_>, file: &RemoteFile, folder: &Path) -> Result<(), FetchError> {
        self.progress.expect(file.size);
        transfer::download(source, file, folder, &self.place.parts(), self.progress)?;
        self.fetched += 1;
        Ok(())
    }

    /// What was fetched before, at the same commit as then. The small files are there afterwards.
    fn recorded(&mut self, record: Fetched, folder: &Path) -> Result<Part<'a>, FetchError> {
        let unreadable = |source| FetchError::Read { path: folder.join(Fetched::FILE), source };
        let name: HubName = record.repository.parse().map_err(|error| unreadable(std::io::Error::other(error)))?;
        let source = self.hub.at(&name, record.commit.clone());
        let mut missing = Vec::new();
        for file in &record.files {
            let path = folder.join(&file.path);
            match file.state(folder).map_err(|source| FetchError::Read { path, source })? {
                State::Whole => {}
                _ if file.sha256.is_some() => missing.push(file.clone()),
                _ => self.download_now(&source, file, folder)?,
            }
        }
        Ok(Part { source, record, is_new: false, folder: folder.to_owned(), becomes: None, missing })
    }

    /// Refuses a request for something else than what is installed.
    fn refuse_another(&self, record: &Fetched) -> Result<(), FetchError> {
        let Request { name, revision, variant, .. } = self.request;
        let folder = || self.place.installed().to_owned();
        if let Some(asked) = variant.as_ref().filter(|asked| record.variant.as_ref() != Some(asked)) {
            let installed = record.variant.clone().unwrap_or_else(|| "full precision".to_owned());
            let (name, asked) = (name.to_string(), asked.clone());
            return Err(FetchError::OtherVariant { name, installed, asked, folder: folder() });
        }
        let Some(revision) = revision.as_ref().filter(|revision| **revision != record.commit) else { return Ok(()) };
        let asked = self.hub.resolve(name, revision)?.commit;
        if asked == record.commit {
            return Ok(());
        }
        let (name, installed) = (name.to_string(), record.commit.clone());
        Err(FetchError::OtherCommit { name, installed, revision: revision.clone(), asked, folder: folder() })
    }

    /// Tells which components are not in the number format that was asked for.
    fn check_variant(&self, weights: &[WeightFiles]) -> Result<(), FetchError> {
        let Some(variant) = &self.request.variant else { return Ok(()) };
        let part = format!(".{variant}.");
        let others: Vec<_> = weights.iter().map(WeightFiles::name).filter(|name| !name.contains(&part)).collect();
        if others.len() == weights.len() {
            return Err(FetchError::NoVariant { name: self.request.name.to_string(), variant: variant.clone() });
        }
        for other in others {
            self.progress.say(&format!("there is no {variant} in place of {other}"));
        }
        Ok(())
    }
}

impl<'a> Filling<'a> {
    /// Whether a file is to be downloaded. A staged one that no hash names may be another commit's.
    fn lacks(&self, file: &RemoteFile) -> Result<bool, FetchError> {
        let path = self.folder.join(&file.path);
        match file.state(&self.folder) {
            Ok(State::Whole) => Ok(self.staged && file.sha256.is_none()),
            Ok(State::Different) if !self.staged => {
                let (name, commit) = (self.commit.name.to_string(), self.commit.commit.clone());
                Err(FetchError::InTheWay { path, name, commit })
            }
            Ok(_) => Ok(true),
            Err(source) => Err(FetchError::Read { path, source }),
        }
    }

    /// The plan, with these files besides those that are there by now.
    fn finish(mut self, revision: &str, variant: Option<String>, large: Vec<String>) -> Result<Part<'a>, FetchError> {
        let mut missing = Vec::new();
        for path in large {
            let file = self.commit.file(&path)?;
            if self.lacks(&file)? {
                missing.push(file.clone());
            }
            self.files.push(file);
        }
        let record = Fetched {
            repository: self.commit.name.to_string(),
            revision: revision.to_owned(),
            commit: self.commit.commit.clone(),
            variant,
            files: self.files,
        };
        Ok(Part { source: self.commit, record, is_new: true, folder: self.folder, becomes: None, missing })
    }
}

fn in_model(name: &HubName, error: LoadError) -> FetchError {
    let name = name.to_string();
    match error {
        LoadError::Missing { file } => FetchError::Lacks { name, file },
        LoadError::PickleOnly { file, .. } => FetchError::PickleOnly { name, file },
        source => FetchError::Unsupported { name, source },
    }
}
