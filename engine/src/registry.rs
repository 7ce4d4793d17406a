//! The kinds that plans may use, by name, their Rust types left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::Schema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::context::Context;
use crate::event::{Failure, OnInterrupt};
use crate::host::BoxFuture;
use crate::kind::{Kind, Traits};
use crate::preview::{Before, Preview};
use crate::words::verbatim;

/// The kinds that plans may use.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, RegisteredKind>,
}

/// A kind, its Rust type left behind.
pub struct RegisteredKind {
    /// The name that plans `use`.
    pub name: &'static str,
    /// What holds for every step of it.
    pub traits: Traits,
    /// Schema of `with`.
    pub input: Schema,
    /// Schema of what it leaves.
    pub output: Schema,
    prepare: fn(&Value) -> Result<Box<dyn Prepared>, InputError>,
}

/// Outputs that are no JSON.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("the outputs cannot be kept: {source}")]
struct OutputError {
    #[serde(serialize_with = "verbatim")]
    source: serde_json::Error,
}

/// An input that its kind does not take.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("{}{source}", at(path))]
pub struct InputError {
    /// Which one, as far as that is known: the keys and places that lead to it.
    #[serde(serialize_with = "serialize_field")]
    pub path: Vec<PathPart>,
    /// Why not.
    #[serde(serialize_with = "verbatim")]
    pub source: serde_json::Error,
}

/// One part of the way to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPart {
    /// A key of a table.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

impl InputError {
    fn of(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let mut path = Vec::new();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Map { key } => path.push(PathPart::Key(key.clone())),
                serde_path_to_error::Segment::Seq { index } => path.push(PathPart::Index(*index)),
                serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => break,
            }
        }
        Self { path, source: error.into_inner() }
    }
}

/// `checks[0].path`.
pub(crate) fn field(path: &[PathPart]) -> String {
    path.iter().fold(String::new(), |field, part| match part {
        PathPart::Key(key) if field.is_empty() => key.clone(),
        PathPart::Key(key) => format!("{field}.{key}"),
        PathPart::Index(index) => format!("{field}[{index}]"),
    })
}

fn serialize_field<S: Serializer>(path: &[PathPart], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at(path))
}

fn at(path: &[PathPart]) -> String {
    if path.is_empty() { String::new() } else { format!("`{}`: ", field(path)) }
}

/// A kind with its inputs, ready to run.
pub trait Prepared: Send + Sync {
    /// See [`Kind::run`].
    fn run<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Value, Failure>>;
    /// See [`Kind::preview`].
    fn preview<'a>(&'a self, cx: &'a Context, before: &'a Before) -> BoxFuture<'a, Preview>;
    /// See [`Kind::on_interrupt`].
    fn on_interrupt(&self) -> OnInterrupt;
    /// See [`Kind::default_timeout`].
    fn default_timeout(&self) -> Option<Duration>;
}

impl<K: Kind> Prepared for K {
    fn run<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let output = Kind::run(self, cx).await?;
            serde_json::to_value(output).map_err(|source| Failure::dirty(OutputError { source }))
        })
    }

    fn preview<'a>(&'a self, cx: &'a Context, before: &'a Before) -> BoxFuture<'a, Preview> {
        Box::pin(Kind::preview(self, cx, before))
    }

    fn on_interrupt(&self) -> OnInterrupt {
        Kind::on_interrupt(self)
    }

    fn default_timeout(&self) -> Option<Duration> {
        Kind::default_timeout(self)
    }
}

impl Registry {
    /// Adds a kind; a later one of the same name replaces the earlier.
    #[must_use]
    pub fn with<K: Kind>(mut self) -> Self {
        let kind = RegisteredKind {
            name: K::KIND,
            traits: K::TRAITS,
            input: schemars::schema_for!(K),
            output: schemars::schema_for!(K::Output),
            prepare: |with| match serde_path_to_error::deserialize::<_, K>(with) {
                Ok(kind) => match kind.check() {
                    Ok(()) => Ok(Box::new(kind)),
                    Err(why) => Err(InputError { path: Vec::new(), source: serde::de::Error::custom(why) }),
                },
                Err(error) => Err(InputError::of(error)),
            },
        };
        self.kinds.insert(K::KIND, kind);
        self
    }

    /// The kind called `name`.
    pub fn get(&self, name: &str) -> Option<&RegisteredKind> {
        self.kinds.get(name)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredKind> {
        self.kinds.values()
    }
}

impl RegisteredKind {
    /// Whether a step of this kind that succeeded always has the output `name`, and it is never null.
    pub(crate) fn always_leaves(&self, name: &str) -> bool {
        let property = self.output.get("properties").and_then(|properties| properties.get(name));
        property.and_then(|property| property.get("type")).is_some_and(|of| of.as_str().is_some_and(|of| of != "null"))
    }

    /// The inputs typed, once every template in them is rendered.
    ///
    /// # Errors
    /// A rendered value does not fit its field.
    pub fn prepare(&self, with: &Value) -> Result<Box<dyn Prepared>, InputError> {
        (self.prepare)(with)
    }
}
