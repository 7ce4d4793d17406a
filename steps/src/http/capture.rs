//! Values that go from one answer into later requests of the same session: CSRF tokens of forms, ids of what was made.
//!
//! A later path, header, form or body writes `${name}` for the value. Which names there are is known before anything is sent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Answered, Session};
use crate::checked;

/// Where in an answer a value is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    /// A regular expression for the body: its first group, or all that it matches where it has none.
    Regex(#[serde(deserialize_with = "checked::expressions")] String),
    /// A JSON pointer (`/order/id`) into the body.
    Json(#[serde(deserialize_with = "checked::pointers")] String),
    /// The value of a header.
    Header(String),
    /// The value of a cookie of the session.
    Cookie(String),
}

impl Capture {
    /// What is wrong with it, in words.
    pub fn mistake(&self) -> Option<String> {
        match self {
            Self::Regex(pattern) => Regex::new(pattern).err().map(|error| error.to_string()),
            Self::Json(pointer) if !pointer.is_empty() && !pointer.starts_with('/') => Some("a JSON pointer starts with `/`".to_owned()),
            Self::Json(_) | Self::Header(_) | Self::Cookie(_) => None,
        }
    }

    /// The value in `answer`; `None` where it is not there.
    pub fn find(&self, answer: &Answered, session: &Session) -> Option<String> {
        match self {
            Self::Regex(pattern) => {
                let regex = Regex::new(pattern).ok()?;
                let found = regex.captures(&answer.body)?;
                found.get(1).or_else(|| found.get(0)).map(|value| value.as_str().to_owned())
            }
            Self::Json(pointer) => match serde_json::from_str::<Value>(&answer.body).ok()?.pointer(pointer)? {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
            Self::Header(name) => answer.headers.get(name)?.to_str().ok().map(str::to_owned),
            Self::Cookie(name) => session.cookie(&answer.url, name),
        }
    }
}

static REFERENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}").expect("the pattern is constant"));

/// The names that `text` refers to.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    REFERENCE.captures_iter(text).map(|found| found.get(1).expect("the pattern has a group").as_str())
}

/// `text` with the values of the names that it refers to.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let value = |found: &regex::Captures<'_>| values.get(&found[1]).map_or_else(|| found[0].to_owned(), Clone::clone);
    REFERENCE.replace_all(text, value).into_owned()
}

/// The same for every text in `value`.
pub fn fill_json(value: &Value, values: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, values)),
        Value::Array(items) => items.iter().map(|item| fill_json(item, values)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), fill_json(field, values))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
