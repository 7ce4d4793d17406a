//! Did you mean.

use std::cell::Cell;

use serde_json::Value;

use super::choice::plain;

/// Names longer than this are no typing mistakes.
const LONGEST: usize = 64;

/// The one of `known` that `name` was probably meant to be.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    Suggest::default().closest(name, known)
}

/// Finds what a name was meant to be, within a budget: a hostile plan has thousands of unknown names among thousands of known ones.
pub(crate) struct Suggest {
    comparisons_left: Cell<u32>,
}

impl Default for Suggest {
    fn default() -> Self {
        Self { comparisons_left: Cell::new(200_000) }
    }
}

impl Suggest {
    /// The one of `known` that `name` was probably meant to be.
    pub(crate) fn closest<'a>(&self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let length = name.chars().count();
        if length > LONGEST {
            return None;
        }
        let most = length.div_ceil(3).max(1);
        let lower = name.to_lowercase();
        let mut best: Option<(usize, &str)> = None;
        for candidate in known {
            if candidate.len() > LONGEST || candidate.len().abs_diff(name.len()) > 2 * most || candidate == name {
                continue;
            }
            let left = self.comparisons_left.get().checked_sub(1)?;
            self.comparisons_left.set(left);
            let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
            if distance <= most && distance < length.max(candidate.len()) && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate.to_owned())
    }

    /// The choices as people write them, and the one that `value` was probably meant to be.
    pub(crate) fn among(&self, choices: &[Value], value: &Value) -> (Vec<String>, Option<String>) {
        let choices: Vec<String> = choices.iter().map(plain).collect();
        let suggestion = self.closest(&plain(value), choices.iter().map(String::as_str));
        (choices, suggestion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(closest("nedes", ["uses", "needs", "with"]).as_deref(), Some("needs"));
        assert_eq!(closest("Timeout", ["timeout"]).as_deref(), Some("timeout"));
        assert_eq!(closest("x", ["needs", "y"]), None);
        assert_eq!(closest("colour", ["uses", "needs"]), None);
    }
}
