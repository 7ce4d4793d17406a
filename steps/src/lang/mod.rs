//! What the kinds write for people to keep, in the language of the run. Errors are not here: they are for whoever operates.
//!
//! Both catalogues have the same keys; a test proves it. Asking for a key that is in neither is a bug, and panics.

use std::sync::OnceLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use jiff::ZonedDateTime;

const ENGLISH: &str = include_str!("en.ftl");
const PORTUGUESE: &str = include_str!("pt-BR.ftl");

type Bundle = FluentBundle<FluentResource>;

/// The words of one language.
#[derive(Clone, Copy)]
pub(crate) struct Words(&'static Bundle);

impl Words {
    /// The words of `lang`; English where there are none.
    pub(crate) fn of(lang: &str) -> Self {
        static BUNDLES: [OnceLock<Bundle>; 2] = [OnceLock::new(), OnceLock::new()];
        let [english, portuguese] = &BUNDLES;
        Self(match lang.split(['-', '_']).next() {
            Some(lang) if lang.eq_ignore_ascii_case("pt") => portuguese.get_or_init(|| bundle("pt-BR", PORTUGUESE)),
            _ => english.get_or_init(|| bundle("en", ENGLISH)),
        })
    }

    /// The text of `key` with `values` in it.
    pub(crate) fn say(self, key: &str, values: &[(&str, &str)]) -> String {
        let pattern = self.0.get_message(key).and_then(|message| message.value());
        let pattern = pattern.unwrap_or_else(|| panic!("no catalogue has `{key}`"));
        let values: FluentArgs = values.iter().map(|(name, value)| (*name, *value)).collect();
        let mut errors = Vec::new();
        let text = self.0.format_pattern(pattern, Some(&values), &mut errors).into_owned();
        assert!(errors.is_empty(), "`{key}` needs other values: {errors:?}");
        text
    }

    /// A moment, as people of this language write it.
    pub(crate) fn moment(self, at: &ZonedDateTime) -> String {
        at.strftime(&self.say("date-and-time", &[])).to_string()
    }

    /// A span of time, to two significant units.
    pub(crate) fn span(self, ms: u64) -> String {
        let (s, min, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
        let padded = |number: u64| format!("{:02}", number % 60);
        match ms {
            0..1000 => self.say("span-ms", &[("ms", &ms.to_string())]),
            1000..60_000 => {
                let tenths = format!("{s}{}{}", self.say("decimal-separator", &[]), ms % 1000 / 100);
                self.say("span-s", &[("s", &tenths)])
            }
            60_000..3_600_000 => self.say("span-min", &[("min", &min.to_string()), ("s", &padded(s))]),
            _ => self.say("span-h", &[("h", &h.to_string()), ("min", &padded(min))]),
        }
    }
}

fn bundle(lang: &str, text: &str) -> Bundle {
    let mut bundle = Bundle::new_concurrent(vec![lang.parse().expect("the names of our languages are well formed")]);
    // What is written goes into plain text files: no invisible marks around values.
    bundle.set_use_isolating(false);
    let words = FluentResource::try_new(text.to_owned()).expect("a test reads both catalogues");
    bundle.add_resource(words).expect("no catalogue has a key twice: a test reads both");
    bundle
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
    fn both_languages_have_the_same_keys_with_the_same_values() {
        assert_eq!(keys(ENGLISH), keys(PORTUGUESE));
        assert!(keys(ENGLISH).len() > 20);
        for (lang, text) in [("en", ENGLISH), ("pt_BR.UTF-8", PORTUGUESE)] {
            for (key, values) in keys(text) {
                let values: Vec<(&str, &str)> = values.iter().map(|name| (name.as_str(), "value")).collect();
                assert!(!Words::of(lang).say(&key, &values).contains(['{', '\u{2068}']), "{key}");
            }
        }
    }

    #[test]
    fn spans_have_two_units_and_the_separator_of_the_language() {
        let spans = |lang: &str| [350, 4_249, 83_000, 7_500_000].map(|ms| Words::of(lang).span(ms));
        assert_eq!(spans("en"), ["350 ms", "4.2 s", "1 min 23 s", "2 h 05 min"]);
        assert_eq!(spans("pt-BR")[1], "4,2 s");
    }
}
