//! Inputs as templates leave them: null for what is not given, a number where a text is meant, one value for a list of one.
//!
//! The schemas say so too: plans are checked against them before anything is rendered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A text. A template that is one bare `{{ … }}` keeps the type of its value, so a port may come as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Word(pub String);

/// Null, like nothing at all, is the type's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OrDefault<T>(pub T);

/// One value or a list; null, like nothing at all, is the empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

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

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for OrDefault<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

impl<T: JsonSchema> JsonSchema for OrDefault<T> {
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl<T> Deref for OrDefault<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(Self(match Option::<Written<T>>::deserialize(deserializer)? {
            None => Vec::new(),
            Some(Written::One(one)) => vec![one],
            Some(Written::Many(many)) => many,
        }))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "null" }] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn one_many_and_null_are_lists() {
        let read = |json: &str| serde_json::from_str::<OneOrMany<u16>>(json).unwrap().0;
        assert_eq!((read("200"), read("[200, 302]"), read("null")), (vec![200], vec![200, 302], vec![]));
        assert!(serde_json::from_str::<OneOrMany<u16>>("\"ok\"").is_err());
    }

    /// What a schema says of null must be what the kind does with it: templates render to null, and plans are checked by schema.
    #[test]
    fn every_input_that_may_be_left_out_takes_null_and_says_so() {
        let mut asked = 0;
        for kind in crate::registry().iter() {
            let root = kind.input.as_value();
            let schemas = std::iter::once(root).chain(root["$defs"].as_object().into_iter().flat_map(serde_json::Map::values));
            for schema in schemas {
                let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    if !required.contains(&name.as_str()) {
                        assert!(takes_null(field), "`{name}` of {}: {field}", kind.name);
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 50, "{asked} inputs were found");
    }

    fn takes_null(schema: &Value) -> bool {
        let types = match &schema["type"] {
            Value::Array(types) => types.contains(&json!("null")),
            one => one == "null",
        };
        let any = schema.get("type").is_none() && schema.get("anyOf").is_none() && schema.get("$ref").is_none();
        types || any || schema["anyOf"].as_array().is_some_and(|choices| choices.iter().any(takes_null))
    }
}
