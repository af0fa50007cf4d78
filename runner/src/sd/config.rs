//! Reads configurations so that nothing in them is silently ignored: an error names the file, the key, the value and what
//! would be right.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::LoadError;

/// One `config.json`, or another file like it.
#[derive(Clone, Debug)]
pub struct Config {
    file: String,
    values: Map<String, Value>,
}

impl Config {
    /// The configuration `values` of the file that errors call `file`.
    #[must_use]
    pub fn new(file: &str, values: Map<String, Value>) -> Self {
        Self { file: file.to_owned(), values }
    }

    /// Sets a value, as a caller of diffusers' `from_config` does.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// Whether `key` is there, with a value or with null.
    #[must_use]
    pub fn names(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of `key`; `None` where it is absent or null.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// The value of `key`; `None` where it is absent or null.
    ///
    /// # Errors
    /// A value of another type.
    pub fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, LoadError> {
        let parse = |value: &Value| {
            serde_json::from_value(value.clone()).map_err(|error| self.error(key, format!("is {value}: {error}")))
        };
        self.value(key).map(parse).transpose()
    }

    /// The value of `key`, or `default`.
    ///
    /// # Errors
    /// A value of another type.
    pub fn or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T, LoadError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The text of `key`, or `default`.
    ///
    /// # Errors
    /// A value of another type.
    pub fn text_or(&self, key: &str, default: &str) -> Result<String, LoadError> {
        self.or(key, default.to_owned())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// No value, or one of another type.
    pub fn required<T: DeserializeOwned>(&self, key: &str) -> Result<T, LoadError> {
        self.optional(key)?.ok_or_else(|| self.error(key, "is missing".to_owned()))
    }

    /// One number for each of `count` blocks: a list, or one number for all.
    ///
    /// # Errors
    /// No such value, or a list of another length.
    pub fn per_block(&self, key: &str, count: usize, default: usize) -> Result<Vec<usize>, LoadError> {
        let Some(value) = self.value(key) else { return Ok(vec![default; count]) };
        if let Some(number) = value.as_u64() {
            return Ok(vec![number as usize; count]);
        }
        let list: Vec<usize> = self.required(key)?;
        if list.len() == count {
            return Ok(list);
        }
        Err(self.error(key, format!("has {} entries for {count} blocks", list.len())))
    }

    /// Refuses a value that is none of `supported`. An absent or null one passes: every such key is one whose default is
    /// supported.
    ///
    /// # Errors
    /// Another value.
    pub fn only(&self, key: &str, supported: &[Value]) -> Result<(), LoadError> {
        match self.value(key) {
            Some(value) if !supported.iter().any(|supported| same(supported, value)) => {
                let supported: Vec<String> = supported.iter().map(ToString::to_string).collect();
                let supported = if supported.is_empty() { "no value".to_owned() } else { supported.join(", ") };
                Err(self.error(key, format!("is {value}; supported: {supported}")))
            }
            _ => Ok(()),
        }
    }

    /// An error that names this file and `key`.
    #[must_use]
    pub fn error(&self, key: &str, problem: String) -> LoadError {
        LoadError::Config { file: self.file.clone(), key: key.to_owned(), problem }
    }
}

/// Equality that takes 1 and 1.0 for the same number.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}
