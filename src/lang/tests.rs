#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use almaplan_engine::runs::Meaning;

use super::*;
use crate::diagnose::Reason;

/// Every message (and attribute) of a catalogue, with the arguments it takes.
fn messages(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let mut message = String::new();
    let mut key = String::new();
    for line in source.lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, _)) = line.split_once(" =").filter(|(name, _)| !name.starts_with(' ')) {
            message = name.to_owned();
            key.clone_from(&message);
        } else if let Some((name, _)) = line.trim_start().strip_prefix('.').and_then(|rest| rest.split_once(" =")) {
            key = format!("{message}.{name}");
        }
        let args = found.entry(key.clone()).or_default();
        for part in line.split('$').skip(1) {
            args.insert(part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
    }
    found.remove("");
    found
}

/// Every string literal that is all of an identifier, in every source and template of the command line.
fn literals(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "html") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The messages of English, which all other languages must have.
fn source() -> BTreeMap<String, BTreeSet<String>> {
    messages(Language::En.catalogues()[0])
}

#[test]
fn all_catalogues_say_the_same_things_about_the_same_arguments() {
    let en = source();
    assert!(en.len() > 80, "only {} messages were found", en.len());
    assert!(en.values().any(|args| !args.is_empty()), "no argument was found");
    for language in Language::ALL {
        let (tag, other) = (language.tag(), messages(language.catalogues()[0]));
        for (key, args) in &en {
            assert_eq!(Some(args), other.get(key), "`{key}` in {tag}.ftl");
        }
        for key in other.keys() {
            assert!(en.contains_key(key), "`{key}` is only in {tag}.ftl");
        }
    }
}

#[test]
fn every_language_is_known_by_its_tag() {
    for language in Language::ALL {
        assert_eq!(Language::of(language.tag()), Some(language));
        assert!(almaplan_engine::plan::LANGUAGES.contains(&language.tag()), "`[plan] lang` does not take {}", language.tag());
    }
    assert_eq!(almaplan_engine::plan::LANGUAGES.len(), Language::ALL.len());
}

#[test]
fn no_message_is_empty_and_fluent_reads_each() {
    for language in Language::ALL {
        let lang = Lang::new(language);
        for key in source().keys().filter(|key| !key.contains('.')) {
            let message = lang.words.get_message(key).unwrap_or_else(|| panic!("{key} cannot be read in {}", language.tag()));
            assert!(message.value().is_some(), "{key} is empty in {}", language.tag());
        }
    }
}

#[test]
fn every_message_is_used_and_every_used_message_exists() {
    let mut code = String::new();
    literals(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    let known = source();
    let refused: BTreeSet<_> = Reason::ALL.iter().map(|reason| format!("refused-{}", reason.code())).collect();
    let means: BTreeSet<_> = Meaning::ALL.iter().map(|meaning| format!("means-{}", meaning.as_str())).collect();
    assert!(means.iter().all(|key| known.contains_key(key)), "{means:?}");
    for key in known.keys().filter(|key| !key.contains('.')) {
        assert!(refused.contains(key) || means.contains(key) || code.contains(&format!("\"{key}\"")), "`{key}` is used nowhere");
    }
    for call in [".text(\"", ".with(\""] {
        for part in code.split(call).skip(1) {
            let key = part.split('"').next().unwrap();
            assert!(!key.starts_with(char::is_alphabetic) || key.contains('{') || known.contains_key(key), "`{key}` is in no catalogue");
        }
    }
}

#[test]
fn the_language_is_the_first_that_is_known() {
    let chosen = |cli, env, system| Lang::choose(cli, env, system).language();
    assert_eq!(chosen(Some("en"), Some("pt-BR"), None), Language::En);
    assert_eq!(chosen(None, Some("pt_BR.UTF-8"), Some("en-US")), Language::PtBr);
    assert_eq!(chosen(None, Some(""), Some("pt-PT")), Language::PtBr);
    assert_eq!(chosen(None, Some("klingon"), Some("C.UTF-8")), Language::En);
    assert_eq!(chosen(None, None, Some("de-DE")), Language::En);
}

#[test]
fn numbers_take_their_plural_and_no_marks_are_added() {
    let pt = Lang::new(Language::PtBr);
    assert_eq!(pt.with("count-steps", &[("n", 1.into())]), "1 etapa");
    assert_eq!(pt.with("count-steps", &[("n", 12.into())]), "12 etapas");
    assert_eq!(Lang::new(Language::En).with("count-steps", &[("n", 1.into())]), "1 step");
}
