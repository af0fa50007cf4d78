//! The names of jobs and of warm runners: UUIDv7, so that names sort by the time at which they were given.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$about:meta])* $Id:ident, $(#[$about_invalid:meta])* $Invalid:ident, $what:literal) => {
        $(#[$about])*
        ///
        /// Only the canonical spelling is accepted (36 characters, lower case), so an id can stand in a path or a command
        /// line without further quoting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $Id(Uuid);

        $(#[$about_invalid])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error(
            "not a {what} id: a {what} id is a UUID in lower case, like 0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e",
            what = $what
        )]
        pub struct $Invalid;

        impl $Id {
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

        impl Default for $Id {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $Id {
            type Err = $Invalid;

            fn from_str(text: &str) -> Result<Self, $Invalid> {
                let uuid = Uuid::try_parse(text).map_err(|_| $Invalid)?;
                let id = Self(uuid);
                if id.to_string() == text { Ok(id) } else { Err($Invalid) }
            }
        }

        impl TryFrom<String> for $Id {
            type Error = $Invalid;

            fn try_from(text: String) -> Result<Self, $Invalid> {
                text.parse()
            }
        }

        impl From<$Id> for String {
            fn from(id: $Id) -> Self {
                id.to_string()
            }
        }
    };
}

id!(
    /// A job's identity and the name of its directory. Never reused.
    JobId,
    /// A text that is no job id.
    InvalidJobId,
    "job"
);
id!(
    /// A warm runner's identity and the name of its directory. Never reused.
    RunnerId,
    /// A text that is no runner id.
    InvalidRunnerId,
    "runner"
);

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
