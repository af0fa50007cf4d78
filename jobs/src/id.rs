//! The name of a job: a UUIDv7, so that names sort by the time at which they were given.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A job's identity and the name of its directory. Never reused.
///
/// Only the canonical spelling is accepted (36 characters, lower case), so an id can stand in a path or a command
/// line without further quoting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

/// A text that is no job id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: a job id is a UUID in lower case, like 0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e")]
pub struct InvalidJobId;

impl JobId {
    /// A new id, later in order than every id that this process made before.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The instant in the id, in milliseconds since the Unix epoch, on the clock of the host that made it.
    #[must_use]
    pub fn created_unix_ms(&self) -> Option<u64> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Some(seconds * 1000 + u64::from(nanoseconds) / 1_000_000)
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let uuid = Uuid::try_parse(text).map_err(|_| InvalidJobId)?;
        let id = Self(uuid);
        if id.to_string() == text { Ok(id) } else { Err(InvalidJobId) }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_made() {
        let ids: Vec<String> = (0..1000).map(|_| JobId::new().to_string()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        let upper = id.to_string().to_uppercase();
        let braced = format!("{{{id}}}");
        let simple = id.to_string().replace('-', "");
        for text in
            ["", "..", "../../etc/passwd", "a/b", &upper, &braced, &simple, &format!("{id}/"), &format!("{id}\0")]
        {
            assert_eq!(text.parse::<JobId>(), Err(InvalidJobId), "{text:?}");
        }
    }
}
