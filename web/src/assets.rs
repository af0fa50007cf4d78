//! Templates and static files: found once, at the start.

use std::path::{Path, PathBuf};

use tera::Tera;

use crate::languages::{self, Languages, LanguagesError};

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// The folders are nowhere.
    #[error("the folders `templates` and `static` are not in {}; name their folder with server.assets", .looked.join(", "))]
    Missing {
        /// Where they were looked for.
        looked: Vec<String>,
    },
    /// A template is broken.
    #[error("the templates cannot be read")]
    Templates(#[from] tera::Error),
    /// The sentences are missing or broken.
    #[error(transparent)]
    Languages(#[from] LanguagesError),
}

/// The pages' templates and the folder of their styles and scripts.
pub(crate) struct Assets {
    pub(crate) templates: Tera,
    pub(crate) static_files: PathBuf,
    pub(crate) languages: Languages,
}

impl Assets {
    /// Takes `folder` if it is named; else looks in the working directory and above the binary, as in a checkout.
    pub(crate) fn load(folder: &Path) -> Result<Self, AssetsError> {
        let candidates: Vec<PathBuf> = if folder.as_os_str().is_empty() {
            let binary = std::env::current_exe().ok();
            let above = binary.iter().flat_map(|binary| binary.ancestors().skip(1).take(4)).map(Path::to_owned);
            std::iter::once(PathBuf::from(".")).chain(above).collect()
        } else {
            vec![folder.to_owned()]
        };
        let complete =
            |folder: &&PathBuf| folder.join("templates/base.html").is_file() && folder.join("static").is_dir();
        let Some(folder) = candidates.iter().find(complete) else {
            let looked = candidates.iter().map(|folder| folder.display().to_string()).collect();
            return Err(AssetsError::Missing { looked });
        };
        let mut templates = Tera::new(&folder.join("templates/**/*.html").to_string_lossy())?;
        templates.register_filter("said", languages::said);
        let static_files = folder.join("static");
        let languages = Languages::load(&[static_files.join("messages"), folder.join("templates/messages")])?;
        Ok(Self { templates, static_files, languages })
    }
}
