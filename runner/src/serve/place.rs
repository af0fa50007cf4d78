//! The runner's own directory: who it is, and whether it is to leave.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use livewebcam_jobs::{Author, Claim, Root, RunnerDir, RunnerFile, RunnerId, local};

/// `runners/<id>/`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: RunnerDir,
    looked: Option<Instant>,
}

impl Place {
    /// How long a look holds.
    const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// The directory of this runner, made if it is missing. The root is not.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn new(root: &Root, id: RunnerId) -> io::Result<Self> {
        let dir = root.warm_runner(id);
        for folder in [&root.runners(), dir.path()] {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        Ok(Self { dir, looked: None })
    }

    /// Takes the directory for this process, unless another one has; a lost answer of `sbatch` may have started two.
    ///
    /// # Errors
    /// `claim.json` cannot be written.
    pub(super) fn take(&self, author: &Author) -> io::Result<bool> {
        let claim = Claim { author: author.clone(), nonce: format!("{:016x}", rand::random::<u64>()) };
        local::publish_exclusively(&self.dir.file(RunnerFile::Claim), &local::to_json(&claim))
    }

    pub(super) fn dir(&self) -> &RunnerDir {
        &self.dir
    }

    /// Why the runner is to leave, if it is. Asks at most once a second, by a listing: an NFS client may remember for long
    /// that a single name was missing.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub(super) fn orders(&mut self) -> io::Result<Option<&'static str>> {
        if self.looked.is_some_and(|looked| looked.elapsed() < Self::LOOK_EVERY) {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let entries = match fs::read_dir(self.dir.path()) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle) => {
                return Ok(Some("its directory is gone"));
            }
            entries => entries?.collect::<io::Result<Vec<_>>>()?,
        };
        let stop = entries.iter().any(|entry| entry.file_name() == RunnerFile::Stop.name());
        Ok(stop.then_some("the file `stop` says so"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_made_in_a_root_and_never_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = RunnerId::new();
        let place = Place::new(&Root::new(folder.path()), id).expect("a place");
        let mode = fs::metadata(place.dir().path()).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        Place::new(&Root::new(folder.path()), id).expect("the same place");
        let error = Place::new(&Root::new(folder.path().join("no/root")), id).expect_err("no root");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn orders_are_read_off_the_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut place = Place::new(&Root::new(folder.path()), RunnerId::new()).expect("a place");
        let orders = |place: &mut Place| {
            place.looked = None;
            place.orders().expect("a look")
        };
        assert_eq!(orders(&mut place), None);
        fs::write(place.dir().file(RunnerFile::Stop), "").expect("a file");
        assert_eq!(place.orders().expect("a look"), None, "the last look still holds");
        assert_eq!(orders(&mut place), Some("the file `stop` says so"));
        fs::remove_dir_all(folder.path().join("runners")).expect("a folder");
        assert_eq!(orders(&mut place), Some("its directory is gone"));
    }
}
