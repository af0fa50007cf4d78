//! Where a model's autoencoder lies.

use livewebcam_jobs::Unloadable;

use super::super::error::LoadError;
use super::super::folder::Folder;
use super::super::index::Family;

/// Who publishes the TAESDs: a folder of that name among the installed models may hold them too.
const PUBLISHER: &str = "madebyollin";

/// The folder and the component of the autoencoder.
///
/// # Errors
/// There is no TAESD, and one is asked for.
pub(in super::super) fn find(folder: &Folder, family: Family, taesd: bool) -> Result<(Folder, String), LoadError> {
    if !taesd {
        return Ok((folder.clone(), "vae".to_owned()));
    }
    find_tiny(folder, family).ok_or_else(|| Unloadable::Taesd.into())
}

/// The folder and the component of the TAESD that is made for this family's latents: inside the model's folder, beside it, or
/// installed under its publisher's name.
pub(in super::super) fn find_tiny(folder: &Folder, family: Family) -> Option<(Folder, String)> {
    let own = family.taesd();
    let there = |folder: Folder, name: &str| {
        let there = folder.has(&format!("{name}/config.json"));
        there.then(|| (folder, name.to_owned()))
    };
    let inside = || [own, "taesd"].into_iter().find_map(|name| there(folder.clone(), name));
    let beside = || folder.parent().and_then(|beside| there(beside, own));
    let models = || folder.parent().and_then(|organisation| organisation.parent());
    let published = || models().and_then(|models| there(models.child(PUBLISHER), own));
    inside().or_else(beside).or_else(published)
}
