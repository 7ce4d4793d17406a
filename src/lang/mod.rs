//! The catalogues of what people read: Portuguese of Brazil and English.
//!
//! Every word that a view, a recap, an alert or a refusal shows is a message in `en.ftl` and in the catalogue of each other language.
//! `help.pt-BR.ftl`, and its like, hold the help of the command line, whose English lives in the doc comments of `cli.rs`. A key that a
//! catalogue does not have stops a debug build, and falls back to English in a release.

pub mod sanitize;

use std::borrow::Cow;

use almaplan_steps::lang::{self, Catalogue};
use fluent_bundle::FluentArgs;

pub use fluent_bundle::FluentValue as Value;

use sanitize::sanitize;

/// A language that there is a catalogue of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Portuguese of Brazil.
    PtBr,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::PtBr];

    /// Its BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::PtBr => "pt-BR",
        }
    }

    /// What there is to say in it, and beside English the help of the command line.
    fn catalogues(self) -> &'static [&'static str] {
        match self {
            Self::En => &[include_str!("en.ftl"), include_str!("explain.en.ftl")],
            Self::PtBr => &[include_str!("pt-BR.ftl"), include_str!("explain.pt-BR.ftl"), include_str!("help.pt-BR.ftl")],
        }
    }

    /// The one that `tag` means, whatever its spelling: `pt_BR.UTF-8`, `pt`, `en-GB`.
    pub fn of(tag: &str) -> Option<Self> {
        let language = tag.split(['-', '_', '.', '@']).next().unwrap_or_default();
        match language.to_ascii_lowercase().as_str() {
            "pt" => Some(Self::PtBr),
            "en" | "c" | "posix" => Some(Self::En),
            _ => None,
        }
    }
}

/// A language, ready to say things in.
pub struct Lang {
    language: Language,
    words: Catalogue,
    // English, where `words` is another language.
    fallback: Option<Box<Lang>>,
}

impl Lang {
    /// The catalogue of `language`.
    pub fn new(language: Language) -> Self {
        let words = lang::catalogue(language.tag(), language.catalogues());
        let fallback = (language != Language::En).then(|| Box::new(Self::new(Language::En)));
        Self { language, words, fallback }
    }

    /// The first of these that is a language there is: `--lang`, `ALMAPLAN_LANG`, the system's. English where none is.
    pub fn choose(cli: Option<&str>, env: Option<&str>, system: Option<&str>) -> Self {
        Self::new([cli, env, system].into_iter().flatten().find_map(Language::of).unwrap_or(Language::En))
    }

    /// Which language it is.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Whether it is the language that the help is written in.
    pub(crate) fn is_source(&self) -> bool {
        self.language == Language::En
    }

    /// The message `key`.
    pub fn text(&self, key: &str) -> String {
        self.with(key, &[])
    }

    /// The message `key` about `args`.
    pub fn with(&self, key: &str, args: &[(&str, Value<'_>)]) -> String {
        match self.find(key, None, args) {
            Some(text) => text,
            None => {
                debug_assert!(false, "no catalogue has `{key}`");
                key.to_owned()
            }
        }
    }

    /// The hint that belongs to the message `key`, where it has one.
    pub fn hint(&self, key: &str, args: &[(&str, Value<'_>)]) -> Option<String> {
        self.find(key, Some("hint"), args)
    }

    /// The noun `key` in another form than by itself, such as the one after "of".
    pub(crate) fn form(&self, key: &str, form: &str, args: &[(&str, Value<'_>)]) -> String {
        match self.find(key, Some(form), args) {
            Some(text) => text,
            None => {
                debug_assert!(false, "no catalogue has `{key}.{form}`");
                key.to_owned()
            }
        }
    }

    /// The help `key` of the command line; empty in the language whose help is in `cli.rs`.
    pub(crate) fn help(&self, key: &str) -> String {
        self.with(key, &[])
    }

    #[cfg(test)]
    pub(crate) fn has_help(&self, key: &str) -> bool {
        self.words.has_message(key)
    }

    fn find(&self, key: &str, attribute: Option<&str>, args: &[(&str, Value<'_>)]) -> Option<String> {
        // Paths, names and what programs printed end up on a terminal: they must not act on it.
        let harmless = |value: &Value<'_>| match value {
            Value::String(text) => Value::from(sanitize(text).into_owned()),
            other => other.clone().into_owned(),
        };
        let values: FluentArgs<'_> = args.iter().map(|(name, value)| (Cow::from(*name), harmless(value))).collect();
        let here = lang::message(&self.words, key, attribute, &values);
        here.or_else(|| self.fallback.as_ref()?.find(key, attribute, args))
    }
}

impl std::fmt::Debug for Lang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lang").field(&self.language).finish()
    }
}

#[cfg(test)]
mod tests;
