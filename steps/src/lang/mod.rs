//! What the kinds write for people to keep, in the language of the run; and what they say while they work, in that of whoever reads. Its
//! English is beside the types that say it.
//!
//! The one loader of catalogues, [`catalogue`] and [`message`], also reads those of the command line.
//!
//! All catalogues have the same keys; a test proves it. Asking for a key that is in none is a bug, and panics.

use std::fmt::Display;
use std::sync::OnceLock;

use almaplan_engine::context::Context;
use almaplan_engine::plan::is_invisible;
use almaplan_engine::words::Words;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use jiff::ZonedDateTime;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::human::size;

/// The languages by their BCP 47 tags, each with its catalogue; the first where a run asks for none of them.
const CATALOGUES: [(&str, &str); 2] = [("en", include_str!("en.ftl")), ("pt-BR", include_str!("pt-BR.ftl"))];

/// What is said in other languages than English, which is beside the types: by the tag of each.
const SAID: [(&str, &str); 1] = [("pt-BR", include_str!("said.pt-BR.ftl"))];

/// The messages of one language.
pub type Catalogue = FluentBundle<FluentResource>;

/// Writes in one language.
#[derive(Clone, Copy)]
pub(crate) struct Formatter(&'static Catalogue);

impl Formatter {
    /// That of `lang`; English where there are none.
    pub(crate) fn of(lang: &str) -> Self {
        static BUNDLES: [OnceLock<Catalogue>; CATALOGUES.len()] = [const { OnceLock::new() }; CATALOGUES.len()];
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

/// What `words` say in the language of the BCP 47 tag `lang`. `None` where it has no catalogue of them, or that is of a version that does
/// not know them: their English is beside them.
pub fn in_words(lang: &str, words: &Words) -> Option<String> {
    static BUNDLES: [OnceLock<Catalogue>; SAID.len()] = [const { OnceLock::new() }; SAID.len()];
    let found = SAID.iter().position(|(tag, _)| language(tag) == language(lang))?;
    let (tag, text) = SAID[found];
    said(BUNDLES[found].get_or_init(|| said_catalogue(tag, text)), words)
}

/// What is said, in the language of the run: for what is kept of it.
pub(crate) fn told(cx: &Context, said: &(impl Display + Serialize)) -> String {
    Words::of(said).and_then(|words| in_words(&cx.run().lang, &words)).unwrap_or_else(|| said.to_string())
}

/// A catalogue of what is said, with `{ BYTES($free) }` for sizes as people of this language read them.
fn said_catalogue(tag: &str, text: &str) -> Catalogue {
    let mut catalogue = catalogue(tag, &[text]);
    let separator = Formatter::of(tag).say("decimal-separator", &[]);
    let added = catalogue.add_function("BYTES", move |values, _| match values {
        [FluentValue::Number(bytes)] => size(bytes.value as u64).replace('.', &separator).into(),
        _ => FluentValue::Error,
    });
    added.expect("it is the only one");
    catalogue
}

fn said(catalogue: &Catalogue, words: &Words) -> Option<String> {
    let values = words.values.iter().map(|(name, value)| Some((name.as_str(), value_of(catalogue, value)?)));
    let values: FluentArgs<'_> = values.collect::<Option<Vec<_>>>()?.into_iter().collect();
    let Some(message) = catalogue.get_message(&words.key) else {
        // It is its source, in other hands.
        return item_of(catalogue, words.values.get("value")?);
    };
    let mut errors = Vec::new();
    let text = catalogue.format_pattern(message.value()?, Some(&values), &mut errors).into_owned();
    errors.is_empty().then_some(text)
}

/// A value as messages take it: further words in the language, lists as one text, and nothing as `none`.
fn value_of<'v>(catalogue: &Catalogue, value: &'v Value) -> Option<FluentValue<'v>> {
    Some(match value {
        Value::Null => "none".into(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Bool(is) => is.to_string().into(),
        Value::Number(number) => number.as_f64()?.into(),
        Value::String(text) => text.as_str().into(),
        Value::Object(_) => said(catalogue, &words_in(value)?)?.into(),
        Value::Array(items) => {
            // Whole sentences are a line each.
            let between = if items.iter().any(Value::is_object) { "\n" } else { ", " };
            items.iter().map(|item| item_of(catalogue, item)).collect::<Option<Vec<_>>>()?.join(between).into()
        }
    })
}

fn item_of(catalogue: &Catalogue, item: &Value) -> Option<String> {
    match item {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) => said(catalogue, &words_in(item)?),
        other => Some(other.to_string()),
    }
}

fn words_in(value: &Value) -> Option<Words> {
    Words::deserialize(value).ok()
}

fn language(tag: &str) -> String {
    tag.split(['-', '_', '.']).next().unwrap_or_default().to_ascii_lowercase()
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
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use almaplan_engine::words;
    use regex::Regex;
    use serde_json::json;
    use syn::visit::{self, Visit};
    use syn::{Attribute, Expr, ExprCall, ExprMethodCall, Field, Fields, Ident, ItemEnum, ItemMod, ItemStruct, MetaList, Variant};

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

    /// What the source says to people: each key with the names of its values; `None` where it only hands on another.
    fn said_in_source() -> BTreeMap<String, Option<Vec<String>>> {
        let mut said = Said::default();
        let doing = Regex::new(r#"(?:io_error\(|patiently\(|doing: )"([^"]+)""#).unwrap();
        for file in sources() {
            let text = fs::read_to_string(&file).unwrap();
            said.visit_file(&syn::parse_file(&text).unwrap());
            let is_ours = file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
            let operations = doing.captures_iter(&text).map(|found| format!("doing-{}", found[1].replace(' ', "-")));
            said.keys.extend(operations.filter(|_| is_ours).map(|key| (key, Some(Vec::new()))));
        }
        assert!(said.prose.is_empty(), "these are no enumerations, so no other language has words for them: {:#?}", said.prose);
        said.keys
    }

    /// The product's own files, of this crate and of the engine.
    fn sources() -> Vec<PathBuf> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![here.join("src"), here.join("../engine/src")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match path.is_dir() {
                    true if !path.ends_with("tests") => folders.push(path),
                    false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
                    _ => {}
                }
            }
        }
        files.retain(|file| !file.ends_with("tests.rs"));
        files
    }

    #[derive(Default)]
    struct Said {
        keys: BTreeMap<String, Option<Vec<String>>>,
        prose: Vec<String>,
    }

    impl Said {
        fn add(&mut self, of: &Ident, attributes: &[Attribute], variant: Option<&Variant>, fields: &Fields) {
            let derived = |name: &str| attributes.iter().any(|attribute| is(attribute, "derive", name));
            if !derived("Serialize") || !derived("thiserror :: Error") {
                return;
            }
            let key = words::key(&of.to_string(), &variant.map_or_else(String::new, |variant| variant.ident.to_string()));
            let hands_on = variant.is_some_and(|variant| variant.attrs.iter().any(|attribute| is(attribute, "error", "transparent")));
            let name = |field: &Field| field.ident.as_ref().map_or_else(|| "value".to_owned(), Ident::to_string);
            let is_kept = |field: &&Field| !field.attrs.iter().any(|attribute| is(attribute, "serde", "skip"));
            let names: Vec<String> = fields.iter().filter(is_kept).map(name).collect();
            assert!(!names.contains(&"key".to_owned()), "{key}: a value cannot be called so");
            let known = self.keys.insert(key.clone(), (!hands_on).then_some(names));
            assert!(known.is_none(), "two types have the key {key}");
        }

        fn add_prose(&mut self, said: Option<&Expr>) {
            let is_prose = |said: &&Expr| match said {
                Expr::Lit(text) => quote::quote!(#text).to_string() != r#""""#,
                Expr::Macro(call) => call.mac.path.is_ident("format"),
                _ => false,
            };
            self.prose.extend(said.filter(is_prose).map(|said| quote::quote!(#said).to_string()));
        }
    }

    impl<'s> Visit<'s> for Said {
        fn visit_item_mod(&mut self, module: &'s ItemMod) {
            if !module.attrs.iter().any(|attribute| is(attribute, "cfg", "test")) {
                visit::visit_item_mod(self, module);
            }
        }

        fn visit_item_enum(&mut self, of: &'s ItemEnum) {
            of.variants.iter().for_each(|variant| self.add(&of.ident, &of.attrs, Some(variant), &variant.fields));
        }

        fn visit_item_struct(&mut self, of: &'s ItemStruct) {
            self.add(&of.ident, &of.attrs, None, &of.fields);
        }

        fn visit_expr_call(&mut self, call: &'s ExprCall) {
            let of = &call.func;
            if ["Failure :: clean", "Failure :: dirty"].contains(&quote::quote!(#of).to_string().as_str()) {
                self.add_prose(call.args.first());
            }
            visit::visit_expr_call(self, call);
        }

        fn visit_expr_method_call(&mut self, call: &'s ExprMethodCall) {
            if ["info", "warn", "alert"].iter().any(|name| call.method == name) {
                self.add_prose(call.args.first());
            }
            visit::visit_expr_method_call(self, call);
        }
    }

    /// Whether an attribute `name(…)` has `part` in it.
    fn is(attribute: &Attribute, name: &str, part: &str) -> bool {
        let tokens = |list: &MetaList| list.tokens.to_string();
        attribute.path().is_ident(name)
            && attribute.meta.require_list().is_ok_and(|list| tokens(list).split(" , ").any(|item| item.trim_end_matches(" ,") == part))
    }

    /// The keys of what is said, each with the values that its message uses.
    fn messages(text: &str) -> BTreeMap<String, Vec<String>> {
        let (begin, value) = (Regex::new(r"^([a-z][a-z0-9-]*) = ").unwrap(), Regex::new(r"\$([a-z_0-9]+)").unwrap());
        let mut messages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut key = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(found) = begin.captures(line) {
                key = found[1].to_owned();
            }
            let values = value.captures_iter(line).map(|found| found[1].to_owned());
            messages.entry(key.clone()).or_default().extend(values);
        }
        messages.retain(|key, _| !key.is_empty());
        messages
    }

    #[test]
    fn whatever_is_said_has_words_that_need_nothing_else() {
        let source = said_in_source();
        let said: Vec<&String> = source.iter().filter(|(_, values)| values.is_some()).map(|(key, _)| key).collect();
        for (lang, text) in SAID {
            let messages = messages(text);
            assert_eq!(said, messages.keys().collect::<Vec<_>>(), "{lang}");
            for (key, used) in messages {
                let values = source[&key].as_deref().unwrap_or_default();
                assert!(used.iter().all(|name| values.contains(name)), "{lang}: {key} needs {used:?} and gets {values:?}");
                // A number for each, as that is what a size is.
                let values = values.iter().map(|name| (name.clone(), Value::from(4711))).collect();
                assert!(in_words(lang, &Words { key: key.clone(), values }).is_some(), "{lang}: {key}");
            }
        }
    }

    #[test]
    fn what_is_said_is_put_in_words_with_all_that_is_in_it() {
        let words = |value: Value| serde_json::from_value::<Words>(value).unwrap();
        let reason = json!({ "key": "http-connect", "value": "Connection refused" });
        let no_answer = json!({ "key": "check-no-answer", "path": "/login", "reason": reason });
        let said = |value: Value| in_words("pt_BR.UTF-8", &words(value));
        assert_eq!(said(no_answer.clone()).unwrap(), "`/login`: sem conexão (Connection refused)");
        let handed_on = json!({ "key": "recovery-files", "value": { "key": "file-journal", "value": "x" } });
        assert_eq!(said(handed_on).unwrap(), "x");
        let several = json!({ "key": "problems", "problems": [no_answer, { "key": "problem-missing", "value": "/srv" }] });
        assert_eq!(said(several).unwrap(), "`/login`: sem conexão (Connection refused)\n/srv não existe");
        let space = json!({ "key": "problem-space", "path": "/srv", "free": 1_610_612_736_u64, "needed": 3_u64 << 30 });
        assert!(said(space).unwrap().starts_with("/srv tem 1,5 GiB livres, e são necessários 3,0 GiB;"));
        // Of another version: the English beside them is whole.
        assert_eq!(said(json!({ "key": "no-such-key", "path": "/" })), None);
        assert_eq!(said(json!({ "key": "check-no-answer", "path": "/" })), None);
        assert_eq!(in_words("en", &words(json!({ "key": "stopped" }))), None);
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
