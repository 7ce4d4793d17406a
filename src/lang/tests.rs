#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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

/// Every string literal that is all of an identifier, in every source of the command line.
fn literals(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            literals(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn both_catalogues_say_the_same_things_about_the_same_arguments() {
    let (en, pt) = (messages(EN), messages(PT_BR));
    assert!(en.len() > 80, "only {} messages were found", en.len());
    assert!(en.values().any(|args| !args.is_empty()), "no argument was found");
    for (key, args) in &en {
        assert_eq!(Some(args), pt.get(key), "`{key}` in pt-BR.ftl");
    }
    for key in pt.keys() {
        assert!(en.contains_key(key), "`{key}` is only in pt-BR.ftl");
    }
}

#[test]
fn no_message_is_empty_and_fluent_reads_each() {
    for tongue in Tongue::ALL {
        let lang = Lang::new(tongue);
        for key in messages(EN).keys().filter(|key| !key.contains('.')) {
            let message = lang.words.get_message(key).unwrap_or_else(|| panic!("{key} cannot be read in {}", tongue.tag()));
            assert!(message.value().is_some(), "{key} is empty in {}", tongue.tag());
        }
    }
}

#[test]
fn every_message_is_used_and_every_used_message_exists() {
    let mut code = String::new();
    literals(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
    let known = messages(EN);
    let refused: BTreeSet<_> = Reason::ALL.iter().map(|reason| format!("refused-{}", reason.code())).collect();
    for key in known.keys().filter(|key| !key.contains('.')) {
        assert!(refused.contains(key) || code.contains(&format!("\"{key}\"")), "`{key}` is used nowhere");
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
    let chosen = |cli, env, system| Lang::choose(cli, env, system).tongue();
    assert_eq!(chosen(Some("en"), Some("pt-BR"), None), Tongue::En);
    assert_eq!(chosen(None, Some("pt_BR.UTF-8"), Some("en-US")), Tongue::PtBr);
    assert_eq!(chosen(None, Some(""), Some("pt-PT")), Tongue::PtBr);
    assert_eq!(chosen(None, Some("klingon"), Some("C.UTF-8")), Tongue::En);
    assert_eq!(chosen(None, None, Some("de-DE")), Tongue::En);
}

#[test]
fn numbers_take_their_plural_and_no_marks_are_added() {
    let pt = Lang::new(Tongue::PtBr);
    assert_eq!(pt.with("count-steps", &[("n", 1.into())]), "1 etapa");
    assert_eq!(pt.with("count-steps", &[("n", 12.into())]), "12 etapas");
    assert_eq!(Lang::new(Tongue::En).with("count-steps", &[("n", 1.into())]), "1 step");
}
