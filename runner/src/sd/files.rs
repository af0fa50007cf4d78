//! Which files of a model are needed, and whether they are of a supported one: for whoever downloads it.

use std::path::Path;

use super::error::LoadError;
use super::folder::{Folder, WeightFiles};
use super::index::Index;
use super::needed::needed_tensors;
use super::pipeline::check_scheduler;
use super::vae::Autoencoder;

/// A model of which at least `model_index.json` is there. Files are named from the model's folder on; `has` knows which of
/// them exist where the rest is to come from.
#[derive(Clone, Debug)]
pub struct Files {
    folder: Folder,
    index: Index,
}

impl Files {
    /// Reads `model_index.json` in `folder`.
    ///
    /// # Errors
    /// A pipeline or a component of a class that is not supported.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let folder = Folder::new(folder);
        let index = Index::read(&folder)?;
        Ok(Self { folder, index })
    }

    /// The configurations and the tokenizers' files.
    ///
    /// # Errors
    /// One that does not exist.
    pub fn small(&self, has: &dyn Fn(&str) -> bool) -> Result<Vec<String>, LoadError> {
        let mut files: Vec<String> =
            self.index.weights().iter().map(|component| format!("{component}/config.json")).collect();
        files.push("scheduler/scheduler_config.json".to_owned());
        for (_, tokenizer) in self.index.encoders() {
            let named = |name: &str| format!("{tokenizer}/{name}");
            let whole = named("tokenizer.json");
            files.extend(if has(&whole) { vec![whole] } else { vec![named("vocab.json"), named("merges.txt")] });
            files
                .extend(["tokenizer_config.json", "special_tokens_map.json"].map(named).into_iter().filter(|f| has(f)));
        }
        match files.iter().find(|file| !has(file)) {
            Some(file) => Err(LoadError::Missing { file: file.clone() }),
            None => Ok(files),
        }
    }

    /// Where each component's weights are, in the number format `variant` where there are such.
    ///
    /// # Errors
    /// A component without safetensors files.
    pub fn weights(&self, variant: Option<&str>, has: &dyn Fn(&str) -> bool) -> Result<Vec<WeightFiles>, LoadError> {
        self.index.weights().iter().map(|component| WeightFiles::choose(component, variant, has)).collect()
    }

    /// The files that an index of sharded weights names. The index itself is there.
    ///
    /// # Errors
    /// An index that is none, or one that names a file outside its folder.
    pub fn shards(&self, index: &str) -> Result<Vec<String>, LoadError> {
        let component = index.rsplit_once('/').map_or("", |(component, _)| component);
        self.folder.shards(component, index)
    }

    /// Refuses configurations that cannot be painted with. All small files are there.
    ///
    /// # Errors
    /// What is not supported.
    pub fn check(&self) -> Result<(), LoadError> {
        check_scheduler(&self.folder, &self.index)?;
        needed_tensors(self.folder.path()).map(drop)
    }

    /// The name of the small autoencoder that fits, `taesd` or `taesdxl`, which is that of its folder too.
    #[must_use]
    pub fn taesd(&self) -> &'static str {
        self.index.family.taesd()
    }
}

/// Refuses an autoencoder in `folder` whose configuration is not supported.
///
/// # Errors
/// No configuration, or one that is not supported.
pub fn check_autoencoder(folder: &Path) -> Result<(), LoadError> {
    Autoencoder::needed(&Folder::new(folder).config("config.json")?).map(drop)
}
