//! The only place where errors become text with excerpts, hints, a language and an exit code.
//!
//! [`Refusal`] is what ends before or without a run; [`mistakes`] is what is wrong with a plan.

pub mod mistakes;
mod places;
pub mod problem;
mod refusal;
mod state;
pub mod usage;

use std::path::Path;

use almaplan_engine::plan::Mistake;
use jiff::Timestamp;

use crate::exit::Exit;
use crate::lang::{Lang, Value};
use crate::view::format::{Formatter, Style, sanitize};
use crate::view::json;
use crate::view::recap::next_lines;

pub use refusal::{GivenBy, Reason, Refusal, VarsError};
pub(crate) use state::chain;

/// The arguments of a message, in the words of its language.
type Args = Vec<(&'static str, Value<'static>)>;

impl Refusal {
    /// As programs see it.
    pub fn reason(&self) -> Reason {
        self.told().0
    }

    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        self.reason().exit()
    }

    /// For people: the mistakes of a plan with their excerpts where it is about those, what is wrong, and what to do.
    pub fn text(&self, fmt: &Formatter, width: usize) -> String {
        let (reason, args) = self.said(&fmt.lang);
        let excerpts = self.mistakes().map(|(file, text, found, given)| plan_text(fmt, width, file, text, found, given));
        let next: String = next_lines(fmt, &self.next()).iter().map(|line| format!("{line}\n")).collect();
        excerpts.unwrap_or_default() + &said(reason, &args, fmt) + &next
    }

    fn said(&self, lang: &Lang) -> (Reason, Args) {
        let (reason, args) = self.told();
        (reason, args.iter().map(|(name, arg)| (*name, arg.in_words(lang))).collect())
    }

    /// For programs: one line, without its end.
    pub fn json(&self, at: Timestamp, lang: &Lang) -> String {
        let (reason, args) = self.said(lang);
        let key = key(reason);
        let next: Vec<String> = self.next().iter().map(ToString::to_string).collect();
        json::refused(at, reason.exit(), reason.code(), &lang.with(&key, &args), lang.hint(&key, &args).as_deref(), &next)
    }
}

/// The mistakes of a plan, and of the values that were given for its variables, as people read them; nothing where there are none.
pub fn plan_text(fmt: &Formatter, width: usize, file: &Path, text: &str, found: &[Mistake], given: &[GivenBy]) -> String {
    if found.is_empty() {
        return String::new();
    }
    mistakes::text(fmt, width, &file.display().to_string(), text, &mistakes::views(&fmt.lang, found, given))
}

fn key(reason: Reason) -> String {
    format!("refused-{}", reason.code())
}

fn said(reason: Reason, args: &[(&'static str, Value<'static>)], fmt: &Formatter) -> String {
    let (lang, key) = (&fmt.lang, key(reason));
    let label = fmt.paint(Style::Bad, lang.text("error"));
    let mut text = format!("{label} {}\n", sanitize(&lang.with(&key, args)).trim_end().replace('\n', "\n  "));
    if let Some(hint) = lang.hint(&key, args) {
        let label = fmt.paint(Style::Strong, lang.text("hint"));
        text.push_str(&format!("{label} {}\n", sanitize(&hint).trim_end().replace('\n', "\n  ")));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    #[test]
    fn every_reason_has_words_in_both_languages() {
        let args = ["error", "file", "secret", "run", "lock", "pid", "user", "state", "next", "version", "command"]
            .into_iter()
            .chain(["runs", "outcome", "step", "newer", "kind", "code", "count", "folder", "known", "plan", "locks"])
            .map(|name| (name, Value::from(format!("<{name}>"))))
            .collect::<Vec<_>>();
        let mut shown = Vec::new();
        for language in Language::ALL {
            let fmt = sample::fmt(language);
            for reason in Reason::ALL {
                shown.push(format!("[{} {}] {}", reason.exit() as u8, reason.code(), said(reason, &args, &fmt)));
            }
        }
        insta::assert_snapshot!(shown.concat());
    }

    #[test]
    fn a_refusal_is_one_line_for_programs() {
        let refusal = Refusal::System(std::io::Error::other("two\nlines"));
        let line = refusal.json(sample::at(0), &Lang::new(Language::En));
        assert!(!line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["event"], &value["exit"], &value["code"]), (&"refused".into(), &1.into(), &"internal".into()));
    }
}
