//! How a thing is written for a person: durations, sizes, times, glyphs and colours. One place, so that every view agrees.

use std::borrow::Cow;
use std::sync::Arc;

use almaplan_engine::event::Failure;
use almaplan_engine::update::{State, Unit};
use almaplan_engine::words::Words;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::lang::Lang;

pub use crate::lang::sanitize::sanitize;

/// A language, a time zone, and whether there is colour.
#[derive(Debug, Clone)]
pub struct Formatter {
    /// The language.
    pub lang: Arc<Lang>,
    /// Where the reader's clock is.
    pub zone: TimeZone,
    /// Whether colour is shown.
    pub color: bool,
    /// How wide the terminal is; `None` where lines may be as long as they are.
    pub width: Option<usize>,
    /// Whether what is switched off is shown too.
    pub verbose: bool,
}

/// What a piece of text means, as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Done.
    Good,
    /// Look at this.
    Warning,
    /// Wrong.
    Bad,
    /// Being or having been undone.
    Undo,
    /// Names.
    Strong,
    /// Less important.
    Faint,
    /// An alarm.
    Alarm,
    /// Nothing special.
    Normal,
}

impl Formatter {
    /// `text` in the colour of `style`.
    pub fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        let style = match style {
            Style::Good => console::Style::new().green(),
            Style::Warning => console::Style::new().yellow(),
            Style::Bad => console::Style::new().red().bold(),
            Style::Undo => console::Style::new().magenta(),
            Style::Strong => console::Style::new().bold(),
            Style::Faint => console::Style::new().dim(),
            Style::Alarm => console::Style::new().white().on_red().bold(),
            Style::Normal => console::Style::new(),
        };
        style.force_styling(self.color).apply_to(text).to_string()
    }

    /// `text` after `first`, the lines that do not fit after `next`; words stay whole, and so does a path that has no spaces.
    pub fn wrap(&self, first: &str, next: &str, text: &str) -> Vec<String> {
        let Some(width) = self.width else { return vec![format!("{first}{text}")] };
        let options = textwrap::Options::new(width.max(20))
            .initial_indent(first)
            .subsequent_indent(next)
            .word_separator(textwrap::WordSeparator::AsciiSpace);
        textwrap::wrap(text, options.word_splitter(textwrap::WordSplitter::NoHyphenation)).into_iter().map(Cow::into_owned).collect()
    }

    /// `430 ms`, `1.9 s`, `2 min 03 s`, `1 h 02 min`.
    pub fn duration(&self, seconds: f64) -> String {
        almaplan_steps::lang::span(seconds, &self.lang.text("decimal-separator"))
    }

    /// As [`Formatter::duration`], in whole seconds: for what still goes on, or was never measured finer.
    pub fn elapsed(&self, seconds: f64) -> String {
        let whole = if seconds.is_finite() { seconds.max(0.0).floor() } else { 0.0 };
        if whole < 60.0 { format!("{whole} s") } else { self.duration(whole) }
    }

    /// `812 B`, `52.4 MB`; powers of 1000.
    pub fn bytes(&self, bytes: u64) -> String {
        let mut value = bytes as f64;
        for unit in ["B", "kB", "MB", "GB"] {
            if value < 999.95 {
                return if unit == "B" { format!("{bytes} B") } else { format!("{} {unit}", self.decimal(value)) };
            }
            value /= 1000.0;
        }
        format!("{} TB", self.decimal(value))
    }

    /// How far something is: `48.2 MB of 52.4 MB`, `3 files`, `attempt 4`.
    pub fn amount(&self, done: u64, total: Option<u64>, unit: Unit) -> String {
        let (done, total) = match unit {
            Unit::Bytes => (self.bytes(done), total.map(|total| self.bytes(total))),
            Unit::Seconds => (self.elapsed(done as f64), total.map(|total| self.elapsed(total as f64))),
            Unit::Files => (self.lang.with("unit-files", &[("n", done.into())]), total.map(|total| total.to_string())),
            Unit::Attempts => (self.lang.with("unit-attempt", &[("n", done.into())]), total.map(|total| total.to_string())),
        };
        match total {
            Some(total) => self.lang.with("progress-of", &[("done", done.into()), ("total", total.into())]),
            None => done,
        }
    }

    /// Why something failed, in the language.
    pub fn failure<'f>(&self, failure: &'f Failure) -> Cow<'f, str> {
        self.said(&failure.message, failure.words.as_deref())
    }

    /// What was said in English, in the language, as far as there are `words` for it.
    pub fn said<'t>(&self, english: &'t str, words: Option<&Words>) -> Cow<'t, str> {
        let said = words.and_then(|words| almaplan_steps::lang::in_words(self.lang.language().tag(), words));
        said.map_or(Cow::Borrowed(english), Cow::Owned)
    }

    /// `14:15:02`, on the reader's clock.
    pub fn time(&self, at: Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// `2026-02-06 14:15:02`, on the reader's clock.
    pub fn date_time(&self, at: Timestamp) -> String {
        at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn decimal(&self, value: f64) -> String {
        format!("{value:.1}").replace('.', &self.lang.text("decimal-separator"))
    }
}

/// The sign of a state, and its colour.
pub fn glyph(state: State) -> (&'static str, Style) {
    match state {
        State::Started => ("▸", Style::Faint),
        State::Retrying | State::UndoRetrying => ("↻", Style::Warning),
        State::Succeeded => ("✔", Style::Good),
        State::Failed | State::UndoFailed => ("✖", Style::Bad),
        State::Skipped => ("○", Style::Faint),
        State::NotRun => ("–", Style::Faint),
        State::Unknown => ("?", Style::Warning),
        State::UndoStarted => ("↶", Style::Undo),
        State::Undone => ("↩", Style::Undo),
    }
}

/// The key of a state's name in the catalogues.
pub fn state_key(state: State) -> &'static str {
    match state {
        State::Started => "state-started",
        State::Retrying => "state-retrying",
        State::Succeeded => "state-succeeded",
        State::Failed => "state-failed",
        State::Skipped => "state-skipped",
        State::NotRun => "state-not-run",
        State::Unknown => "state-unknown",
        State::UndoStarted => "state-undo-started",
        State::UndoRetrying => "state-undo-retrying",
        State::Undone => "state-undone",
        State::UndoFailed => "state-undo-failed",
    }
}

/// `text` filled with spaces to `width` columns.
pub fn pad(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Language;
    use crate::view::sample;

    #[test]
    fn durations_and_sizes_are_written_as_the_reader_does() {
        let (en, pt) = (sample::fmt(Language::En), sample::fmt(Language::PtBr));
        let durations = [0.0, 0.43, 0.9996, 1.93, 59.96, 123.4, 3725.0, -1.0, f64::NAN].map(|seconds| en.duration(seconds));
        assert_eq!(durations, ["0 ms", "430 ms", "1.0 s", "1.9 s", "1 min 00 s", "2 min 03 s", "1 h 02 min", "0 ms", "0 ms"]);
        assert_eq!(pt.duration(1.93), "1,9 s");
        assert_eq!([0.2, 59.9, 61.0].map(|seconds| pt.elapsed(seconds)), ["0 s", "59 s", "1 min 01 s"]);
        assert_eq!(
            [0, 999, 1000, 52_428_800, 999_999_999, 5_000_000_000_000].map(|bytes| en.bytes(bytes)),
            ["0 B", "999 B", "1.0 kB", "52.4 MB", "1.0 GB", "5.0 TB"]
        );
        assert_eq!(pt.amount(1_048_576, Some(52_428_800), Unit::Bytes), "1,0 MB de 52,4 MB");
    }

    #[test]
    fn no_colour_means_no_escape() {
        let fmt = sample::fmt(Language::En);
        assert_eq!(fmt.paint(Style::Alarm, "x"), "x");
        assert!(Formatter { color: true, ..fmt }.paint(Style::Good, "x").contains('\u{1b}'));
    }
}
