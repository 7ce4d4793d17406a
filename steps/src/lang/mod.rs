//! What the kinds write for people to keep, in the language of the run. Errors are not here: they are for whoever operates.
//!
//! The one loader of catalogues, [`catalogue`] and [`message`], also reads those of the command line.
//!
//! All catalogues have the same keys; a test proves it. Asking for a key that is in none is a bug, and panics.

use std::sync::OnceLock;

use almaplan_engine::plan::is_invisible;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use jiff::ZonedDateTime;

/// The languages by their BCP 47 tags, each with its catalogue; the first where a run asks for none of them.
const CATALOGUES: [(&str, &str); 2] = [("en", include_str!("en.ftl")), ("pt-BR", include_str!("pt-BR.ftl"))];

/// The messages of one language.
pub type Catalogue = FluentBundle<FluentResource>;

/// Writes in one language.
#[derive(Clone, Copy)]
pub(crate) struct Formatter(&'static Catalogue);

impl Formatter {
    /// That of `lang`; English where there are none.
    pub(crate) fn of(lang: &str) -> Self {
        static BUNDLES: [OnceLock<Catalogue>; CATALOGUES.len()] = [const { OnceLock::new() }; CATALOGUES.len()];
        let language = |tag: &str| tag.split(['-', '_', '.']).next().unwrap_or_default().to_ascii_lowercase();
        let found = CATALOGUES.iter().position(|(tag, _)| language(tag) == language(lang)).unwrap_or(0);
        let (tag, text) = CATALOGUES[found];
        Self(BUNDLES[found].get_or_init(|| catalogue(tag, &[text])))
    }

    /// The text of `key` with `values` in it.
    pub(crate) fn say(self, key: &str, values: &[(&str, &str)]) -> String {
        let values: FluentArgs = values.iter().map(|(name, value)| (*name, *value)).collect();
        message(self.0, key, None, &values).unwrap_or_else(|| panic!("no catalogue has `{key}`"))
    }

    /// A moment, as people of this language write it.
    pub(crate) fn moment(self, at: &ZonedDateTime) -> String {
        at.strftime(&self.say("date-and-time", &[])).to_string()
    }

    /// See [`span`].
    pub(crate) fn span(self, ms: u64) -> String {
        span(ms as f64 / 1000.0, &self.say("decimal-separator", &[]))
    }
}

/// A span of time, to two significant units: `430 ms`, `1.9 s`, `2 min 03 s`, `1 h 02 min`. The one way to write it, so that a file and
/// a screen never tell two figures of one thing.
pub fn span(seconds: f64, decimal_separator: &str) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    // The limits are where rounding goes over, so that it never says `1000 ms` or `60.0 s`.
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{} s", format!("{seconds:.1}").replace('.', decimal_separator));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// `text` as it may be kept in a file that people look at: what acts on a terminal, or hides in a text, is shown as a mark of its own.
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The catalogue of the language with the BCP 47 tag `lang`, whose messages are in `texts`.
pub fn catalogue(lang: &str, texts: &[&str]) -> Catalogue {
    let mut catalogue = Catalogue::new_concurrent(vec![lang.parse().expect("the names of our languages are well formed")]);
    // Invisible marks around values would end up in files, and in commands that people copy.
    catalogue.set_use_isolating(false);
    for text in texts {
        let messages = FluentResource::try_new((*text).to_owned()).expect("a test reads every catalogue");
        catalogue.add_resource(messages).expect("no catalogue has a key twice: a test reads each");
    }
    catalogue
}

/// The message `key`, or an attribute of it, with `values` in it; `None` where the catalogue does not have it. Values that it needs and
/// does not get stop a debug build.
pub fn message(catalogue: &Catalogue, key: &str, attribute: Option<&str>, values: &FluentArgs<'_>) -> Option<String> {
    let message = catalogue.get_message(key)?;
    let pattern = match attribute {
        None => message.value(),
        Some(name) => message.get_attribute(name).map(|attribute| attribute.value()),
    }?;
    let mut errors = Vec::new();
    let text = catalogue.format_pattern(pattern, Some(values), &mut errors).into_owned();
    debug_assert!(errors.is_empty(), "`{key}` needs other values: {errors:?}");
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The keys of a catalogue, each with the values that it needs.
    fn keys(text: &str) -> Vec<(String, Vec<String>)> {
        let mut keys: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, text)| {
                let mut values: Vec<_> = text.split("{ $").skip(1).map(|rest| rest.split(' ').next().unwrap().to_owned()).collect();
                values.sort();
                (key.to_owned(), values)
            })
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn all_languages_have_the_same_keys_with_the_same_values() {
        let (_, source) = CATALOGUES[0];
        assert!(keys(source).len() > 20);
        for (lang, text) in CATALOGUES {
            assert_eq!(keys(text), keys(source), "{lang}");
            for (key, values) in keys(text) {
                let values: Vec<(&str, &str)> = values.iter().map(|name| (name.as_str(), "value")).collect();
                assert!(!Formatter::of(lang).say(&key, &values).contains(['{', '\u{2068}']), "{key}");
            }
        }
    }

    #[test]
    fn a_language_is_found_however_it_is_written_and_english_where_there_is_none() {
        let succeeded = |lang: &str| Formatter::of(lang).say("status-succeeded", &[]);
        assert_eq!(succeeded("pt_BR.UTF-8"), succeeded("pt-BR"));
        assert_eq!(succeeded("tlh"), succeeded("en"));
        assert_ne!(succeeded("tlh"), succeeded("pt-BR"));
    }

    #[test]
    fn spans_have_two_units_and_the_separator_of_the_language() {
        let spans = |lang: &str| [350, 4_249, 4_250, 83_000, 7_500_000].map(|ms| Formatter::of(lang).span(ms));
        assert_eq!(spans("en"), ["350 ms", "4.2 s", "4.2 s", "1 min 23 s", "2 h 05 min"]);
        assert_eq!(spans("pt-BR")[1], "4,2 s");
    }
}
