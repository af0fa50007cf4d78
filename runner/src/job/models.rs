//! The models that lie in a tree, and the one of them that is loaded.

use std::io;

use image::RgbImage;
use livewebcam_jobs::{DeviceChoice, LoadOptions, Root};

use super::error::JobError;
use crate::log::Log;
use crate::model::{Catalogue, Installed, LoadError, Model, PaintError, Painting, Plan, Watch};

/// The installed models. One of them stays loaded from one painting to the next.
pub struct Models {
    root: Option<Root>,
    loaded: Option<Loaded>,
    log: Log,
}

/// A loaded model, and what it was loaded from and how.
pub(super) struct Loaded {
    installed: Installed,
    options: LoadOptions,
    model: Model,
}

impl Loaded {
    fn is(&self, name: &str, options: LoadOptions) -> bool {
        self.installed.info.name == name && self.options == options
    }
}

impl Models {
    /// The models that lie in a tree, and the built-in one; that one alone without a tree.
    #[must_use]
    pub fn new(root: Option<Root>, log: Log) -> Self {
        Self { root, loaded: None, log }
    }

    /// The loaded model's full name, and where it computes.
    #[must_use]
    pub fn loaded(&self) -> Option<(&str, DeviceChoice)> {
        self.loaded.as_ref().map(|loaded| (loaded.installed.info.name.as_str(), loaded.options.device))
    }

    /// Whether this model is loaded, in this way.
    pub(super) fn holds(&self, name: &str, options: LoadOptions) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.is(name, options))
    }

    /// The model of this name. The folder of models is read, unless the one that is loaded has that name.
    pub(super) fn find(&self, name: &str) -> Result<Installed, JobError> {
        match &self.loaded {
            Some(loaded) if loaded.installed.info.name == name => Ok(loaded.installed.clone()),
            _ => Ok(self.catalogue().map_err(JobError::Catalogue)?.find(name)?),
        }
    }

    /// The model, loaded: it may be so already. Another one makes room before.
    pub(super) fn load(&mut self, installed: Installed, options: LoadOptions) -> Result<Loaded, LoadError> {
        if let Some(loaded) = self.loaded.take_if(|loaded| loaded.is(&installed.info.name, options)) {
            return Ok(loaded);
        }
        self.loaded = None;
        let model = installed.load(options, self.log)?;
        Ok(Loaded { installed, options, model })
    }

    /// Paints, and keeps the model for the next painting, unless its computation failed or panicked.
    pub(super) fn paint(
        &mut self,
        loaded: Loaded,
        frame: &RgbImage,
        plan: &Plan,
        watch: &mut dyn Watch,
    ) -> Result<Painting, PaintError> {
        let painting = loaded.model.paint(frame, plan, watch);
        if !painting.as_ref().is_err_and(PaintError::is_of_computation) {
            self.loaded = Some(loaded);
        }
        painting
    }

    fn catalogue(&self) -> io::Result<Catalogue> {
        match &self.root {
            Some(root) => Ok(Catalogue::with_folder(&root.models())?.keeping(root.cache())),
            None => Ok(Catalogue::built_in()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Instant;

    use livewebcam_jobs::{Parameters, Progress};

    use super::*;
    use crate::model::{Interrupted, Unwatched};

    struct Panics;

    impl Watch for Panics {
        fn progress(&mut self, _: Progress) -> Result<(), Interrupted> {
            panic!("at the first progress")
        }

        fn check(&mut self) -> Result<(), Interrupted> {
            Ok(())
        }
    }

    #[test]
    fn a_model_stays_loaded_until_a_painting_panics() {
        let mut models = Models::new(None, Log::since(Instant::now()));
        let options = LoadOptions::default();
        let paint = |models: &mut Models, watch: &mut dyn Watch| {
            let installed = models.find("starter").expect("built in");
            let plan = Plan::new(&installed.info, &Parameters::default()).expect("a plan");
            let loaded = models.load(installed, options).expect("its weights");
            assert!(!models.holds("starter", options), "it is with the painting now");
            models.paint(loaded, &RgbImage::new(32, 32), &plan, watch).expect("a painting")
        };
        assert!(models.loaded().is_none());
        paint(&mut models, &mut Unwatched);
        assert_eq!(models.loaded(), Some(("starter", DeviceChoice::Cpu)));
        assert!(models.holds("starter", options) && !models.holds("starter", LoadOptions { taesd: true, ..options }));
        assert!(catch_unwind(AssertUnwindSafe(|| paint(&mut models, &mut Panics))).is_err());
        assert!(models.loaded().is_none());
        paint(&mut models, &mut Unwatched);
        assert!(models.loaded().is_some());
    }
}
