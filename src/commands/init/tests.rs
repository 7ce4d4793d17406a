//! Every template in every language, and names that are hard to write.

#![allow(clippy::unwrap_used)]

use clap::ValueEnum;

use super::choices::{Choice, Source};
use super::*;
use crate::cli::InitTemplate;
use crate::lang::Language;

fn choices(template: InitTemplate, production: &str) -> Choices {
    let empty = tempfile::tempdir().unwrap();
    Choices {
        template: Choice { value: template, source: Source::Given },
        name: Choice { value: "shop".to_owned(), source: Source::Found },
        production: Choice { value: production.to_owned(), source: Source::Usual },
        port: Choice { value: 5000, source: Source::Found },
        health: Choice { value: "/".to_owned(), source: Source::Usual },
        entry: application::entry(empty.path(), template),
        requirements: "requirements.txt",
        missing: template.packages().to_vec(),
        has_requirements: false,
        test_port: 5001,
        found: None,
        serving: None,
    }
}

/// The values of `[vars]` with which a run of this plan would begin.
fn value_of(text: &str, name: &str) -> String {
    let loaded = plan::load(text, Path::new("/work/shop/plans/production.toml"), &almaplan_steps::registry());
    assert!(loaded.mistakes.is_empty(), "{:?}\n{text}", loaded.mistakes);
    let table: toml::Table = toml::from_str(text).unwrap();
    table["vars"][name].as_str().unwrap().to_owned()
}

#[test]
fn every_template_in_every_language_is_a_plan_without_mistakes() {
    for language in Language::ALL {
        for template in InitTemplate::value_variants() {
            let text = text::production(&Lang::new(language), &choices(*template, "/srv/shop"));
            let loaded = plan::load(&text, Path::new("/work/shop/plans/production.toml"), &almaplan_steps::registry());
            assert!(loaded.mistakes.is_empty(), "{} {template:?}: {:?}\n{text}", language.tag(), loaded.mistakes);
            assert!(!text.contains("{%") && !text.contains("\n\n\n\n"), "{text}");
            // As much as somebody reads before the first deployment.
            assert!(text.lines().count() <= 190, "{} lines", text.lines().count());
        }
    }
}

#[test]
fn both_languages_do_the_same() {
    let without_words = |language: Language, template: InitTemplate| {
        let text = text::production(&Lang::new(language), &choices(template, "/srv/shop"));
        let mut table: toml::Table = toml::from_str(&text).unwrap();
        for part in ["steps", "finally"] {
            for (_, step) in table[part].as_table_mut().unwrap().iter_mut() {
                step.as_table_mut().unwrap().remove("description");
            }
        }
        table["plan"].as_table_mut().unwrap().remove("lang");
        table
    };
    for template in InitTemplate::value_variants() {
        assert_eq!(without_words(Language::En, *template), without_words(Language::PtBr, *template), "{template:?}");
    }
}

#[test]
fn what_is_hard_to_write_is_written_right() {
    let lang = Lang::new(Language::PtBr);
    for folder in [r"G:\Almareia Mirapraia\Produção", "/srv/d'água \"nova\"", r"\\server\share\n", "/srv/tab\there", "/srv/#1 ]"] {
        let mut choices = choices(InitTemplate::FlaskWaitress, folder);
        choices.name.value = "loja d'água \"nova\" \\ 1".to_owned();
        let text = text::production(&lang, &choices);
        assert_eq!(value_of(&text, "production"), folder);
        assert_eq!(toml::from_str::<toml::Table>(&text).unwrap()["plan"]["name"].as_str(), Some(choices.name.value.as_str()));
        let test: toml::Table = toml::from_str(&text::test(&lang, &choices)).unwrap();
        assert_eq!(test["production"].as_str().unwrap(), format!("{folder}-test"));
    }
}

/// A folder called `{{ vars.port }}` is not the port.
#[test]
fn braces_in_a_folder_are_no_template() {
    let text = text::production(&Lang::new(Language::En), &choices(InitTemplate::Static, "/srv/{{ vars.port }}{%x"));
    let written = value_of(&text, "production");
    let rendered = minijinja::Environment::new().render_str(&written, ()).unwrap();
    assert_eq!(rendered, "/srv/{{ vars.port }}{%x");
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let plans = folder.path().join("plans");
    let files = [plans.join("test.toml"), plans.join("production.toml")];
    nothing_there(&plans, &files).unwrap();
    fs::create_dir(&plans).unwrap();
    fs::write(&files[1], "mine").unwrap();
    assert!(matches!(nothing_there(&plans, &files), Err(Refusal::AlreadyThere { file }) if file == files[1]));
    // It came between the look and the writing.
    let text = "new".to_owned();
    assert!(matches!(write(&plans, &[(&files[0], &text), (&files[1], &text)]), Err(Refusal::AlreadyThere { .. })));
    assert_eq!(fs::read_to_string(&files[1]).unwrap(), "mine");
    let left: Vec<_> = fs::read_dir(&plans).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["production.toml"], "what was written before is taken back");
}

#[cfg(unix)]
#[test]
fn a_planted_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let [plans, elsewhere] = ["plans", "elsewhere"].map(|name| folder.path().join(name));
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &plans).unwrap();
    assert!(matches!(nothing_there(&plans, &[]), Err(Refusal::AlreadyThere { .. })));
    fs::remove_file(&plans).unwrap();
    fs::create_dir(&plans).unwrap();
    let file = plans.join("production.toml");
    std::os::unix::fs::symlink(elsewhere.join("planted"), &file).unwrap();
    assert!(matches!(nothing_there(&plans, std::slice::from_ref(&file)), Err(Refusal::AlreadyThere { .. })));
    assert!(matches!(write(&plans, &[(&file, &"new".to_owned())]), Err(Refusal::AlreadyThere { .. })));
    assert!(!elsewhere.join("planted").exists());
}

#[test]
fn what_was_found_and_what_comes_next_is_told_in_both_languages() {
    let mut shown = String::new();
    for language in Language::ALL {
        let choices = choices(InitTemplate::FlaskWaitress, "/srv/shop");
        shown += &told(&Lang::new(language), &choices, Path::new("/work/shop"), None);
    }
    insta::assert_snapshot!(shown.replace('\\', "/"));
}
