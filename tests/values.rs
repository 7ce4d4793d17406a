//! Values of variables are judged as what they are used for, by `check` and before `apply` begins: a step that failed because of one had
//! stopped the service first.

use serde_json::Value;

use crate::support::workspace::Workspace;

/// A plan with each use of a value that was found out too late once. `{vars}` are its variables.
const PLAN: &str = r#"format = 1
[plan]
name = "values"
[vars]
port = 5000
health_deadline = "30s"
keep_backups = 10
log_allow = []
address = "http://127.0.0.1:5000"
pip_mode = { default = "wheel", one_of = ["wheel", "in-place"] }
program = "test_program"
[steps.begin]
uses = "command"
compensate = "none"
with = { program = "test_program", args = ["append", "begun", "{{ run.id }}"] }
[steps.start]
uses = "start-service"
needs = ["begin"]
compensate = "none"
when = "vars.pip_mode == 'wheel'"
with = { program = "{{ vars.program }}", port = "{{ vars.port }}", log = "{{ plan.dir }}/{{ run.id }}.log" }
[steps.health]
uses = "http-check"
needs = ["start"]
[steps.health.with]
base = "{{ vars.address }}"
checks = [{ path = "/" }, { path = "/", contains = "{{ steps.begin.stdout }}" }]
pid = "{{ steps.start.pid | default(1) }}"
deadline = "{{ vars.health_deadline }}"
[steps.logs]
uses = "log-check"
needs = ["health"]
with = { files = ["{{ steps.begin.stdout }}"], allow = "{{ vars.log_allow }}" }
[steps.prune]
uses = "prune"
needs = ["logs"]
compensate = "none"
with = { dir = "backups", pattern = "*", keep = "{{ vars.keep_backups }}" }
"#;

/// A wrong value: the variable, its value in TOML and on the command line, the code of the mistake, and what is said of it.
const WRONG: &[(&str, &str, &str, &str, &str)] = &[
    ("health_deadline", "\"30 segundos\"", "30 segundos", "ALM0009", "30 segundos"),
    ("health_deadline", "\"500000000000y\"", "500000000000y", "ALM0011", "100 years"),
    ("port", "99999", "99999", "ALM0011", "65535"),
    ("port", "0", "0", "ALM0011", "from 1"),
    ("keep_backups", "-1", "-1", "ALM0011", "at least 0"),
    ("log_allow", "[\"(\"]", "(", "ALM0012", "unclosed group"),
    ("address", "\"127.0.0.1:5000\"", "127.0.0.1:5000", "ALM0012", "no address"),
    ("program", "\" \"", " ", "ALM0012", "empty"),
];

fn mistakes(json: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(json).unwrap();
    assert_eq!(report["valid"], false, "{report:#}");
    report["mistakes"].as_array().unwrap().clone()
}

/// The line of `PLAN` that begins like this, from 1.
fn line_of(text: &str, begins: &str) -> usize {
    text.lines().position(|line| line.starts_with(begins)).unwrap() + 1
}

fn begun(workspace: &Workspace) -> bool {
    workspace.path("begun").exists() || workspace.path(".almaplan").exists()
}

#[test]
fn a_plan_whose_values_fit_is_valid() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", PLAN);
    workspace.write("values.toml", "port = 5001\npip_mode = \"in-place\"\n");
    workspace.say(&["check", "plan.toml"]).expect(0);
    workspace.say(&["check", "plan.toml", "--vars", "values.toml", "--var", "log_allow=a+", "--var", "keep_backups=0"]).expect(0);
    // What is skipped with these values is not judged.
    workspace.say(&["check", "plan.toml", "--var", "pip_mode=in-place", "--var", "port=99999"]).expect(0);
}

#[test]
fn a_value_of_the_plan_that_does_not_fit_is_pointed_at_before_anything_runs() {
    for (name, value, _, code, said) in WRONG {
        let workspace = Workspace::new();
        let line = line_of(PLAN, name);
        let lines = PLAN.lines().enumerate().map(|(at, text)| if at + 1 == line { format!("{name} = {value}") } else { text.to_owned() });
        workspace.write("plan.toml", &lines.collect::<Vec<_>>().join("\n"));
        let found = mistakes(&workspace.say(&["check", "plan.toml", "--json"]).expect(2).stdout);
        let [mistake] = &found[..] else { panic!("{name} = {value}: {found:#?}") };
        assert_eq!((mistake["code"].as_str(), mistake["line"].as_u64()), (Some(*code), Some(line as u64)), "{mistake:#}");
        assert_eq!(mistake["column"].as_u64(), Some(name.len() as u64 + 4), "{mistake:#}");
        assert!(mistake["message"].as_str().unwrap().contains(said), "{mistake:#}");
        let applied = workspace.say(&["apply", "plan.toml", "--progress", "plain"]).expect(2);
        assert!(applied.stderr.contains(code), "{}", applied.stderr);
        assert!(!begun(&workspace), "{name} = {value} was found out too late");
    }
}

#[test]
fn a_value_that_was_given_and_does_not_fit_is_told_with_who_gave_it() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", PLAN);
    for (name, value, given, code, said) in WRONG {
        let argument = format!("{name}={given}");
        workspace.write("values.toml", &format!("# values\n\n{name} = {value}\n"));
        for (option, source) in
            [(["--var", argument.as_str()], format!("--var {argument}")), (["--vars", "values.toml"], "values.toml:3".to_owned())]
        {
            let checked = workspace.say(&[&["check", "plan.toml", "--json"][..], &option[..]].concat()).expect(2);
            let found = mistakes(&checked.stdout);
            let [mistake] = &found[..] else { panic!("{name} = {value}: {found:#?}") };
            assert_eq!((mistake["code"].as_str(), mistake["given_by"].as_str()), (Some(*code), Some(source.as_str())), "{mistake:#}");
            assert!(mistake["message"].as_str().unwrap().contains(said), "{mistake:#}");
            for command in [&["check", "plan.toml"][..], &["apply", "plan.toml", "--progress", "plain"][..]] {
                let told = workspace.say(&[command, &option[..]].concat()).expect(2);
                let told = told.stdout + &told.stderr;
                assert!(told.contains(&format!("value: {source}")) && told.contains(code), "{told}");
            }
            assert!(!begun(&workspace), "{name} = {value} was found out too late");
        }
    }
}

#[test]
fn a_variable_takes_nothing_but_what_the_plan_lets_it_take() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", &PLAN.replace("default = \"wheel\"", "default = \"weel\""));
    let found = mistakes(&workspace.say(&["check", "plan.toml", "--json"]).expect(2).stdout);
    assert!(found.iter().any(|mistake| mistake["code"] == "ALM0008" && mistake["line"] == line_of(PLAN, "pip_mode")), "{found:#?}");

    workspace.write("plan.toml", PLAN);
    workspace.write("values.toml", "\npip_mode = \"inplace\"\n");
    for (option, source) in [(["--var", "pip_mode=inplace"], "--var pip_mode=inplace"), (["--vars", "values.toml"], "values.toml:2")] {
        for command in ["check", "apply"] {
            let told = workspace.say(&[&[command, "plan.toml"][..], &option[..]].concat()).expect(2);
            assert!(told.stderr.contains("did you mean `in-place`?") && told.stderr.contains(source), "{}", told.stderr);
            let told = workspace.say(&[&[command, "plan.toml", "--lang", "pt-BR"][..], &option[..]].concat()).expect(2);
            assert!(told.stderr.contains("você quis dizer `in-place`?"), "{}", told.stderr);
        }
    }
    assert!(!begun(&workspace));
}

#[test]
fn mistakes_are_told_in_the_language_that_was_asked_for() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", &PLAN.replace("[steps.start]\n", "[steps.start]\ntmeout = \"5m\"\n"));
    let shown = workspace.say(&["check", "plan.toml", "--lang", "pt-BR"]).expect(2).stdout;
    assert!(shown.contains("a etapa `start` não tem a chave `tmeout`") && shown.contains("você quis dizer `timeout`?"), "{shown}");
    assert!(!shown.contains("has no key") && !shown.contains("did you mean"), "{shown}");
    let applied = workspace.say(&["apply", "plan.toml", "--lang", "pt-BR", "--progress", "json"]).expect(2);
    assert!(applied.stderr.contains("não tem a chave") && !applied.stderr.contains("has no key"), "{}", applied.stderr);
}
