//! The value of a variable: how it is written, what it can be, and the templates in it.

use serde_json::Value;

use super::refer::is_template;

/// Whether a variable that can be `one_of` these can have a value; of a list each item is one of them.
pub(crate) fn can_be(one_of: &[Value], value: &Value) -> bool {
    match value {
        _ if one_of.is_empty() => true,
        Value::Array(items) => items.iter().all(|item| one_of.contains(item)),
        value => one_of.contains(value),
    }
}

/// A value as people write it.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The templates in a value of a variable.
pub(crate) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let mut open = vec![value];
    std::iter::from_fn(move || {
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) if is_template(text) => return Some(text.as_str()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        None
    })
}
