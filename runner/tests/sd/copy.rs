//! Copies of the small models, for tests to change.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::safetensors::{load as load_tensors, save as save_tensors};
use candle_core::{Device, Tensor};
use livewebcam_runner::sd::{LoadError, Pipeline, Precision};
use serde_json::Value;
use tempfile::TempDir;

use super::small::{case, compare, fixtures, load, paint, picture};

pub(crate) type Tensors = HashMap<String, Tensor>;

/// A copy of a model that a test may change. Links become files.
pub(crate) struct Copy(TempDir);

impl Copy {
    pub(crate) fn of(model: &str) -> Self {
        let copy = Self(tempfile::tempdir().expect("a folder"));
        copy_folder(&fixtures().join(model), copy.path());
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn edit_json(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let path = self.path().join(file);
        let mut value = serde_json::from_slice(&fs::read(&path).expect("JSON")).expect("JSON");
        edit(&mut value);
        fs::write(path, value.to_string()).expect("written");
    }

    pub(crate) fn edit_tensors(&self, file: &str, edit: impl FnOnce(Tensors) -> Tensors) {
        let path = self.path().join(file);
        let tensors = load_tensors(&path, &Device::Cpu).expect("tensors");
        save_tensors(&edit(tensors), &path).expect("written");
    }

    pub(crate) fn load(&self) -> Result<Pipeline, LoadError> {
        load(self.path(), false, Precision::F32)
    }

    /// The whole story of why it cannot be loaded.
    pub(crate) fn error(&self) -> String {
        match self.load() {
            Ok(_) => panic!("the model was loaded"),
            Err(error) => error.to_string(),
        }
    }

    /// Fails unless it paints what the model that it was copied from paints.
    pub(crate) fn paints_the_same(&self, model: &str, name: &str) {
        let painting = paint(&self.load().expect("a model"), &case(model, name));
        let expected = picture(&fixtures().join(model).join(format!("{name}.png")));
        let (psnr, worst) = compare(&painting.image, &expected);
        assert!(psnr >= 50.0 && worst <= 2, "{psnr:.1} dB, worst pixel {worst}");
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target);
        } else {
            fs::copy(&source, &target).expect("a copy");
        }
    }
}
