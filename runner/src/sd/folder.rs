//! A model's folder in diffusers' layout: which files there are, and what is in the small ones.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::config::Config;
use super::error::LoadError;
use crate::log::Log;
use crate::nn::weights::{Shelf, stamp};

/// A component's weights under their common names, the preferred ones first: with `{}` for a component's own stem.
const SINGLE: [&str; 3] = ["{}.safetensors", "{}.fp16.safetensors", "{}.bf16.safetensors"];
const SHARDED: [&str; 5] = [
    "{}.safetensors.index.json",
    "{}.safetensors.index.fp16.json",
    "{}.fp16.safetensors.index.json",
    "{}.safetensors.index.bf16.json",
    "{}.bf16.safetensors.index.json",
];
const PICKLED: [&str; 4] = ["{}.bin", "{}.fp16.bin", "{}.bin.index.json", "{}.ckpt"];
/// diffusers' components and transformers' components.
const STEMS: [&str; 3] = ["diffusion_pytorch_model", "model", "pytorch_model"];

/// The folder for what is derived from models, in the folder that it was derived from.
const KEPT: &str = ".livewebcam";

/// A folder in diffusers' layout. Names are relative to it, with `/`; that is also how errors name files.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    keep: Option<Keep>,
}

/// Where what is derived from a model is kept for the next time, beside in the model's own folder.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Stands for the model's folder where that cannot be written to.
    pub cache: Option<PathBuf>,
    /// Says what is kept, and what keeps it from being kept.
    pub log: Log,
}

impl Folder {
    /// The folder at `path`. Nothing that is derived from it is kept.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), keep: None }
    }

    /// This folder, and what is derived from it is kept.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep: Some(keep), ..self }
    }

    /// The folder that it lies in, and what is derived from that is kept as well.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let keep =
            |keep: &Keep| Keep { cache: keep.cache.as_deref().and_then(Path::parent).map(Path::to_owned), ..*keep };
        Some(Self { path: self.path.parent()?.to_owned(), keep: self.keep.as_ref().map(keep) })
    }

    /// The folder `name` in it, and what is derived from that is kept as well.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let keep = |keep: &Keep| Keep { cache: keep.cache.as_deref().map(|cache| cache.join(name)), ..*keep };
        Self { path: self.path.join(name), keep: self.keep.as_ref().map(keep) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the packed weights of `component` are kept.
    #[must_use]
    pub fn shelf(&self, component: &str) -> Option<Shelf> {
        let keep = self.keep.as_ref()?;
        let beside = self.path.join(component).join(KEPT);
        let cached = keep.cache.iter().map(|cache| cache.join(component));
        Some(Shelf { folders: std::iter::once(beside).chain(cached).collect(), log: keep.log })
    }

    /// Where embedded prompts are kept.
    #[must_use]
    pub fn prompts(&self) -> Option<Shelf> {
        let keep = self.keep.as_ref()?;
        let beside = self.path.join(KEPT);
        let folders = std::iter::once(&beside).chain(&keep.cache).map(|folder| folder.join("prompts"));
        Some(Shelf { folders: folders.collect(), log: keep.log })
    }

    /// What changes when a file is replaced; `None` where it is not there.
    #[must_use]
    pub fn stamp(&self, name: &str) -> Option<String> {
        stamp(&self.path.join(name))
    }

    /// Whether there is such a file or folder.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// A text file's content.
    ///
    /// # Errors
    /// A missing or unreadable file.
    pub fn text(&self, name: &str) -> Result<String, LoadError> {
        fs::read_to_string(self.path.join(name)).map_err(|source| match source.kind() {
            ErrorKind::NotFound => LoadError::Missing { file: name.to_owned() },
            _ => LoadError::Read { file: name.to_owned(), source },
        })
    }

    /// A JSON object. Python's `NaN` and `Infinity`, which are no JSON, become null.
    ///
    /// # Errors
    /// A missing or unreadable file, or one that holds no JSON object.
    pub fn json(&self, name: &str) -> Result<Map<String, Value>, LoadError> {
        let text = self.text(name)?;
        let values = serde_json::from_str(&text).or_else(|_| serde_json::from_str(&without_python_numbers(&text)));
        values.map_err(|source| LoadError::Json { file: name.to_owned(), source })
    }

    /// Like [`Folder::json`]; a missing file is an empty object.
    ///
    /// # Errors
    /// An unreadable file, or one that holds no JSON object.
    pub fn json_or_empty(&self, name: &str) -> Result<Map<String, Value>, LoadError> {
        if self.has(name) { self.json(name) } else { Ok(Map::new()) }
    }

    /// A configuration.
    ///
    /// # Errors
    /// See [`Folder::json`].
    pub fn config(&self, name: &str) -> Result<Config, LoadError> {
        Ok(Config::new(name, self.json(name)?))
    }

    /// The files of a component's weights, each with the name that errors give it.
    ///
    /// # Errors
    /// No safetensors file, or an index that names a file which is not there.
    pub fn weights(&self, component: &str) -> Result<Vec<(PathBuf, String)>, LoadError> {
        let names = match WeightFiles::choose(component, None, &|name| self.has(name))? {
            WeightFiles::Single(name) => return Ok(vec![(self.path.join(&name), name)]),
            WeightFiles::Sharded { index } => self.shards(component, &index)?,
        };
        let file = |name: String| {
            let path = self.path.join(&name);
            if path.exists() { Ok((path, name)) } else { Err(LoadError::Missing { file: name }) }
        };
        names.into_iter().map(file).collect()
    }

    /// The files that an index of sharded weights names.
    ///
    /// # Errors
    /// No such index, one that is none, or one that names a file outside its folder.
    pub(super) fn shards(&self, component: &str, index: &str) -> Result<Vec<String>, LoadError> {
        let problem = |problem: &str| LoadError::Config {
            file: index.to_owned(),
            key: "weight_map".to_owned(),
            problem: problem.to_owned(),
        };
        let index_values = self.json(index)?;
        let map = index_values.get("weight_map").and_then(Value::as_object);
        let map = map.ok_or_else(|| problem("is missing; it says which file holds which tensor"))?;
        let mut names: Vec<&str> = map.values().filter_map(Value::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let name = |name: &str| {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(problem("names a file outside its folder"));
            }
            Ok(format!("{component}/{name}"))
        };
        names.into_iter().map(name).collect()
    }
}

/// Where a component's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightFiles {
    /// In one file.
    Single(String),
    /// In the files that this one names.
    Sharded {
        /// The index.
        index: String,
    },
}

impl WeightFiles {
    /// Chooses among the files of a model that `has` knows: the number format `variant` (`fp16`, say) if one is named and
    /// there; else full precision; else what there is.
    ///
    /// # Errors
    /// No safetensors file.
    pub(super) fn choose(
        component: &str,
        variant: Option<&str>,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<Self, LoadError> {
        let named = |pattern: &str, stem: &str| format!("{component}/{}", pattern.replace("{}", stem));
        let first = |patterns: &[&str]| {
            let names = patterns.iter().flat_map(|pattern| STEMS.map(|stem| named(pattern, stem)));
            names.into_iter().find(|name| has(name))
        };
        let either = |singles: &[&str], indexes: &[&str]| {
            let sharded = || first(indexes).map(|index| Self::Sharded { index });
            first(singles).map(Self::Single).or_else(sharded)
        };
        let of_variant = variant.and_then(|variant| {
            let part = format!(".{variant}.");
            let of = |patterns: &[&'static str]| -> Vec<&str> {
                patterns.iter().copied().filter(|pattern| pattern.contains(&part)).collect()
            };
            either(&of(&SINGLE), &of(&SHARDED))
        });
        let chosen = of_variant.or_else(|| either(&SINGLE[..1], &SHARDED[..1])).or_else(|| either(&SINGLE, &SHARDED));
        chosen.ok_or_else(|| match first(&PICKLED) {
            Some(file) => LoadError::PickleOnly { component: component.to_owned(), file },
            None => LoadError::Missing { file: named(SINGLE[0], expected_stem(component)) },
        })
    }

    /// Its file, or the index of its files.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Single(name) | Self::Sharded { index: name } => name,
        }
    }
}

fn expected_stem(component: &str) -> &'static str {
    if component.starts_with("text_encoder") { STEMS[1] } else { STEMS[0] }
}

/// Replaces the words `NaN`, `Infinity` and `-Infinity` outside strings.
fn without_python_numbers(text: &str) -> String {
    let pieces = text.split('"');
    let mut inside = false;
    let mut clean = String::with_capacity(text.len());
    for (number, piece) in pieces.enumerate() {
        if number > 0 {
            clean.push('"');
        }
        if inside {
            clean.push_str(piece);
        } else {
            clean.push_str(&piece.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"));
        }
        // A quotation mark after an odd number of backslashes does not end its string.
        let escaped = inside && (piece.len() - piece.trim_end_matches('\\').len()) % 2 == 1;
        inside = inside == escaped;
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::without_python_numbers;

    #[test]
    fn python_numbers_become_null_but_strings_stay() {
        let text = r#"{"a": -Infinity, "Infinity\" NaN": "NaN", "b": NaN, "c": [Infinity]}"#;
        let clean = r#"{"a": null, "Infinity\" NaN": "NaN", "b": null, "c": [null]}"#;
        assert_eq!(without_python_numbers(text), clean);
    }
}
