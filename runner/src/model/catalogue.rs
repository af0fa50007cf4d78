//! Which models are installed, and finding one by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use livewebcam_jobs::{Controls, FrameSize, LoadOptions, ModelInfo};

use super::{FolderError, LoadError, Model, Network, Starter, starter};
use crate::fetch::Fetched;
use crate::log::Log;
use crate::sd::{self, Keep, Pipeline};

/// The models that this runner can be asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Name and folder; the built-in model has none.
    models: Vec<(String, Option<PathBuf>)>,
    cache: Option<PathBuf>,
}

/// An installed model, not loaded yet.
#[derive(Clone, Debug)]
pub struct Installed {
    /// What it says of itself.
    pub info: ModelInfo,
    folder: Option<PathBuf>,
    cache: Option<PathBuf>,
}

/// A name that is none of the installed models'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No model has this name.
    #[error("no model `{name}` is installed; installed are: {installed}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The installed models' names, separated by commas.
        installed: String,
    },
    /// Several models' names end so.
    #[error("`{name}` can be any of {candidates}; write the whole name")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The full names, separated by commas.
        candidates: String,
    },
}

impl Catalogue {
    /// The built-in model alone.
    #[must_use]
    pub fn built_in() -> Self {
        Self { models: vec![(starter::NAME.to_owned(), None)], cache: None }
    }

    /// The built-in model, and after it those that lie in `models/<org>/<name>` or `models/<name>`, by name. A folder that does
    /// not exist is an empty one.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn with_folder(models: &Path) -> io::Result<Self> {
        let is_model = |folder: &Folder| folder.path.join("model_index.json").is_file();
        let mut found = Vec::new();
        for outer in folders(models)? {
            if is_model(&outer) {
                found.push((outer.name, Some(outer.path)));
                continue;
            }
            for folder in folders(&outer.path)?.into_iter().filter(is_model) {
                found.push((format!("{}/{}", outer.name, folder.name), Some(folder.path)));
            }
        }
        // The built-in model's name is taken.
        found.retain(|(name, _)| name != starter::NAME);
        found.sort();
        let mut catalogue = Self::built_in();
        catalogue.models.append(&mut found);
        Ok(catalogue)
    }

    /// These models; what is derived from one whose folder cannot be written to is kept in a folder of its name in `cache`.
    #[must_use]
    pub fn keeping(self, cache: PathBuf) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// What every installed model says of itself.
    #[must_use]
    pub fn models(&self) -> Vec<ModelInfo> {
        self.models.iter().map(|(name, folder)| describe(name, folder.as_deref())).collect()
    }

    /// The model with this name, or the only one whose name ends in `/name`.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn find(&self, name: &str) -> Result<Installed, FindError> {
        let installed = |(name, folder): &(String, Option<PathBuf>)| Installed {
            info: describe(name, folder.as_deref()),
            folder: folder.clone(),
            cache: self.cache.as_ref().map(|cache| cache.join(name)),
        };
        if let Some(model) = self.models.iter().find(|(full, _)| full == name) {
            return Ok(installed(model));
        }
        let ends_so = |(full, _): &&(String, _)| full.rsplit_once('/').is_some_and(|(_, last)| last == name);
        let candidates: Vec<_> = self.models.iter().filter(ends_so).collect();
        let names = |models: &[&(String, Option<PathBuf>)]| {
            models.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        match candidates.as_slice() {
            [model] => Ok(installed(model)),
            [] => Err(FindError::Unknown {
                name: name.to_owned(),
                installed: names(&self.models.iter().collect::<Vec<_>>()),
            }),
            several => Err(FindError::Ambiguous { name: name.to_owned(), candidates: names(several) }),
        }
    }
}

impl Installed {
    /// The model in any folder: for the command line only, whose user may read it anyway.
    ///
    /// # Errors
    /// The folder does not exist.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { info: describe(&name, Some(&folder)), folder: Some(folder), cache: None })
    }

    /// Reads all that is kept of the model, and all that it was derived from. What is wrong, in a sentence for each.
    ///
    /// # Errors
    /// A file of the model is missing or cannot be read.
    pub fn verify(&self, log: Log) -> Result<Vec<String>, FolderError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let folder = sd::Folder::new(folder).keeping(Keep { cache: self.cache.clone(), log });
        sd::verify(&folder).map_err(|problem| FolderError { model: self.info.name.clone(), problem: problem.into() })
    }

    /// Reads the weights. The log is told what is kept for the next time, or why it cannot be.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, options: LoadOptions, log: Log) -> Result<Model, LoadError> {
        let model = self.info.name.clone();
        if let Some(reason) = &self.info.broken {
            return Err(LoadError::Broken { model, reason: reason.clone() });
        }
        if let Err(problem) = options.check(self.info.loading.as_ref()) {
            return Err(LoadError::Unloadable { model, problem });
        }
        let network = match &self.folder {
            Some(folder) => {
                let folder = sd::Folder::new(folder).keeping(Keep { cache: self.cache.clone(), log });
                let pipeline = Pipeline::load(&folder, options)
                    .map_err(|problem| FolderError { model, problem: problem.into() })?;
                Network::Diffusion(Box::new(pipeline))
            }
            None => {
                let starter = Starter::load().map_err(|source| LoadError::Weights { model, source })?;
                Network::Starter(Box::new(starter))
            }
        };
        Ok(Model { name: self.info.name.clone(), network })
    }
}

/// A folder and its name, where that is text.
struct Folder {
    name: String,
    path: PathBuf,
}

fn folders(parent: &Path) -> io::Result<Vec<Folder>> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    let folders = entries.into_iter().filter(|entry| entry.path().is_dir());
    Ok(folders
        .filter_map(|entry| Some(Folder { name: entry.file_name().into_string().ok()?, path: entry.path() }))
        .filter(|folder| !folder.name.starts_with('.'))
        .collect())
}

/// What a model says of itself. A folder that is none of a supported pipeline is listed too, and why it cannot paint.
fn describe(name: &str, folder: Option<&Path>) -> ModelInfo {
    let Some(folder) = folder else { return starter::info() };
    let mut info = sd::describe(name, folder).unwrap_or_else(|problem| ModelInfo {
        name: name.to_owned(),
        title: name.rsplit('/').next().unwrap_or(name).to_owned(),
        family: "unknown".to_owned(),
        size: FrameSize { width: 512, height: 512, multiple_of: 8, keep_aspect: false },
        controls: Controls::default(),
        loading: None,
        bytes: bytes(folder).unwrap_or(0),
        commit: None,
        broken: Some(problem.to_string()),
    });
    // A record that cannot be read says nothing of the model itself.
    info.commit = Fetched::read(folder).ok().flatten().map(|record| record.commit);
    info
}

fn bytes(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        Ok(sum + if metadata.is_dir() { bytes(&entry.path())? } else { metadata.len() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> (tempfile::TempDir, Catalogue) {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
            fs::write(folder.path().join(name).join("model_index.json"), "{}").expect("a file");
        }
        let catalogue = Catalogue::with_folder(folder.path()).expect("a listing");
        (folder, catalogue)
    }

    #[test]
    fn a_model_is_found_by_its_name_or_the_last_part_where_that_is_unique() {
        let (_folder, catalogue) = with(&["stabilityai/sd-turbo", "a/same", "b/same", "alone", "starter"]);
        let find = |name: &str| catalogue.find(name).map(|model| model.info.name);
        assert_eq!(find("starter").as_deref(), Ok("starter"));
        assert_eq!(find("sd-turbo").as_deref(), Ok("stabilityai/sd-turbo"));
        assert_eq!(find("a/same").as_deref(), Ok("a/same"));
        assert_eq!(find("alone").as_deref(), Ok("alone"));
        assert_eq!(catalogue.models().len(), 5);
        let error = find("same").expect_err("two models");
        assert_eq!(error.to_string(), "`same` can be any of a/same, b/same; write the whole name");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_installed_ones_and_never_becomes_a_path() {
        let (_folder, catalogue) = with(&["stabilityai/sd-turbo"]);
        for name in ["sd-turbo2", "", "../stabilityai/sd-turbo", "stabilityai/../stabilityai/sd-turbo", "turbo"] {
            let error = catalogue.find(name).expect_err(name);
            let expected = format!("no model `{name}` is installed; installed are: starter, stabilityai/sd-turbo");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_folder_without_an_index_is_no_model_and_none_at_all_is_no_error() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("org/half")).expect("a folder");
        assert_eq!(Catalogue::with_folder(folder.path()).expect("a listing").models().len(), 1);
        assert_eq!(Catalogue::with_folder(&folder.path().join("none")).expect("a listing").models().len(), 1);
    }
}
