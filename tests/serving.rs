//! What the last line says of what serves (rule 21), with real services on real ports.

use std::fs;

use serde_json::Value;

use crate::support::workspace::Workspace;
use crate::support::{Said, Server, alive, command, free_port, http, signal, start, wait_until};

/// A service in Python: `/login` answers 500 while there is a file `bad` in its folder; it ends after `life` seconds, where that is not 0.
const SERVICE: &str = r#"
import http.server, os, sys, threading
port, life = int(sys.argv[1]), float(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        bad = self.path == "/login" and os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad"))
        self.send_response(500 if bad else 200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass
if life: threading.Timer(life, lambda: os._exit(0)).start()
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"#;

fn events(said: &Said, name: &str) -> Vec<Value> {
    said.events().into_iter().filter(|event| event["event"] == name).collect()
}

/// A workspace with the service, and a plan of `steps` that measures it. `deploy_log.txt` is written at the end.
fn measured(steps: &str) -> (Workspace, u16) {
    let (workspace, port) = (Workspace::new(), free_port());
    workspace.write("service.py", SERVICE);
    let plan = format!(
        r#"
        format = 1
        [plan]
        name = "measured"
        [measure]
        checks = [
          {{ url = "http://127.0.0.1:{port}/", contains = "hello" }},
          {{ url = "http://127.0.0.1:{port}/login", status = [200, 302] }},
        ]
        {steps}
        [finally.record]
        uses = "deploy-log"
        with = {{ file = "{{{{ plan.dir }}}}/deploy_log.txt", version = "1.1.0", previous = "1.0.0" }}
        "#
    );
    workspace.write("plan.toml", &plan.replace("PORT", &port.to_string()));
    (workspace, port)
}

fn log(workspace: &Workspace) -> String {
    fs::read_to_string(workspace.path("deploy_log.txt")).unwrap()
}

// The new version died a second after the pivot: "A nova versão está no ar", exit 0, while nothing answered.
#[test]
fn a_version_that_dies_after_the_pivot_is_no_success() {
    // More than 5 s: the service is given some to come back.
    let (workspace, _) = measured(
        r#"
        [steps.start]
        uses = "start-service"
        with = { program = "python3", args = ["{{ plan.dir }}/service.py", "PORT", "0"], port = PORT, log = "s.log", deadline = "60s" }
        compensate = { uses = "stop-service", with = { port = PORT, pid = "{{ steps.start.pid }}", expect = "service.py" } }
        [steps.health]
        uses = "http-check"
        needs = ["start"]
        pivot = true
        with = { base = "http://127.0.0.1:PORT", checks = [{ path = "/" }] }
        [steps.dies]
        uses = "command"
        needs = ["health"]
        compensate = "none"
        with = { program = "kill", args = ["-9", "{{ steps.start.pid }}"] }
        "#,
    );
    let said = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(8);
    let outcome = &events(&said, "outcome")[0];
    assert_eq!((outcome["outcome"].as_str(), &outcome["exit"], &outcome["answers"]), (Some("succeeded"), &8.into(), &false.into()));
    assert!(said.stderr.contains("nothing serves, the service does not answer"), "{}", said.stderr);
    assert!(!said.stderr.contains("Succeeded") && !said.stderr.contains("1.1.0 serves"), "{}", said.stderr);
    let told = log(&workspace);
    assert!(told.contains("] Down: measured") && told.contains("Nothing serves: the service does not answer."), "{told}");
    // One figure everywhere.
    let status = workspace.status();
    assert_eq!((&status["exit"], &status["serving"]["serves"]), (&8.into(), &"nothing".into()));
    assert_eq!(status["downtime_ms"], outcome["downtime_ms"]);
    let seconds = almaplan_steps::lang::span(outcome["downtime_ms"].as_f64().unwrap() / 1000.0, ".");
    assert!(told.contains(&format!("Downtime: {seconds}")) && said.stderr.contains(&seconds), "{seconds}: {told}{}", said.stderr);
    let runs = workspace.say(&["runs"]).expect(0).stdout;
    assert!(runs.contains("service not answering") && runs.contains("measured: nothing serves now"), "{runs}");
    let page = workspace.path("page.html");
    workspace.say(&["report", "last", "-o", page.to_str().unwrap()]).expect(0);
    assert!(fs::read_to_string(page).unwrap().contains(&seconds));
}

// 30 s of `/login` answering 500 were not counted as downtime.
#[test]
fn an_address_that_answers_wrongly_is_downtime() {
    let (workspace, port) = measured(
        r#"
        [steps.breaks]
        uses = "command"
        compensate = "none"
        with = { program = "python3", args = ["-c", "import pathlib, time; bad = pathlib.Path('bad'); bad.touch(); time.sleep(1.5); bad.unlink()"], cwd = "{{ plan.dir }}" }
        "#,
    );
    let service = start(command("python3").arg(workspace.path("service.py")).args([&port.to_string(), "0"]));
    wait_until("it serves", || http(port, "GET", "/", "", "").is_ok());
    let said = workspace.say(&["apply", "plan.toml", "--progress", "json"]).expect(0);
    let ms = events(&said, "outcome")[0]["downtime_ms"].as_u64().expect("it was down");
    assert!((1_000..60_000).contains(&ms), "{ms}");
    assert!(said.stderr.contains("1.1.0 serves"), "{}", said.stderr);
    drop(service);
}

// "Compensado, o que havia sido feito foi desfeito" when preflight had failed and nothing had been done.
#[test]
fn where_nothing_had_been_changed_that_is_said() {
    let (workspace, port) = measured(
        r#"
        [steps.preflight]
        uses = "preflight"
        with = { exists = ["{{ plan.dir }}/missing"] }
        [steps.work]
        uses = "command"
        needs = ["preflight"]
        compensate = "none"
        with = { program = "true" }
        "#,
    );
    let service = start(command("python3").arg(workspace.path("service.py")).args([&port.to_string(), "0"]));
    wait_until("it serves", || http(port, "GET", "/", "", "").is_ok());
    let said = workspace.say(&["apply", "plan.toml", "--progress", "plain"]).expect(3);
    assert!(said.stdout.contains("Nothing had been changed.") && said.stdout.contains("1.0.0 serves"), "{}", said.stdout);
    assert!(!said.stdout.contains("undone."), "{}", said.stdout);
    assert!(log(&workspace).contains("Nothing had been changed."), "{}", log(&workspace));
    assert_eq!(workspace.status()["standing"], "nothing-changed");
    // Nobody there, and nothing to wait for.
    drop(service);
    wait_until("it has ended", || http(port, "GET", "/", "", "").is_err());
    let said = workspace.say(&["apply", "plan.toml", "--progress", "plain"]).expect(8);
    assert!(said.stdout.contains("nothing serves") && said.stdout.contains("did not answer"), "{}", said.stdout);
    assert!(!said.stdout.contains("Service down:"), "what was down before is not counted: {}", said.stdout);
}

#[test]
fn what_serves_and_who_decided_it_is_told_of_the_sample_application() {
    // More than 5 s: the real application is deployed three times, and rolled back.
    let mut server = Server::new();
    let said = server.apply().expect(0);
    assert!(said.stderr.contains(": 1 serves"), "{}", said.stderr);
    let pid = server.pid();

    // The same release is left alone where the plan is told so.
    server.set("restart_unchanged", "false");
    let said = server.apply().expect(0);
    assert!(said.stderr.contains("Nothing changed: 1 serves"), "{}", said.stderr);
    assert_eq!(server.pid(), pid, "the service was left alone");
    assert_eq!(said.states("stop"), ["skipped"]);
    assert_eq!(server.status()["standing"], "unchanged");
    assert!(server.deploy_log().contains("] Nada mudou: "), "{}", server.deploy_log());

    // Another one is not.
    server.release("2");
    server.apply().expect(0);
    assert!(server.pid() != pid && server.version().as_deref() == Some("2"));
    assert_eq!(server.status()["serving"]["version"], "2");

    // A rolled back success and a failed deploy have words of their own.
    server.say(&["rollback", "--yes", "--lang", "en"]).expect(0);
    assert_eq!(server.version().as_deref(), Some("1"));
    let runs = server.say(&["runs", "--lang", "pt-BR"]).expect(0).stdout;
    assert!(runs.contains("Revertido por uma pessoa") && !runs.contains("Compensado"), "{runs}");
    assert!(runs.contains("almareia-producao: 1: atende, e responde agora"), "{runs}");
    let status: Value = server.status();
    assert_eq!(
        (&status["standing"], &status["serving"]["serves"], &status["serving"]["version"]),
        (&"rolled-back".into(), &"old".into(), &"1".into())
    );

    // A service that is down is started, also where the release is the same.
    let pid = server.pid();
    signal(pid, "-KILL");
    wait_until("it has ended", || !alive(pid));
    let status = server.status();
    assert_eq!((&status["serving"]["answers"], &status["asked_now"]), (&false.into(), &true.into()));
    server.release("1");
    server.apply().expect(0);
    assert_eq!(server.version().as_deref(), Some("1"));
}
