//! The languages of the pages: `static/messages/<language>.json` has the sentences of the scripts, which templates may use
//! too; `templates/messages/<language>.json` those of the templates alone. Under `said` stand the words of models, runners
//! and the cluster, by what they are in English: what is not there stays English.

use std::collections::{BTreeMap, HashMap};
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
                let known = all.entry(language.to_owned()).or_default();
                for (name, sentence) in sentences {
                    match (known.get_mut(&name), sentence) {
                        (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
                        (_, sentence) => drop(known.insert(name, sentence)),
                    }
                }
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

/// The templates' filter `said`: a text of others in the page's words, which are the argument `by`.
pub(crate) fn said(text: &Value, arguments: &HashMap<String, Value>) -> tera::Result<Value> {
    let (Some(text), Some(said)) = (text.as_str(), arguments.get("by").and_then(Value::as_object)) else {
        return Err(tera::Error::msg("`said` takes a text and, as `by`, words by words"));
    };
    Ok(Value::String(in_words_of(text, said)))
}

/// `text` as `said` has it: itself, else by the most particular sentence whose gaps `{name}` it fills; what fills them is
/// translated too.
fn in_words_of(text: &str, said: &Map<String, Value>) -> String {
    if let Some(own) = said.get(text).and_then(Value::as_str) {
        return own.to_owned();
    }
    let alike = said.iter().filter_map(|(sentence, own)| Some((sentence.len(), fills(sentence, text)?, own.as_str()?)));
    let Some((_, filled, own)) = alike.max_by_key(|(length, ..)| *length) else { return text.to_owned() };
    filled.iter().fold(own.to_owned(), |own, (gap, text)| own.replace(&format!("{{{gap}}}"), &in_words_of(text, said)))
}

/// What stands in the gaps of a sentence where `text` is one of its kind: in each the shortest text that fits.
fn fills<'a>(sentence: &'a str, text: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let (start, mut gaps) = sentence.split_once('{')?;
    let mut text = text.strip_prefix(start)?;
    let mut filled = Vec::new();
    loop {
        let (gap, rest) = gaps.split_once('}')?;
        let (between, next) = rest.split_once('{').map_or((rest, None), |(between, next)| (between, Some(next)));
        let end = if next.is_some() { text.find(between)? } else { text.strip_suffix(between)?.len() };
        if end == 0 {
            return None;
        }
        filled.push((gap, &text[..end]));
        let Some(next) = next else { return Some(filled) };
        text = &text[end + between.len()..];
        gaps = next;
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

    /// Where the words stand that are not the pages' own.
    const SAID: &str = "said";

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

    fn gaps(sentence: &str) -> Vec<&str> {
        let mut gaps: Vec<&str> =
            sentence.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        gaps.sort_unstable();
        gaps
    }

    fn text(value: &Value) -> &str {
        value.as_str().expect("a text")
    }

    #[test]
    fn every_language_has_the_same_sentences_with_the_same_gaps() {
        let read = |language: &str| -> Map<String, Value> {
            let files = folders().map(|folder| folder.join(format!("{language}.json")));
            let texts = files.map(|file| std::fs::read_to_string(file).expect("a file"));
            let read = texts.map(|text| serde_json::from_str::<Map<_, _>>(&text).expect("sentences by name"));
            read.into_iter().flatten().filter(|(name, _)| name != SAID).collect()
        };
        let (english, german) = (read("en"), read("de"));
        let missing: Vec<&String> = english.keys().filter(|key| !german.contains_key(*key)).collect();
        let left_over: Vec<&String> = german.keys().filter(|key| !english.contains_key(*key)).collect();
        assert_eq!((missing, left_over), (vec![], vec![]));
        for (name, sentence) in &english {
            assert_eq!(gaps(text(sentence)), gaps(text(&german[name])), "{name}");
        }
    }

    fn german() -> Map<String, Value> {
        shipped().choose("de").1[SAID].as_object().expect("words by words").clone()
    }

    #[test]
    fn what_the_cluster_says_is_german_with_the_same_gaps() {
        let german = german();
        for (sentence, own) in &german {
            assert_eq!(gaps(sentence), gaps(text(own)), "{sentence}");
        }
        for code in [
            "",
            "Resources",
            "Priority",
            "Prolog",
            "BeginTime",
            "Licenses",
            "Reservation",
            "Dependency",
            "ReqNodeNotAvail",
            "PartitionDown",
            "PartitionConfig",
            "PartitionTimeLimit",
            "BadConstraints",
            "InvalidAccount",
            "InvalidQOS",
            "DependencyNeverSatisfied",
            "ReservationDeleted",
            "JobHeldUser",
            "JobLaunchFailure",
            "SystemFailure",
            "NonZeroExitCode",
            "TimeLimit",
            "OutOfMemory",
            "a reason of tomorrow",
            "AssocGrpCPUMinutesLimit",
            "QOSMaxGRESPerJob",
            "QOSMaxJobsPerUserLimit",
        ] {
            let words = crate::slurm::explain(code).words;
            assert!(german.contains_key(words), "{words}");
        }
        for state in ["CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"] {
            let words = crate::slurm::JobState::parse(state).words();
            assert!(german.contains_key(words.as_ref()), "{words}");
        }
    }

    #[test]
    fn what_fills_a_gap_is_translated_and_what_is_unknown_stays() {
        let german = german();
        for (english, own) in [
            ("soft watercolour", "Zartes Aquarell"),
            ("a style of tomorrow", "a style of tomorrow"),
            ("", ""),
            (
                "the prompt names none of this model's styles; `embers` is taken",
                "der Prompt nennt keinen Stil dieses Modells; genommen wird „Glut“",
            ),
            (
                "model `tiny/sd15` has no use for a negative prompt; it is ignored",
                "das Modell „tiny/sd15“ kann mit einem negativen Prompt nichts anfangen; die Angabe bleibt unbeachtet",
            ),
            (
                "the job ended without a result (reached its time limit on the cluster: its time was up)",
                "der Auftrag endete ohne Ergebnis (erreichte auf dem Cluster seine Zeitgrenze: seine Zeit war um)",
            ),
        ] {
            assert_eq!(in_words_of(english, &german), own);
        }
        let english = shipped().choose("en").1[SAID].as_object().expect("words by words").clone();
        assert_eq!(in_words_of("soft watercolour", &english), "soft watercolour");
    }

    #[test]
    fn a_sentence_knows_its_own_kind_by_what_stands_around_its_gaps() {
        assert_eq!(fills("a {b} c {d} e", "a 1 c 2 e"), Some(vec![("b", "1"), ("d", "2")]));
        assert_eq!(fills("{a}: {b}", "so: it: is"), Some(vec![("a", "so"), ("b", "it: is")]));
        for text in ["a 1 c 2", "a  c 2 e", "1 c 2 e", "a 1 c  e", ""] {
            assert_eq!(fills("a {b} c {d} e", text), None, "{text:?}");
        }
        assert_eq!(fills("no gap", "no gap"), None);
    }
}
