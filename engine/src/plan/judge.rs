//! What a kind itself says of inputs before the run: of those that are known by then, as if they were all that is given.
//!
//! An input that is not known is left out. The kind is asked again and again, each time without what it refused the last time, so that all
//! that it refuses is told at once. What it says of all inputs together counts only where all are known.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use toml::de::DeValue;

use super::mistake::{Owner, Place, Problem, Span};
use super::read::{Node, clipped_to};
use super::refer::is_template;
use crate::registry::{InputError, PathPart, RegisteredKind, field};

/// How often a kind is asked about one `with`.
const MOST_ROUNDS: usize = 20;
/// Characters of what a kind says.
const MOST_DETAIL: usize = 200;

/// One `with`, and what is known of it.
pub(crate) struct Judge<'c> {
    pub(crate) kind: &'c RegisteredKind,
    pub(crate) owner: &'c Owner,
    /// As it is written, and as inputs hold it.
    pub(crate) with: &'c Node<'c>,
    pub(crate) value: &'c Value,
    /// What its templates give, as far as that is known, by where they start.
    pub(crate) rendered: &'c BTreeMap<usize, Value>,
    /// Where the values and keys are that are wrong, or refused already.
    pub(crate) wrong: HashSet<usize>,
}

impl Judge<'_> {
    /// Everything that the kind refuses.
    pub(crate) fn refused(mut self) -> Vec<(Span, Problem)> {
        let mut refused = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let Err(error) = self.kind.prepare(&self.known(self.with, self.value)) else { break };
            let (node, path) = self.find(&error.path);
            if self.is_known(node) && (self.wrong.is_empty() || !path.is_empty()) {
                refused.push((node.span(), problem(self.kind, self.owner, &path, &error)));
            }
            // All of it is refused, and nothing more can be said of its parts.
            if path.is_empty() || !self.wrong.insert(node.span().start) {
                break;
            }
        }
        refused
    }

    /// What is known of a value.
    fn known(&self, node: &Node<'_>, value: &Value) -> Value {
        match (node.get_ref(), value) {
            (DeValue::Table(table), Value::Object(fields)) => {
                let known = fields.iter().filter_map(|(name, field)| {
                    let (key, node) = table.get_key_value(name.as_str())?;
                    let left_out = self.wrong.contains(&key.span().start) || self.is_left_out(node);
                    (!left_out).then(|| (name.clone(), self.known(node, field)))
                });
                Value::Object(known.collect())
            }
            (DeValue::Array(items), Value::Array(values)) => {
                let known = items.iter().zip(values).filter(|(node, _)| !self.is_left_out(node));
                Value::Array(known.map(|(node, value)| self.known(node, value)).collect())
            }
            _ => self.rendered.get(&node.span().start).unwrap_or(value).clone(),
        }
    }

    fn is_left_out(&self, node: &Node<'_>) -> bool {
        let start = node.span().start;
        let unknown = node.get_ref().as_str().is_some_and(is_template) && !self.rendered.contains_key(&start);
        unknown || self.wrong.contains(&start)
    }

    /// Whether nothing of a value is left out.
    fn is_known(&self, node: &Node<'_>) -> bool {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            if self.is_left_out(node) {
                return false;
            }
            match node.get_ref() {
                DeValue::Array(items) => open.extend(items.iter()),
                DeValue::Table(table) => open.extend(table.values()),
                _ => {}
            }
        }
        true
    }

    /// The value that a path among the known ones leads to, as far as it is written in the plan, and the path to it there.
    fn find(&self, path: &[PathPart]) -> (&Node<'_>, Vec<PathPart>) {
        let mut node = self.with;
        let mut there = Vec::new();
        for part in path {
            let next = match (node.get_ref(), part) {
                (DeValue::Table(table), PathPart::Key(key)) => table.get(key.as_str()).map(|next| (next, part.clone())),
                (DeValue::Array(items), PathPart::Index(index)) => {
                    let known = items.iter().enumerate().filter(|(_, item)| !self.is_left_out(item));
                    known.map(|(place, item)| (item, PathPart::Index(place))).nth(*index)
                }
                _ => None,
            };
            let Some((next, part)) = next else { break };
            node = next;
            there.push(part);
        }
        (node, there)
    }
}

/// What a kind says of the input at `path`; of all of them where that is empty.
pub(crate) fn problem(kind: &RegisteredKind, owner: &Owner, path: &[PathPart], error: &InputError) -> Problem {
    let field = (!path.is_empty()).then(|| field(path));
    let place = Place { owner: owner.clone(), kind: Some(kind.name.to_owned()), field };
    let detail = error.source.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Problem::Refused { place, detail: clipped_to(&detail, MOST_DETAIL) }
}
