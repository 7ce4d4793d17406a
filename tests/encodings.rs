//! What a person writes with PowerShell or Notepad is read as they see it.

use std::fs;

use almaplan_engine::encoding::encode;

use crate::support::workspace::Workspace;

const PLAN: &str = r#"
format = 1
[plan]
name = "padrão"
[vars]
nome = "ninguém"
[secrets]
senha = { file = "senha.txt" }
[steps.dizer]
uses = "command"
compensate = "none"
with = { program = "test_program", args = ["append", "dito", "{{ vars.nome }} {{ secrets.senha }}"], idempotent = true }
"#;

// PowerShell 5.1 writes UTF-16 with `>`, and a mark at the beginning of UTF-8; the mark became a part of a password.
#[test]
fn a_plan_its_values_and_a_secret_may_be_in_utf16_and_begin_with_a_mark() {
    for encoding in [encoding_rs::UTF_8, encoding_rs::UTF_16LE, encoding_rs::UTF_16BE] {
        let workspace = Workspace::new();
        let write = |file: &str, text: &str| {
            fs::write(workspace.path(file), encode(&format!("\u{feff}{}", text.replace('\n', "\r\n")), encoding)).unwrap();
        };
        write("plan.toml", PLAN);
        write("values.toml", "nome = \"João\"\n");
        write("senha.txt", "mirapraia\n");
        assert!(workspace.say(&["check", "plan.toml"]).expect(0).stdout.contains("plan.toml"));
        workspace.say(&["apply", "plan.toml", "--vars", "values.toml"]).expect(0);
        assert_eq!(fs::read_to_string(workspace.path("dito")).unwrap(), "João mirapraia\n", "{encoding:?}");
    }
}

#[test]
fn a_plan_that_is_no_text_is_refused_with_what_to_do() {
    let workspace = Workspace::new();
    fs::write(workspace.path("plan.toml"), b"format = 1\n# Jo\xe3o\n").unwrap();
    let said = workspace.say(&["apply", "plan.toml"]).expect(2);
    assert!(said.stderr.contains("UTF-8"), "{}", said.stderr);
}
