//! The binary as a caller sees it before any run: words, exit codes, and which stream they are on.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn almaplan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almaplan"));
    command.env_remove("NO_COLOR").env_remove("ALMAPLAN_STATE_DIR").env("ALMAPLAN_LANG", "en");
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_was_meant() {
    let output = almaplan(&["aply", "plan.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("'apply'"), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn wrong_usage_is_one_object_for_a_program() {
    let output = almaplan(&["--progress", "json", "apply"]);
    assert_eq!(output.status.code(), Some(2));
    let stdout = text(&output.stdout);
    let line: serde_json::Value = serde_json::from_str(stdout.trim_end()).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!((&line["event"], &line["exit"], &line["code"]), (&"refused".into(), &2.into(), &"usage".into()));
    assert!(line["message"].as_str().unwrap().contains("required"), "{line}");
}

#[test]
fn a_refusal_is_words_on_standard_error_without_colour_in_a_pipe() {
    let output = almaplan(&["steps", "no-such-kind", "--lang", "pt-BR"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "erro: não existe o tipo de etapa no-such-kind\ndica: almaplan steps mostra todos\n");
    assert_eq!(text(&output.stdout), "");
    let coloured = almaplan(&["steps", "no-such-kind", "--color", "always"]);
    assert!(text(&coloured.stderr).contains('\u{1b}'), "{}", text(&coloured.stderr));
}

#[test]
fn help_is_in_the_language_of_the_environment_unless_told_otherwise() {
    let english = almaplan(&["apply", "--help"]);
    assert_eq!(english.status.code(), Some(0));
    assert!(text(&english.stdout).contains("Run a plan"), "{}", text(&english.stdout));
    let portuguese = almaplan(&["apply", "--help", "--lang", "pt-BR"]);
    assert!(text(&portuguese.stdout).contains("Executa um plano"), "{}", text(&portuguese.stdout));
}
