//! Secrets never leave: whatever is kept or shown passes through the [`Mask`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::event::{Answer, Event, Fact};
use crate::step::Failure;
use crate::update::{Update, Updates};

/// What stands where a secret was.
const MASKED: &str = "***";

/// Bytes of the shortest line of a secret that is masked by itself: shorter ones are in every other text.
const SHORTEST_LINE: usize = 4;

/// The texts that must never be shown or kept: every secret, and every line of it, as it is, URL-encoded, JSON-escaped and in base64.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    needles: Vec<String>,
}

impl Mask {
    /// A mask over `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles = Vec::new();
        // What programs print comes line by line.
        let lines = |secret: &'a str| secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        for secret in
            secrets.into_iter().flat_map(|secret| std::iter::once(secret).chain(lines(secret))).filter(|secret| !secret.is_empty())
        {
            needles.push(secret.to_owned());
            needles.push(percent(secret, "%20"));
            needles.push(percent(secret, "+"));
            needles.push(serde_json::Value::from(secret).to_string().trim_matches('"').to_owned());
            needles.extend(base64_cores(secret.as_bytes()));
        }
        // The longest first, so that what contains another is masked whole.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        needles.dedup();
        Self { needles }
    }

    /// `text` without secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for needle in &self.needles {
            if masked.contains(needle) {
                masked = Cow::Owned(masked.replace(needle, MASKED));
            }
        }
        masked
    }

    /// `updates`, as everything that goes there passes through this mask.
    pub(super) fn over(&self, updates: Updates) -> Updates {
        if self.needles.is_empty() {
            return updates;
        }
        let mask = self.clone();
        Arc::new(move |update| updates(mask.update(update)))
    }

    pub(super) fn event(&self, event: Event) -> Event {
        if self.needles.is_empty() {
            return event;
        }
        match event {
            Event::Run(fact) => Event::Run(fact),
            Event::Step(step, fact) => Event::Step(step, self.fact(fact)),
        }
    }

    fn fact(&self, fact: Fact) -> Fact {
        match fact {
            Fact::Succeeded(value) => Fact::Succeeded(self.value(value)),
            Fact::Recorded { part, name, value } => Fact::Recorded { part, name, value: self.value(value) },
            Fact::Failed(failure) => Fact::Failed(self.failure(failure)),
            Fact::UndoFailed { part, failure } => Fact::UndoFailed { part, failure: self.failure(failure) },
            Fact::Resolved(Answer::Done { outputs, by }) => {
                let outputs = outputs.into_iter().map(|(name, value)| (name, self.value(value))).collect();
                Fact::Resolved(Answer::Done { outputs, by })
            }
            Fact::Spawned { part, mut process } => {
                process.program = self.owned(process.program);
                Fact::Spawned { part, process }
            }
            Fact::Started { .. }
            | Fact::Skipped
            | Fact::NotRun
            | Fact::Unknown
            | Fact::Resolved(Answer::NotDone { .. })
            | Fact::UndoStarted { .. }
            | Fact::Undone { .. } => fact,
        }
    }

    fn update(&self, update: Update) -> Update {
        match update {
            Update::Step(mut step) => {
                step.outputs = step.outputs.map(|outputs| self.value(outputs));
                step.failure = step.failure.map(|failure| self.failure(failure));
                Update::Step(step)
            }
            Update::Log { step, stream, line } => Update::Log { step, stream, line: self.owned(line) },
            Update::Note { step, level, message } => Update::Note { step, level, message: self.owned(message) },
            Update::Unwinding { because, failure, owes } => {
                Update::Unwinding { because, failure: failure.map(|failure| self.failure(failure)), owes }
            }
            Update::Run { .. }
            | Update::Progress { .. }
            | Update::Live { .. }
            | Update::Reachable(_)
            | Update::Stopping { .. }
            | Update::Ended { .. } => update,
        }
    }

    fn failure(&self, failure: Failure) -> Failure {
        let Failure { message, clean, tail } = failure;
        Failure { message: self.owned(message), clean, tail: tail.into_iter().map(|line| self.owned(line)).collect() }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.owned(text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(values) => values.into_iter().map(|(name, value)| (self.text(&name).into_owned(), self.value(value))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    fn owned(&self, text: String) -> String {
        match self.text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => masked,
        }
    }
}

fn percent(text: &str, space: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push_str(space),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes all that is written to it"),
        }
    }
    encoded
}

/// The base64 characters that `bytes` alone decide, for each of the three places where they can begin in a longer text.
fn base64_cores(bytes: &[u8]) -> Vec<String> {
    const ALPHABETS: [&[u8; 64]; 2] = [
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    ];
    let mut cores = Vec::new();
    for shift in 0..3 {
        let bits: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
        let skip = (6 - shift * 8 % 6) % 6;
        let sextets: Vec<usize> = bits[skip.min(bits.len())..]
            .chunks_exact(6)
            .map(|chunk| chunk.iter().fold(0, |value, &bit| value << 1 | usize::from(bit)))
            .collect();
        // Fewer than these would mask innocent text.
        if sextets.len() >= 5 {
            cores.extend(ALPHABETS.map(|alphabet| sextets.iter().map(|&sextet| char::from(alphabet[sextet])).collect::<String>()));
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_dress() {
        let mask = Mask::new(["p@ss wörd/1"]);
        for dressed in ["p@ss wörd/1", "p%40ss%20w%C3%B6rd%2F1", "p%40ss+w%C3%B6rd%2F1"] {
            assert_eq!(mask.text(&format!("a {dressed} b")), "a *** b");
        }
        // "p@ss wörd/1" alone, after one byte, and after two, as `base64` prints it: only the shared edges stay.
        for encoded in ["cEBzcyB3w7ZyZC8x", "eHBAc3Mgd8O2cmQvMQ==", "eHhwQHNzIHfDtnJkLzE="] {
            assert!(mask.text(encoded).contains(MASKED), "{encoded}");
            assert!(mask.text(encoded).len() < encoded.len() / 2, "{}", mask.text(encoded));
        }
        assert_eq!(mask.text("nothing here"), "nothing here");
    }
}
