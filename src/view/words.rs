//! How a thing is written for a person: durations, sizes, times, glyphs and colours. One place, so that every view agrees.

use std::borrow::Cow;
use std::sync::Arc;

use almaplan_engine::plan::is_unseen;
use almaplan_engine::update::{State, Unit};
use console::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::lang::Lang;

/// A language, a time zone, and whether there is colour.
#[derive(Debug, Clone)]
pub struct Words {
    /// The language.
    pub lang: Arc<Lang>,
    /// Where the reader's clock is.
    pub zone: TimeZone,
    /// Whether colour is shown.
    pub color: bool,
}

/// What a piece of text means, as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
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

impl Words {
    /// `text` in the colour of `tone`.
    pub fn paint(&self, tone: Tone, text: impl std::fmt::Display) -> String {
        let style = match tone {
            Tone::Good => Style::new().green(),
            Tone::Warning => Style::new().yellow(),
            Tone::Bad => Style::new().red().bold(),
            Tone::Undo => Style::new().magenta(),
            Tone::Strong => Style::new().bold(),
            Tone::Faint => Style::new().dim(),
            Tone::Alarm => Style::new().white().on_red().bold(),
            Tone::Normal => Style::new(),
        };
        style.force_styling(self.color).apply_to(text).to_string()
    }

    /// `430 ms`, `1.9 s`, `2 min 03 s`, `1 h 02 min`.
    pub fn duration(&self, seconds: f64) -> String {
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        // The limits are where rounding goes over, so that it never says `1000 ms` or `60.0 s`.
        if seconds < 0.9995 {
            return format!("{:.0} ms", seconds * 1000.0);
        }
        if seconds < 59.95 {
            return format!("{} s", self.decimal(seconds));
        }
        let whole = seconds.round() as u64;
        match (whole / 3600, whole % 3600 / 60, whole % 60) {
            (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
            (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
        }
    }

    /// As [`Words::duration`], in whole seconds: for what still goes on, or was never measured finer.
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
pub fn glyph(state: State) -> (&'static str, Tone) {
    match state {
        State::Started => ("▸", Tone::Faint),
        State::Retrying | State::UndoRetrying => ("↻", Tone::Warning),
        State::Succeeded => ("✔", Tone::Good),
        State::Failed | State::UndoFailed => ("✖", Tone::Bad),
        State::Skipped => ("○", Tone::Faint),
        State::NotRun => ("–", Tone::Faint),
        State::Unknown => ("?", Tone::Warning),
        State::UndoStarted => ("↶", Tone::Undo),
        State::Undone => ("↩", Tone::Undo),
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

/// `text` as it may be put on a terminal: a step's output must not move the cursor, change colours or
/// seem to say something else.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in console::strip_ansi_codes(text).chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            c if c.is_control() => {}
            c if is_unseen(c) => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;

    #[test]
    fn durations_and_sizes_are_written_as_the_reader_does() {
        let (en, pt) = (sample::words(Tongue::En), sample::words(Tongue::PtBr));
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
    fn what_a_step_prints_cannot_touch_the_terminal() {
        assert_eq!(harmless("\u{1b}[2J\u{1b}[31mred\u{1b}[0m\rback\u{7}\tend"), "redback    end");
        assert_eq!(harmless("\u{9b}2Jlot.\u{202e}piz"), "lot.\u{fffd}piz");
        assert_eq!(harmless("ação"), "ação");
    }

    #[test]
    fn no_colour_means_no_escape() {
        let words = sample::words(Tongue::En);
        assert_eq!(words.paint(Tone::Alarm, "x"), "x");
        assert!(Words { color: true, ..words }.paint(Tone::Good, "x").contains('\u{1b}'));
    }
}
