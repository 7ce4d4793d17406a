//! Secrets never leave: whatever is kept or shown passes through the [`Mask`].

mod encodings;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::Value;

use crate::event::{Answer, DebtAnswer, Event, Fact, Failure, RunFact, WrongAnswer};
use crate::update::{Update, Updates};
use crate::words::Words;

/// What stands where a secret was.
pub const MASKED: &str = "***";
/// What stands where a text was cut off, in everything that is shown.
const CUT: char = '…';

const NO_PANIC: &str = "no code panics while it holds this lock";
/// Characters of the shortest piece of a secret (one of its lines, what is left of it before a cut) that is masked by itself: shorter
/// ones are in every other text.
pub(crate) const SHORTEST_PIECE: usize = 4;

/// The texts that must never be shown or kept: every secret and every line of it, as it is, as URLs, JSON, HTML, shells and programming
/// languages escape it, in hexadecimal and in base64.
///
/// All clones are one: what is added to one of them is masked by all.
#[derive(Clone, Default)]
pub struct Mask {
    texts: Arc<RwLock<Arc<Texts>>>,
}

/// What a mask is over.
#[derive(Default)]
struct Texts {
    pieces: BTreeSet<String>,
    /// The longest first, so that what contains another is masked whole.
    secrets: Vec<Vec<char>>,
    /// What shares no character with the secret.
    codes: Vec<String>,
}

impl Mask {
    /// A mask over `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mask = Self::default();
        mask.add(secrets);
        mask
    }

    /// Masks `secrets`, too, from now on.
    pub fn add<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        // What programs print comes line by line.
        let lines = |secret: &'a str| secret.lines().map(str::trim).filter(|line| line.chars().count() >= SHORTEST_PIECE);
        let new = secrets.into_iter().flat_map(|secret| std::iter::once(secret).chain(lines(secret)));
        let mut texts = self.texts.write().expect(NO_PANIC);
        let mut pieces = texts.pieces.clone();
        pieces.extend(new.filter(|piece| !piece.is_empty()).map(str::to_owned));
        if pieces.len() > texts.pieces.len() {
            *texts = Arc::new(Texts::of(pieces));
        }
    }

    fn texts(&self) -> Arc<Texts> {
        Arc::clone(&self.texts.read().expect(NO_PANIC))
    }

    /// `text` without secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let texts = self.texts();
        let mut masked = Cow::Borrowed(text);
        for secret in &texts.secrets {
            if let Some(without) = without(&masked, |text, from| encodings::next(text, from, secret)) {
                masked = Cow::Owned(without);
            }
        }
        for code in &texts.codes {
            if masked.contains(code) {
                masked = Cow::Owned(masked.replace(code, MASKED));
            }
        }
        if masked.contains(CUT) {
            for secret in &texts.secrets {
                if let Some(without) = without(&masked, |text, from| encodings::next_cut(text, from, secret)) {
                    masked = Cow::Owned(without);
                }
            }
        }
        masked
    }

    fn is_empty(&self) -> bool {
        self.texts().secrets.is_empty()
    }

    /// `updates`, as everything that goes there passes through this mask.
    pub(crate) fn wrap(&self, updates: Updates) -> Updates {
        let mask = self.clone();
        Arc::new(move |update| updates(if mask.is_empty() { update } else { mask.update(update) }))
    }

    pub(crate) fn event(&self, event: Event) -> Event {
        if self.is_empty() {
            return event;
        }
        match event {
            Event::Run(RunFact::Asked(mut state)) => {
                state.wrong = state.wrong.map(|wrong| WrongAnswer { url: self.owned(wrong.url), ..wrong });
                Event::Run(RunFact::Asked(state))
            }
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
            Fact::Resolved(answer) => Fact::Resolved(self.answer(answer)),
            Fact::Spawned { part, host, mut process } => {
                process.program = self.owned(process.program);
                Fact::Spawned { part, host, process }
            }
            Fact::Started { .. }
            | Fact::Skipped
            | Fact::NotRun
            | Fact::Unknown
            | Fact::Lost { .. }
            | Fact::UndoStarted { .. }
            | Fact::Undone { .. } => fact,
        }
    }

    fn answer(&self, answer: Answer) -> Answer {
        let why = |because: Option<String>| because.map(|text| self.owned(text));
        match answer {
            Answer::Done { outputs, by, because } => {
                let outputs = outputs.into_iter().map(|(name, value)| (name, self.value(value))).collect();
                Answer::Done { outputs, by, because: why(because) }
            }
            Answer::NotDone { by, because } => Answer::NotDone { by, because: why(because) },
            Answer::Undone(debt) => Answer::Undone(DebtAnswer { because: why(debt.because), ..debt }),
            Answer::GivenUp(debt) => Answer::GivenUp(DebtAnswer { because: why(debt.because), ..debt }),
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
            Update::Note { step, level, message, words } => {
                Update::Note { step, level, message: self.owned(message), words: words.map(|words| self.words(words)) }
            }
            Update::Unwinding { because, failure, owes, changed } => {
                Update::Unwinding { because, failure: failure.map(|failure| self.failure(failure)), owes, changed }
            }
            Update::Run { .. }
            | Update::Progress { .. }
            | Update::Live { .. }
            | Update::Reachable(_)
            | Update::Stopping { .. }
            | Update::Ended { .. } => update,
        }
    }

    pub(crate) fn failure(&self, failure: Failure) -> Failure {
        let Failure { message, words, clean, tail } = failure;
        Failure {
            message: self.owned(message),
            words: words.map(|words| Box::new(self.words(*words))),
            clean,
            tail: tail.into_iter().map(|line| self.owned(line)).collect(),
        }
    }

    fn words(&self, Words { key, values }: Words) -> Words {
        Words { key, values: values.into_iter().map(|(name, value)| (name, self.value(value))).collect() }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.owned(text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(values) => values.into_iter().map(|(name, value)| (self.text(&name).into_owned(), self.value(value))).collect(),
            // Part of a number is no secret: a process id or a size would be lost with it.
            Value::Number(number) if self.text(&number.to_string()) == MASKED => Value::from(MASKED),
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

impl Texts {
    fn of(pieces: BTreeSet<String>) -> Self {
        let mut codes: Vec<String> = pieces.iter().flat_map(|piece| codes(piece.as_bytes())).collect();
        codes.sort_by_key(|code| Reverse(code.len()));
        let mut secrets: Vec<Vec<char>> = pieces.iter().map(|piece| piece.chars().collect()).collect();
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        Self { pieces, secrets, codes }
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask over {} texts", self.texts().secrets.len())
    }
}

/// `text` with all that `next` finds from an index on masked; `None` where that is nothing.
fn without(text: &str, next: impl Fn(&str, usize) -> Option<Range<usize>>) -> Option<String> {
    let mut found = next(text, 0)?;
    let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
    loop {
        masked.push_str(&text[from..found.start]);
        masked.push_str(MASKED);
        from = found.end;
        match next(text, from) {
            Some(further) => found = further,
            None => break,
        }
    }
    masked.push_str(&text[from..]);
    Some(masked)
}

/// `bytes` in hexadecimal and in base64.
fn codes(bytes: &[u8]) -> Vec<String> {
    let mut codes = base64_cores(bytes);
    codes.extend([HEXUPPER, HEXLOWER].map(|encoding| encoding.encode(bytes)));
    codes
}

/// The base64 characters that `bytes` alone decide, for each of the three places where they can begin in a longer text.
fn base64_cores(bytes: &[u8]) -> Vec<String> {
    let mut cores = Vec::new();
    for shift in 0..3 {
        let longer = [&[0; 2][..shift], bytes].concat();
        // Of six bits each: from the first without a bit of what is before, to the last without one of what is after.
        let decided = (8 * shift).div_ceil(6)..8 * longer.len() / 6;
        // Fewer than these would mask innocent text.
        if decided.len() >= 5 {
            cores.extend([BASE64_NOPAD, BASE64URL_NOPAD].map(|encoding| encoding.encode(&longer)[decided.clone()].to_owned()));
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_encoding() {
        let mask = Mask::new(["p@ss wörd/1", "it's <\"&\\>\n+second\u{1F511}"]);
        for encoded in [
            "p@ss wörd/1",
            "p%40ss%20w%C3%B6rd%2F1",
            "p%40ss+w%c3%b6rd%2f1",
            "p@ss%20w%C3%B6rd/1",
            r"p@ss w\u00f6rd\/1",
            r"p\@ss\ wörd/1",
            r"p@ss w\xc3\xb6rd/1",
            r"p@ss w\xf6rd/1",
            r"p@ss w\303\266rd/1",
            "p&#64;ss w&#xF6;rd&#x2f;1",
            "7040737320 77c3b672642f31".replace(' ', "").as_str(),
            "7040737320 77C3B672642F31".replace(' ', "").as_str(),
            "it's <\"&\\>\r\n+second\u{1F511}",
            r#"it's <\"&\\>\n+second\ud83d\udd11"#,
            r#"it\'s \u003c\"\u0026\\\u003e\n+second\uD83D\uDD11"#,
            "it&#39;s &lt;&quot;&amp;\\&gt;\n+second\u{1F511}",
            "it%27s+%3C%22%26%5C%3E%0A%2Bsecond%F0%9F%94%91",
            "it'\\''s <\"&\\>\n+second\u{1F511}",
            "it''s <\"\"&\\>\n+second\u{1F511}",
        ] {
            assert_eq!(mask.text(&format!("a {encoded} b")), "a *** b", "{encoded}");
        }
        // "p@ss wörd/1" alone, after one byte, and after two, as `base64` prints it: only the shared edges stay.
        for encoded in ["cEBzcyB3w7ZyZC8x", "eHBAc3Mgd8O2cmQvMQ==", "eHhwQHNzIHfDtnJkLzE="] {
            assert!(mask.text(encoded).contains(MASKED), "{encoded}");
            assert!(mask.text(encoded).len() < encoded.len() / 2, "{}", mask.text(encoded));
        }
        for innocent in ["nothing here", "p@ss", "100 % p+q & r \\ s …", ""] {
            assert_eq!(mask.text(innocent), innocent);
        }
    }

    // A page of a service was shown up to its 200th character, and the password in it up to there.
    #[test]
    fn what_a_cut_left_of_a_secret_is_masked() {
        let mask = Mask::new(["p@ss wörd/1"]);
        for (cut, shown) in [
            ("it says p@ss w…", "it says ***…"),
            ("it says p%40ss+w%c3%b6… (cut)", "it says ***… (cut)"),
            ("…wörd/1 it says", "…*** it says"),
            ("p@…", "p@…"),
        ] {
            assert_eq!(mask.text(cut), shown);
        }
    }

    #[test]
    fn a_number_is_masked_as_a_whole_only() {
        let mask = Mask::new(["481516"]);
        let value = serde_json::json!({ "pin": 481516, "bytes": 48151623, "text": "48151623" });
        assert_eq!(mask.value(value), serde_json::json!({ "pin": MASKED, "bytes": 48151623, "text": "***23" }));
    }

    #[test]
    fn a_mask_does_not_show_what_it_masks() {
        assert!(!format!("{:?}", Mask::new(["p@ss"])).contains("p@ss"));
    }
}
