//! Inputs of kinds that start programs, as templates leave them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A word of a command line. A template that is one bare `{{ … }}` keeps the type of its value, so a port may come as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Word(pub String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a text, a number or a boolean")]
        enum Written {
            Text(String),
            Number(serde_json::Number),
            Flag(bool),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
            Written::Flag(flag) => flag.to_string(),
        }))
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Variables to set, or with null to unset.
pub type Environment = BTreeMap<String, Option<Word>>;

/// `env` as a launch takes it.
pub fn environment(env: &Environment) -> Vec<(String, Option<String>)> {
    env.iter().map(|(name, value)| (name.clone(), value.as_ref().map(|word| word.0.clone()))).collect()
}

/// `words` as plain text.
pub fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.0.clone()).collect()
}

/// For a field that a template may have rendered to null: null is "not given".
///
/// # Errors
/// Anything else that does not fit.
pub fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
