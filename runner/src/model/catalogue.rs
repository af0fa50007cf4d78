//! Which models are installed, and finding one by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use livewebcam_jobs::{Controls, FrameSize, ModelInfo};

use super::{LoadError, Model, starter};

/// The models that this runner can be asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    models: Vec<ModelInfo>,
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
        Self { models: vec![starter::info()] }
    }

    /// The built-in model, and after it those that lie in `models/<org>/<name>`, by name. A folder that does not exist is an
    /// empty one.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn with_folder(models: &Path) -> io::Result<Self> {
        let mut catalogue = Self::built_in();
        for org in folders(models)? {
            for folder in folders(&org.path)? {
                if folder.path.join("model_index.json").is_file() {
                    catalogue.models.push(describe(format!("{}/{}", org.name, folder.name), &folder.path)?);
                }
            }
        }
        catalogue.models[1..].sort_by(|a, b| a.name.cmp(&b.name));
        Ok(catalogue)
    }

    /// Every installed model.
    #[must_use]
    pub fn models(&self) -> &[ModelInfo] {
        &self.models
    }

    /// The model with this name, or the only one whose name ends in `/name`.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn find(&self, name: &str) -> Result<&ModelInfo, FindError> {
        if let Some(model) = self.models.iter().find(|model| model.name == name) {
            return Ok(model);
        }
        let ends_so = |model: &&ModelInfo| model.name.rsplit_once('/').is_some_and(|(_, last)| last == name);
        let candidates: Vec<&ModelInfo> = self.models.iter().filter(ends_so).collect();
        let names =
            |models: &[&ModelInfo]| models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
        match candidates.as_slice() {
            [model] => Ok(model),
            [] => Err(FindError::Unknown {
                name: name.to_owned(),
                installed: names(&self.models.iter().collect::<Vec<_>>()),
            }),
            several => Err(FindError::Ambiguous { name: name.to_owned(), candidates: names(several) }),
        }
    }

    /// Reads the weights of a model of this catalogue.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, info: &ModelInfo) -> Result<Model, LoadError> {
        match &info.broken {
            Some(reason) => Err(LoadError::Broken { model: info.name.clone(), reason: reason.clone() }),
            None => Model::starter(),
        }
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

/// A model in a folder. This version of the runner knows the built-in network only, and says so.
fn describe(name: String, folder: &Path) -> io::Result<ModelInfo> {
    Ok(ModelInfo {
        title: name.clone(),
        name,
        family: "diffusers".to_owned(),
        size: FrameSize { width: 512, height: 512, multiple_of: 8, keep_aspect: false },
        controls: Controls::default(),
        bytes: bytes(folder)?,
        broken: Some("this version of the runner cannot paint with models in folders".to_owned()),
    })
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
        let (_folder, catalogue) = with(&["stabilityai/sd-turbo", "a/same", "b/same"]);
        let find = |name: &str| catalogue.find(name).map(|model| model.name.as_str());
        assert_eq!(find("starter"), Ok("starter"));
        assert_eq!(find("sd-turbo"), Ok("stabilityai/sd-turbo"));
        assert_eq!(find("a/same"), Ok("a/same"));
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
