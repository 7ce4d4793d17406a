//! `preview`: what `apply` would do, told without changing anything.

use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{Said, tree};

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

fn step<'a>(preview: &'a Value, id: &str) -> &'a Value {
    preview["steps"].as_array().unwrap().iter().find(|step| step["step"] == id).unwrap_or_else(|| panic!("no {id}: {preview}"))
}

const PLAN: &str = r#"
    format = 1
    [plan]
    name = "small"
    [secrets]
    token = { env = "PREVIEW_TOKEN" }
    [steps.look]
    uses = "command"
    with = { program = "test_program", args = ["say", "1.1.0"], read_only = true }
    compensate = "none"
    [steps.write]
    uses = "command"
    with = { program = "test_program", args = ["append", "written", "{{ secrets.token }} {{ steps.look.code }}"] }
    compensate = { uses = "command", with = { program = "test_program", args = ["append", "undone", ""] } }
    [steps.told]
    uses = "command"
    when = "steps.write.code == 1"
    needs = ["write"]
    with = { program = "test_program", args = ["append", "written", "{{ steps.write.stdout }}"] }
    compensate = "none"
"#;

#[test]
fn a_preview_makes_nothing_and_tells_no_secret() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", PLAN);
    let before = tree(workspace.folder(), &|_| false);
    for lang in ["pt-BR", "en"] {
        let mut preview = workspace.almaplan(&["preview", "plan.toml", "--lang", lang]);
        let said = crate::support::run(preview.env("PREVIEW_TOKEN", "Kanarienvogel-Z7")).expect(0);
        assert!(said.stdout.contains("append written") && !said.all().contains("Kanarienvogel"), "{}", said.all());
    }
    let mut preview = workspace.almaplan(&["preview", "plan.toml", "--json"]);
    let said = crate::support::run(preview.env("PREVIEW_TOKEN", "Kanarienvogel-Z7")).expect(0);
    assert!(!said.all().contains("Kanarienvogel"), "{}", said.all());
    let told = json(&said);
    assert_eq!(step(&told, "write")["verdict"], "would-run");
    assert_eq!((&step(&told, "told")["verdict"], &step(&told, "told")["why"]), (&"cannot-tell".into(), &"steps.write.code".into()));
    assert_eq!(told["ways_back"][1]["undo"][0]["step"], "write");
    // Neither a state folder nor the machine's folder of locks.
    assert_eq!(tree(workspace.folder(), &|_| false), before);
    assert!(!workspace.path(".almaplan").exists() && !workspace.path("machine").exists());
}

#[test]
fn a_plan_with_mistakes_is_refused_as_by_check() {
    let workspace = Workspace::new();
    workspace.write("plan.toml", &PLAN.replace("read_only", "red_only"));
    let said = workspace.say(&["preview", "plan.toml"]).expect(2);
    assert!(said.stderr.contains("red_only"), "{}", said.stderr);
}

#[test]
fn another_run_on_the_target_is_a_warning() {
    let workspace = Workspace::new();
    workspace.waiting("plan", true);
    let mut running = workspace.started("plan.toml", 1);
    let preview = || json(&workspace.say(&["preview", "plan.toml", "--json"]).expect(0))["in_the_way"].clone();
    let going_on = preview();
    assert_eq!((&going_on["running"], going_on["run"].is_string()), (&true.into(), true), "{going_on}");
    running.kill();
    let before = tree(workspace.folder(), &|_| false);
    let unsettled = preview();
    assert_eq!(unsettled["running"], false);
    assert!(unsettled["next"].as_str().unwrap().starts_with("almaplan resume"), "{unsettled}");
    assert_eq!(tree(workspace.folder(), &|_| false), before, "a preview changed the state of a run that was interrupted");
}

#[cfg(unix)] // deploys the Python application
#[test]
fn a_deployed_application_is_compared_and_left_as_it_is() {
    use crate::support::{Server, is_runtime, repository};
    let server = Server::new();
    server.deploy_first();
    server.release("2");
    let (pid, production) = (server.pid(), server.production());
    let state = server.path(".almaplan");
    let trees = || (tree(&production, &is_runtime), tree(&state, &|_| false), tree(&server.path("machine"), &|_| false));
    let before = trees();
    let plan = repository().join("plans/production.toml");
    let told = json(&server.say(&["preview", plan.to_str().unwrap(), "--vars", "vars.toml", "--json"]).expect(0));
    assert_eq!((&told["version"]["now"], &told["version"]["new"]), (&"1".into(), &"2".into()));
    assert_eq!(step(&told, "environment")["verdict"], "up-to-date");
    let files = |id: &str| step(&told, id)["told"][0].clone();
    assert_eq!((&files("copy")["changed"], &files("stage")["changed"]), (&2.into(), &2.into()), "{told}");
    assert_eq!(files("update")["moved"], 3);
    assert_eq!(files("stop")["pid"], pid.to_string());
    assert_eq!(step(&told, "trial")["verdict"], "skipped");
    assert_eq!(trees(), before);
    assert_eq!((server.pid(), server.version().as_deref()), (pid, Some("1")));
}
