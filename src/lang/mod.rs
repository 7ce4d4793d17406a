//! The catalogues of what people read: Portuguese of Brazil and English.
//!
//! Every word that a view, a recap, an alert or a refusal shows is a message in `en.ftl` and `pt-BR.ftl`; `help.pt-BR.ftl`
//! holds the help of the command line, whose English lives in the doc comments of `cli.rs`. A key that a catalogue does not
//! have stops a debug build, and falls back to English in a release.

use std::borrow::Cow;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};

pub use fluent_bundle::FluentValue as Value;

const EN: &str = include_str!("en.ftl");
const PT_BR: &str = include_str!("pt-BR.ftl");
const PT_BR_HELP: &str = include_str!("help.pt-BR.ftl");

/// A language that there is a catalogue of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    /// English.
    En,
    /// Portuguese of Brazil.
    PtBr,
}

impl Tongue {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::PtBr];

    /// Its BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::PtBr => "pt-BR",
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
    tongue: Tongue,
    words: FluentBundle<FluentResource>,
    // English, where `words` is another language.
    fallback: Option<Box<Lang>>,
}

impl Lang {
    /// The catalogue of `tongue`.
    pub fn new(tongue: Tongue) -> Self {
        let sources: &[&str] = match tongue {
            Tongue::En => &[EN],
            Tongue::PtBr => &[PT_BR, PT_BR_HELP],
        };
        let mut words = FluentBundle::new_concurrent(vec![tongue.tag().parse().expect("the tags are ours")]);
        // Marks around every argument would end up in logs, and in commands that people copy.
        words.set_use_isolating(false);
        for source in sources {
            let resource = FluentResource::try_new((*source).to_owned()).expect("a test reads every catalogue");
            words.add_resource(resource).expect("a test reads every catalogue");
        }
        let fallback = (tongue != Tongue::En).then(|| Box::new(Self::new(Tongue::En)));
        Self { tongue, words, fallback }
    }

    /// The first of these that is a language there is: `--lang`, `ALMAPLAN_LANG`, the system's. English where none is.
    pub fn choose(cli: Option<&str>, env: Option<&str>, system: Option<&str>) -> Self {
        Self::new([cli, env, system].into_iter().flatten().find_map(Tongue::of).unwrap_or(Tongue::En))
    }

    /// Which language it is.
    pub fn tongue(&self) -> Tongue {
        self.tongue
    }

    /// Whether it is the language that the help is written in.
    pub(crate) fn is_source(&self) -> bool {
        self.tongue == Tongue::En
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

    /// The help `key` of the command line; empty in the language whose help is in `cli.rs`.
    pub(crate) fn help(&self, key: &str) -> String {
        self.with(key, &[])
    }

    #[cfg(test)]
    pub(crate) fn has_help(&self, key: &str) -> bool {
        self.words.has_message(key)
    }

    fn find(&self, key: &str, attribute: Option<&str>, args: &[(&str, Value<'_>)]) -> Option<String> {
        let here = self.words.get_message(key).and_then(|message| match attribute {
            None => message.value(),
            Some(name) => message.get_attribute(name).map(|attribute| attribute.value()),
        });
        let Some(pattern) = here else { return self.fallback.as_ref()?.find(key, attribute, args) };
        let args: FluentArgs<'_> = args.iter().map(|(name, value)| (Cow::from(*name), value.clone())).collect();
        let mut errors = Vec::new();
        let text = self.words.format_pattern(pattern, Some(&args), &mut errors).into_owned();
        debug_assert!(errors.is_empty(), "`{key}`: {errors:?}");
        Some(text)
    }
}

impl std::fmt::Debug for Lang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lang").field(&self.tongue).finish()
    }
}

#[cfg(test)]
mod tests;
