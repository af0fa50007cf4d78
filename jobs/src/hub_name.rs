//! A model's name as on the Hugging Face hub.

use std::fmt;
use std::str::FromStr;

/// `stabilityai/sd-turbo`: an owner and a name, both plain enough for a path, a URL and a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    org: String,
    name: String,
}

/// A text that is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a model is named like stabilityai/sd-turbo: its owner and its name, of letters, digits, `-`, `_` and `.`")]
pub struct InvalidHubName;

impl HubName {
    /// Whose it is.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.org
    }

    /// What its owner calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for HubName {
    type Err = InvalidHubName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let part = |part: &str| {
            (1..=96).contains(&part.len())
                && part.chars().all(plain)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("..")
        };
        match text.split_once('/') {
            Some((org, name)) if part(org) && part(name) => Ok(Self { org: org.to_owned(), name: name.to_owned() }),
            _ => Err(InvalidHubName),
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_taken_and_nothing_that_could_be_a_path_or_an_option() {
        for name in ["stabilityai/sd-turbo", "Lykon/dreamshaper-8", "a/b", "CompVis/stable_diffusion-v1.4", "_a/1"] {
            assert_eq!(name.parse::<HubName>().expect(name).to_string(), name);
        }
        let long = format!("a/{}", "b".repeat(97));
        for text in [
            "",
            "/",
            "a",
            "a/",
            "/a",
            "a/b/c",
            "../a",
            "a/..",
            ".a/b",
            "a/.b",
            "-a/b",
            "a/-b",
            "a./b",
            "a/b..c",
            "a/b c",
            "a/b\n",
            "a\\b/c",
            "ä/b",
            "a/$(reboot)",
            &long,
        ] {
            assert_eq!(text.parse::<HubName>(), Err(InvalidHubName), "{text:?}");
        }
    }
}
