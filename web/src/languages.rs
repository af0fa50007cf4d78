//! The languages of the pages: `static/messages/<language>.json` has the sentences of the scripts, which templates may use
//! too; `templates/messages/<language>.json` those of the templates alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Spoken where the browser asks for nothing that there is. Its file has every sentence.
const DEFAULT: &str = "en";

/// Why there are no sentences.
#[derive(Debug, thiserror::Error)]
#[error("the sentences of the pages cannot be used: {path}: {problem}")]
pub struct LanguagesError {
    path: String,
    problem: String,
}

/// Every language's sentences by their names.
#[derive(Debug)]
pub(crate) struct Languages(BTreeMap<String, Map<String, Value>>);

impl Languages {
    /// Reads folders of JSON objects. What a language lacks it borrows from English.
    pub(crate) fn load(folders: &[PathBuf]) -> Result<Self, LanguagesError> {
        let error = |path: &Path, problem: &dyn ToString| LanguagesError {
            path: path.display().to_string(),
            problem: problem.to_string(),
        };
        let mut all = BTreeMap::<String, Map<String, Value>>::new();
        for folder in folders {
            for entry in std::fs::read_dir(folder).map_err(|problem| error(folder, &problem))? {
                let path = entry.map_err(|problem| error(folder, &problem))?.path();
                let Some(language) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
                if path.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).map_err(|problem| error(&path, &problem))?;
                let sentences: Map<String, Value> =
                    serde_json::from_str(&text).map_err(|problem| error(&path, &problem))?;
                all.entry(language.to_owned()).or_default().extend(sentences);
            }
        }
        let Some(complete) = all.get(DEFAULT).cloned() else {
            return Err(error(Path::new("en.json"), &"it is missing"));
        };
        for sentences in all.values_mut() {
            for (name, sentence) in &complete {
                sentences.entry(name).or_insert_with(|| sentence.clone());
            }
        }
        Ok(Self(all))
    }

    /// The language that an `Accept-Language` header likes best, and its sentences.
    pub(crate) fn choose(&self, accepted: &str) -> (&str, &Map<String, Value>) {
        let mut wishes: Vec<(f32, &str)> = accepted.split(',').filter_map(wish).collect();
        // Stable: of equal wishes the first counts.
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let known = wishes.iter().find_map(|(_, language)| self.0.get_key_value(language.to_lowercase().as_str()));
        let (language, sentences) =
            known.or_else(|| self.0.get_key_value(DEFAULT)).expect("English is there since the folder was read");
        (language, sentences)
    }
}

/// One part of `Accept-Language`: `de-CH;q=0.8` wants `de` by 0.8.
fn wish(part: &str) -> Option<(f32, &str)> {
    let (range, parameters) = part.split_once(';').unwrap_or((part, ""));
    let quality = match parameters.trim().strip_prefix("q=") {
        Some(quality) => quality.trim().parse().ok()?,
        None => 1.0,
    };
    let language = range.trim().split('-').next().unwrap_or_default();
    (quality > 0.0 && !language.is_empty()).then_some((quality, language))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> [PathBuf; 2] {
        ["static", "templates"].map(|part| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("messages"))
    }

    fn shipped() -> Languages {
        Languages::load(&folders()).expect("sentences")
    }

    #[test]
    fn the_browsers_language_is_spoken_where_there_is_one() {
        let languages = shipped();
        for (accepted, language) in [
            ("", "en"),
            ("de", "de"),
            ("de-CH, fr;q=0.9", "de"),
            ("fr, DE;q=0.4, en;q=0.6", "en"),
            ("fr-FR, de;q=0", "en"),
            ("*, xx;q=what", "en"),
        ] {
            assert_eq!(languages.choose(accepted).0, language, "{accepted:?}");
        }
    }

    #[test]
    fn every_language_has_the_same_sentences_with_the_same_gaps() {
        let read = |language: &str| -> BTreeMap<String, String> {
            let files = folders().map(|folder| folder.join(format!("{language}.json")));
            let texts = files.map(|file| std::fs::read_to_string(file).expect("a file"));
            let read = texts.map(|text| serde_json::from_str::<BTreeMap<_, _>>(&text).expect("sentences by name"));
            read.into_iter().flatten().collect()
        };
        let gaps = |sentence: &str| -> Vec<String> {
            let mut gaps: Vec<String> =
                sentence.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect();
            gaps.sort_unstable();
            gaps
        };
        let (english, german) = (read("en"), read("de"));
        assert!(
            english.keys().eq(german.keys()),
            "{:?}",
            english.keys().filter(|key| !german.contains_key(*key)).collect::<Vec<_>>()
        );
        for (name, sentence) in &english {
            assert_eq!(gaps(sentence), gaps(&german[name]), "{name}");
        }
    }
}
