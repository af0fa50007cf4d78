//! Whether what is kept of a model is what was written, and still of the model's files.

use super::error::LoadError;
use super::folder::Folder;
use super::index::Index;
use crate::nn::weights;

/// Reads all packed weights of the model in `folder`, and all that they were made of. What is wrong, in a sentence for each.
///
/// # Errors
/// A missing configuration or file of weights, or one that cannot be read.
pub fn verify(folder: &Folder) -> Result<Vec<String>, LoadError> {
    let index = Index::read(folder)?;
    let tiny = ["taesd", "taesdxl"].into_iter().filter(|tiny| folder.has(&format!("{tiny}/config.json")));
    let mut problems = Vec::new();
    for component in index.weights().into_iter().chain(tiny) {
        let folders = folder.shelf(component).map(|shelf| shelf.folders).unwrap_or_default();
        problems.extend(weights::verify(&folder.weights(component)?, &folders)?);
    }
    Ok(problems)
}
