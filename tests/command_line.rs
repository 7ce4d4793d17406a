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

// A process that may open few files began a run, could do nothing of it, and left it for the next one to be refused by.
#[cfg(unix)]
#[test]
fn where_too_few_files_may_be_open_no_run_is_begun() {
    use crate::support::workspace::Workspace;

    let workspace = Workspace::called("few files");
    let plan = "format = 1\n[plan]\nname = \"few\"\n[steps.a]\nuses = \"command\"\nwith = { program = \"true\" }\ncompensate = \"none\"\n";
    std::fs::write(workspace.path("plan.toml"), plan).unwrap();
    let apply = workspace.almaplan(&["apply", "plan.toml", "--lang", "en"]);
    for files in [8, 13, 20] {
        let mut limited = command("sh");
        limited.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"]);
        let said = run(&mut crate::support::wrapped(limited, &apply)).expect(1);
        assert!(said.stderr.contains("at least 32 files open") && said.stderr.contains("ulimit -n"), "{}", said.stderr);
        assert!(!workspace.path(".almaplan/state.db").exists());
    }
    run(&mut workspace.almaplan(&["apply", "plan.toml"])).expect(0);
}
