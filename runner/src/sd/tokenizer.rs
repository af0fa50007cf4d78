//! CLIP's tokenizer: text to the 77 ids that a text encoder takes.
//!
//! Like transformers, it takes only vocabulary, merges and special tokens from the model's files. How text is cleaned and
//! split is the same for every CLIP model, whatever an older `tokenizer.json` says.

use serde_json::Value;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::error::LoadError;
use super::folder::Folder;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Contractions, runs of letters, single digits, runs of anything else that is no space.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A text's ids, as many as the text encoder has positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Start, text, end, padding.
    pub ids: Vec<u32>,
    /// How many ids of the text did not fit; 0 for a text that is whole.
    pub lost: usize,
}

/// Text to ids for one text encoder.
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    pad: u32,
    length: usize,
}

/// Whatever of these there is, ids depend on.
const FILES: [&str; 5] =
    ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];

impl Tokenizer {
    /// A name for the tokenizer in `component`, which another one's files would not have. Reads none of them.
    ///
    /// # Errors
    /// A missing file.
    pub(super) fn identity(folder: &Folder, component: &str) -> Result<String, LoadError> {
        let stamps = FILES.map(|file| folder.stamp(&format!("{component}/{file}")));
        if stamps[0].is_none() {
            for (file, stamp) in FILES[1..=2].iter().zip(&stamps[1..=2]) {
                stamp.as_ref().ok_or_else(|| LoadError::Missing { file: format!("{component}/{file}") })?;
            }
        }
        Ok(format!("{stamps:?}"))
    }

    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt`, and `tokenizer_config.json` from `component`, a folder of
    /// the model such as `tokenizer`. `positions` is what the text encoder takes.
    ///
    /// # Errors
    /// A missing or damaged file, or a special token that the vocabulary lacks.
    pub fn load(folder: &Folder, component: &str, positions: usize) -> Result<Self, LoadError> {
        let config = folder.json_or_empty(&format!("{component}/tokenizer_config.json"))?;
        let special = folder.json_or_empty(&format!("{component}/special_tokens_map.json"))?;
        let token = |key: &str, default: &str| {
            let content = |value: &Value| value.get("content").unwrap_or(value).as_str().map(str::to_owned);
            let found = config.get(key).and_then(content).or_else(|| special.get(key).and_then(content));
            found.unwrap_or_else(|| default.to_owned())
        };
        let start = token("bos_token", START);
        let end = token("eos_token", END);
        let unknown = token("unk_token", END);
        let pad = token("pad_token", END);
        let whole = format!("{component}/tokenizer.json");
        let file = if folder.has(&whole) { whole } else { format!("{component}/vocab.json") };
        let problem = |problem: String| LoadError::Tokenizer { file: file.clone(), problem };

        let (vocabulary, merges, added) = if file.ends_with("tokenizer.json") {
            from_tokenizer_json(&folder.json(&file)?).map_err(problem)?
        } else {
            let vocabulary = vocabulary(&Value::Object(folder.json(&file)?)).map_err(problem)?;
            let file = format!("{component}/merges.txt");
            let merges = merges_from_text(&folder.text(&file)?);
            (vocabulary, merges.map_err(|problem| LoadError::Tokenizer { file, problem })?, Vec::new())
        };
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .unk_token(unknown.clone())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".to_owned())
            .build()
            .map_err(|error| problem(error.to_string()))?;
        let mut tokenizer = tokenizers::Tokenizer::new(bpe);
        let fixed = "the fixed patterns of CLIP's tokenizer compile";
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").expect(fixed);
        let _ = tokenizer.with_normalizer(Some(Sequence::new(vec![NFC.into(), spaces.into(), Lowercase.into()])));
        let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Removed, true);
        let bytes = ByteLevel::new(false, true, true);
        let _ = tokenizer.with_pre_tokenizer(Some(PreSequence::new(vec![words.expect(fixed).into(), bytes.into()])));
        tokenizer.add_tokens(added).map_err(|error| problem(error.to_string()))?;
        let specials = [&start, &end, &unknown, &pad].map(|token| AddedToken::from(token.clone(), true));
        tokenizer.add_special_tokens(specials).map_err(|error| problem(error.to_string()))?;

        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| problem(format!("the vocabulary lacks the token `{token}`")))
        };
        let (start, end, pad) = (id(&start)?, id(&end)?, id(&pad)?);
        let length = match config.get("model_max_length").and_then(Value::as_u64) {
            Some(length) => positions.min(length as usize),
            None => positions,
        };
        Ok(Self { tokenizer, start, end, pad, length })
    }

    /// The ids of `text`, cut or padded to the text encoder's length.
    ///
    /// # Errors
    /// A failure of the regular expressions (a text of an extreme length).
    pub fn encode(&self, text: &str) -> Result<Tokens, tokenizers::Error> {
        let encoding = self.tokenizer.encode(text, false)?;
        let room = self.length.saturating_sub(2);
        let kept = encoding.get_ids().iter().copied().take(room);
        let mut ids: Vec<u32> = std::iter::once(self.start).chain(kept).chain([self.end]).collect();
        ids.resize(self.length.max(ids.len()), self.pad);
        Ok(Tokens { ids, lost: encoding.len().saturating_sub(room) })
    }
}

fn vocabulary(value: &Value) -> Result<Vocab, String> {
    let entries = value.as_object().ok_or("it holds no vocabulary")?;
    let entry = |(token, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(|id| (token.clone(), id)).ok_or_else(|| format!("the id of `{token}` is no number"))
    };
    entries.iter().map(entry).collect()
}

/// One merge a line; the first line may name a version.
fn merges_from_text(text: &str) -> Result<Merges, String> {
    let lines = text.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
    lines.map(|line| pair(line).ok_or_else(|| format!("the line {line:?} is no pair of tokens"))).collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once(' ').map(|(first, second)| (first.to_owned(), second.trim_end().to_owned()))
}

/// Vocabulary, merges and the tokens that were added to them.
fn from_tokenizer_json(values: &serde_json::Map<String, Value>) -> Result<(Vocab, Merges, Vec<AddedToken>), String> {
    let model = values.get("model").ok_or("it has no `model`")?;
    let kind = model.get("type").and_then(Value::as_str).unwrap_or("BPE");
    if kind != "BPE" {
        return Err(format!("its model is {kind}; CLIP's is BPE"));
    }
    let merge = |value: &Value| {
        let merge = match value {
            Value::String(text) => pair(text),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(first), Value::String(second)] => Some((first.clone(), second.clone())),
                _ => None,
            },
            _ => None,
        };
        merge.ok_or_else(|| format!("the merge {value} is no pair of tokens"))
    };
    let merges = model.get("merges").and_then(Value::as_array).ok_or("its model has no `merges`")?;
    let merges = merges.iter().map(merge).collect::<Result<Merges, _>>()?;
    let vocabulary = vocabulary(model.get("vocab").ok_or("its model has no `vocab`")?)?;
    let added = values.get("added_tokens").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    let added: Vec<AddedTokenEntry> =
        serde_json::from_value(added).map_err(|error| format!("its `added_tokens`: {error}"))?;
    let added = added.into_iter().map(|entry| entry.token).collect();
    Ok((vocabulary, merges, added))
}

#[derive(serde::Deserialize)]
struct AddedTokenEntry {
    #[serde(flatten)]
    token: AddedToken,
}
