//! Inputs that are checked when they are read: whatever can be said of a value without looking at the machine is said then, so that
//! `check` tells it, and a run that would end there does not begin.
//!
//! Each of these stands in `#[serde(deserialize_with = "…")]` and takes a text, several, or none. Values are not repeated in what is said
//! of them where they may be secrets.

use std::collections::BTreeMap;

use regex::Regex;
use reqwest::Method;
use reqwest::header::HeaderName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::files::Patterns;
use crate::input::{OneOrMany, OrDefault, Word};

/// The texts of an input; of a table its keys.
pub(crate) trait Texts {
    /// All of them.
    fn texts(&self) -> Vec<&str>;
}

/// Regular expressions.
pub(crate) fn expressions<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| match Regex::new(text) {
        Ok(_) => Ok(()),
        // The last line says why; those before it draw where.
        Err(error) => {
            let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(format!("`{text}` is no regular expression: {reason}"))
        }
    })
}

/// Patterns like those of a `.gitignore`.
pub(crate) fn patterns<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| Patterns::new(&[text]).map(drop).map_err(|error| error.to_string()))
}

/// Patterns for names in one folder.
pub(crate) fn name_patterns<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| match text.contains('/') || text.starts_with('!') {
        true => Err(format!("`{text}` must match names in the folder itself")),
        false => Patterns::new(&[text]).map(drop).map_err(|error| error.to_string()),
    })
}

/// Methods of HTTP.
pub(crate) fn methods<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| Method::from_bytes(text.as_bytes()).map(drop).map_err(|_| format!("`{text}` is no method of HTTP")))
}

/// Names of headers.
pub(crate) fn header_names<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| HeaderName::from_bytes(text.as_bytes()).map(drop).map_err(|_| format!("`{text}` is no name of a header")))
}

/// What begins with a slash: paths of a web server.
pub(crate) fn rooted<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| if text.starts_with('/') { Ok(()) } else { Err(format!("`{text}` must start with `/`")) })
}

/// JSON pointers.
pub(crate) fn pointers<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| match text.is_empty() || text.starts_with('/') {
        true => Ok(()),
        false => Err(format!("`{text}` is no JSON pointer, which starts with `/`")),
    })
}

/// Programs, names and the like: anything but nothing.
pub(crate) fn filled<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) })
}

/// Names of environment variables.
pub(crate) fn env_names<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(deserializer: D) -> Result<T, D::Error> {
    each(deserializer, |text| match text.is_empty() || text.contains(['=', '\0']) {
        true => Err(format!("`{text}` cannot be the name of an environment variable")),
        false => Ok(()),
    })
}

/// Texts that `check` has nothing against.
pub(crate) fn each<'de, D: Deserializer<'de>, T: Deserialize<'de> + Texts>(
    deserializer: D,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    value.texts().into_iter().try_for_each(check).map_err(D::Error::custom)?;
    Ok(value)
}

impl Texts for String {
    fn texts(&self) -> Vec<&str> {
        vec![self]
    }
}

impl Texts for Word {
    fn texts(&self) -> Vec<&str> {
        vec![self]
    }
}

impl<T: Texts> Texts for Vec<T> {
    fn texts(&self) -> Vec<&str> {
        self.iter().flat_map(Texts::texts).collect()
    }
}

impl<T: Texts> Texts for Option<T> {
    fn texts(&self) -> Vec<&str> {
        self.iter().flat_map(Texts::texts).collect()
    }
}

impl<T: Texts> Texts for OneOrMany<T> {
    fn texts(&self) -> Vec<&str> {
        self.0.texts()
    }
}

impl<T: Texts> Texts for OrDefault<T> {
    fn texts(&self) -> Vec<&str> {
        self.0.texts()
    }
}

impl<V> Texts for BTreeMap<String, V> {
    fn texts(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

impl Texts for Map<String, Value> {
    fn texts(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}
