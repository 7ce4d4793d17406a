//! How a thing is put on the page: text that stays text, and the names of colours.

use std::fmt::{self, Write};

use almaplan_engine::update::State;

use crate::view::words::{Tone, Words, glyph, harmless};

/// Text that stays text: nothing in it is markup, or acts on whoever sees it.
pub(super) struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        harmless(self.0).chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// The words of a catalogue, as text of the page.
pub(super) fn say(words: &Words, key: &str) -> String {
    Text(&words.lang.text(key)).to_string()
}

/// The class of a state, which gives it its colour.
pub(super) fn class_of(state: State) -> &'static str {
    match state {
        State::Started | State::UndoStarted => "live",
        state => class(glyph(state).1),
    }
}

/// The class of a tone.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad | Tone::Alarm => "bad",
        Tone::Undo => "undo",
        Tone::Strong => "live",
        Tone::Faint => "faint",
        Tone::Normal => "normal",
    }
}
