//! Values that a run travels with, such as an address from the environment, may hold a secret. It is not kept: what is kept says which
//! secret was there, and whoever goes on with the run puts it back (rule 12).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::secrets::Secrets;
use crate::redact::MASKED;

/// Before and after the name of a secret that stands for its value (U+001A, "substitute").
const MARK: char = '\u{1a}';

/// `values` without the values of `secrets`.
pub(super) fn hide(values: Map<String, Value>, secrets: &Secrets) -> Map<String, Value> {
    let mut known: Vec<(&String, &String)> = secrets.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    // The longest first: one may hold another.
    known.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    each(values, &|text| known.iter().fold(text, |text, (name, value)| text.replace(value.as_str(), &mark(name))))
}

/// `values` with `secrets` where they were; masked where one is not known.
pub(super) fn reveal(values: Map<String, Value>, secrets: &Secrets, hidden: &BTreeSet<String>) -> Map<String, Value> {
    let value = |name: &String| secrets.get(name).and_then(Option::as_deref).unwrap_or(MASKED);
    each(values, &|text| hidden.iter().fold(text, |text, name| text.replace(&mark(name), value(name))))
}

/// Which of the secrets called `names` `values` are without.
pub(super) fn hidden_in<'a>(values: &Map<String, Value>, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| values.values().any(|value| has(value, &mark(name)))).cloned().collect()
}

fn mark(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

fn has(value: &Value, mark: &str) -> bool {
    match value {
        Value::String(text) => text.contains(mark),
        Value::Array(items) => items.iter().any(|item| has(item, mark)),
        Value::Object(fields) => fields.iter().any(|(name, field)| name.contains(mark) || has(field, mark)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn each(values: Map<String, Value>, change: &impl Fn(String) -> String) -> Map<String, Value> {
    values.into_iter().map(|(name, value)| (name, changed(value, change))).collect()
}

fn changed(value: Value, change: &impl Fn(String) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| changed(item, change)).collect()),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (change(name), changed(field, change))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_in_a_value_is_not_kept_and_comes_back() {
        let secrets: Secrets =
            [("pw".to_owned(), Some("s3cret".to_owned())), ("long".to_owned(), Some("s3cret-too".to_owned())), ("none".to_owned(), None)]
                .into();
        let Value::Object(values) = json!({ "url": "http://u:s3cret@h", "list": ["s3cret-too", { "s3cret": 1 }], "port": 5000 }) else {
            unreachable!("it is an object")
        };
        let kept = hide(values.clone(), &secrets);
        assert!(!serde_json::to_string(&kept).unwrap().contains("s3cret"));
        let hidden = hidden_in(&kept, secrets.keys());
        assert!(hidden.iter().eq(["long", "pw"]), "{hidden:?}");
        assert_eq!(reveal(kept.clone(), &secrets, &hidden), values);
        assert_eq!(reveal(kept, &Secrets::new(), &hidden)["url"], "http://u:***@h");
    }
}
