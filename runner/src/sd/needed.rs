//! Which tensors a model's configurations ask for: for whoever makes a checkpoint, or looks for what one lacks.

use std::path::Path;

use super::clip::{ClipConfig, ClipTextModel};
use super::error::LoadError;
use super::folder::Folder;
use super::index::Index;
use super::unet::{Unet, UnetConfig};
use super::vae::Autoencoder;
use crate::nn::weights::{Needed, Weights};

/// The folder of each component of the model in `folder`, a TAESD in it among them, and the tensors that its weights must
/// hold. Reads only configurations.
///
/// # Errors
/// A missing configuration, or one that is not supported.
pub fn needed_tensors(folder: &Path) -> Result<Vec<(&'static str, Vec<Needed>)>, LoadError> {
    let folder = Folder::new(folder);
    let index = Index::read(&folder)?;
    let needed = |component: &'static str| {
        let config = folder.config(&format!("{component}/config.json"))?;
        let weights = Weights::outline();
        match component {
            "unet" => drop(Unet::load(&weights, &UnetConfig::read(&config)?)?),
            "vae" | "taesd" | "taesdxl" => return Ok((component, Autoencoder::needed(&config)?)),
            _ => {
                let projected = component == "text_encoder_2";
                drop(ClipTextModel::load(&weights, &ClipConfig::read(&config)?, projected)?);
            }
        }
        Ok((component, weights.needed()))
    };
    let tiny = ["taesd", "taesdxl"].into_iter().filter(|tiny| folder.has(&format!("{tiny}/config.json")));
    index.weights().into_iter().chain(tiny).map(needed).collect()
}
