//! The binary as a caller sees it before any run: words, exit codes, and which stream they are on.

use crate::support::{Said, command, run};

fn almaplan(args: &[&str]) -> Said {
    run(command(env!("CARGO_BIN_EXE_almaplan")).env("ALMAPLAN_LANG", "en").args(args))
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_was_meant() {
    let said = almaplan(&["aply", "plan.toml"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("'apply'"), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn wrong_usage_is_one_object_for_a_program() {
    let said = almaplan(&["--progress", "json", "apply"]);
    assert_eq!(said.code, 2);
    let stdout = said.stdout;
    let line: serde_json::Value = serde_json::from_str(stdout.trim_end()).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!((&line["event"], &line["exit"], &line["code"]), (&"refused".into(), &2.into(), &"usage".into()));
    assert!(line["message"].as_str().unwrap().contains("required"), "{line}");
}

#[test]
fn a_refusal_is_words_on_standard_error_without_colour_in_a_pipe() {
    let said = almaplan(&["steps", "no-such-kind", "--lang", "pt-BR"]);
    assert_eq!(said.code, 2);
    assert_eq!(said.stderr, "erro: não existe o tipo de etapa no-such-kind\ndica: almaplan steps mostra todos\n");
    assert_eq!(said.stdout, "");
    let coloured = almaplan(&["steps", "no-such-kind", "--color", "always"]);
    assert!(coloured.stderr.contains('\u{1b}'), "{}", coloured.stderr);
}

#[test]
fn help_is_in_the_language_of_the_environment_unless_told_otherwise() {
    let english = almaplan(&["apply", "--help"]);
    assert_eq!(english.code, 0);
    assert!(english.stdout.contains("Run a plan"), "{}", english.stdout);
    let portuguese = almaplan(&["apply", "--help", "--lang", "pt-BR"]);
    assert!(portuguese.stdout.contains("Executa um plano"), "{}", portuguese.stdout);
}
