//! A secret goes wherever a plan sends it, and stays nowhere: not in the state, not in a log, not in anything that almaplan says.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use data_encoding::{BASE64, HEXLOWER};

use crate::support::{self, Said, Server, run};

/// How every canary begins and ends: letters and digits, which most encodings leave as they are, so that also a part of one is found.
const MARKS: [&str; 2] = ["c4n4ry", "z3nd"];
const TOKEN: &str = "c4n4ry/+&é\"\\'=<x> %z3nd";
/// The same as a part of an address.
const QUOTED: &str = "c4n4ry%2F%2B%26%C3%A9%22%5C%27%3D%3Cx%3E%20%25z3nd";
const KEY: &str = "c4n4ry one+/é\"'\n  second &line c4n4ry\\=\nthird z3nd\n";
/// One that a file can be called.
const NAME: &str = "c4n4ry é&=+ z3nd";
const NUMBER: &str = "481516234200";

/// Prints what is in `$T` and `$K` in every way in which programs print, cut in two wherever a pipe may cut, and at last fails.
const BABBLE: &str = r#"
import base64, html, json, os, sys, time, urllib.parse as u
for secret in (os.environ['T'], os.environ['K'], sys.argv[1]):
    raw = secret.encode()
    told = [secret, repr(secret), ascii(secret), repr(raw), json.dumps(secret), json.dumps(secret, ensure_ascii=False), html.escape(secret),
            u.quote(secret), u.quote(secret, safe=''), u.quote_plus(secret), u.quote(secret, safe='').lower(), raw.hex(), raw.hex().upper(),
            json.dumps(secret).replace('/', '\\/').replace('<', '\\u003c').replace('&', '\\u0026')]
    for before in ('', 'x', 'xx'):
        told += [base64.b64encode(before.encode() + raw + b'yyy').decode(), base64.urlsafe_b64encode(before.encode() + raw + b'yyy').decode()]
    for text in told:
        for stream in (sys.stdout, sys.stderr):
            half = len(text) // 2
            stream.write('said ' + text[:half]); stream.flush(); time.sleep(0.001)
            stream.write(text[half:] + ' end\n'); stream.flush()
# Where a line is cut because it is too long, and where the end that is kept begins.
for at in (3, 9, 20):
    print('x' * (65536 - at) + sys.argv[1])
sys.stdout.write(('y' * 40000 + os.environ['T']) * 3)
sys.exit(int(sys.argv[2]))
"#;

/// A service that keeps what it gets and answers with it: `/fail…` with 500, `/to…` with a redirect, anything else well.
fn echo() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, got) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while stream.read_line(&mut head).unwrap_or(0) > 2 {
                let line = head.lines().last().unwrap().to_ascii_lowercase();
                length = line.strip_prefix("content-length:").map_or(length, |length| length.trim().parse().unwrap());
                if head.ends_with("\r\n\r\n") {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let request = head + &String::from_utf8_lossy(&body);
            let status = match request.split(' ').nth(1).unwrap_or_default() {
                path if path.starts_with("/fail") => "500 No".to_owned(),
                path if path.starts_with("/to") => format!("302 There\r\nLocation: /fail{path}"),
                _ => "200 Fine".to_owned(),
            };
            kept.lock().unwrap().push(request.clone());
            // Padded, so that a secret is also where the shown part of a body ends.
            let answer = format!("{:>190}{TOKEN} {request}", "");
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            );
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    (port, got)
}

fn plan(port: u16, service: u16) -> String {
    // Every step fails or succeeds for itself.
    let step = |id: &str, uses: &str, with: &str| {
        format!(
            "[steps.{id}]\nuses = \"{uses}\"\non_failure = \"continue\"\ncompensate = \"none\"\ntimeout = \"60s\"\n[steps.{id}.with]\n{with}\n"
        )
    };
    let base = format!("base = \"http://127.0.0.1:{port}\"\ndeadline = \"50ms\"");
    let quoted = "{{ secrets.quoted }}";
    let secret_env = "env = { T = \"{{ secrets.token }}\", K = \"{{ secrets.key }}\" }";
    let steps = [
        step("babble", "command", &format!("program = \"python3\"\nargs = [\"babble.py\", \"{{{{ secrets.token }}}}\", 7]\n{secret_env}")),
        step("print", "command", &format!("program = \"python3\"\nargs = [\"babble.py\", \"{{{{ secrets.token }}}}\", 0]\n{secret_env}")),
        step("flow", "command", "program = \"echo\"\nargs = [\"{{ steps.print.stdout | length }}\", \"{{ steps.print.stderr | upper }}\", \"{{ secrets.token | tojson }}\", \"{{ secrets.token | e }}\"]"),
        step("deliver", "command", "program = \"printenv\"\nargs = [\"T\"]\nenv = { T = \"{{ secrets.token }}\" }\nstdout = \"{{ secrets.name }}.txt\""),
        step("missing", "command", "program = \"/no/{{ secrets.name }}\"\ncwd = \"{{ secrets.name }}\""),
        step("unfit", "watch", "pid = \"{{ secrets.token | trim }}\""),
        step("filter", "command", "program = \"echo\"\nargs = [\"{{ secrets.token | int }}\"]"),
        step("auth", "http-check", &format!("{base}\nchecks = [{{ path = \"/well?token={quoted}\", method = \"POST\", form = {{ p = \"{{{{ secrets.token }}}}\" }}, headers = {{ Authorization = \"Basic {{{{ secrets.basic }}}}\", X-Name = \"{{{{ secrets.basic }}}}\" }} }}]")),
        step("body", "http-check", &format!("{base}\nchecks = [{{ path = \"/fail/{quoted}\", method = \"POST\", body = {{ t = \"{{{{ secrets.token }}}}\", k = \"{{{{ secrets.key }}}}\", n = \"{{{{ secrets.number | int }}}}\" }} }}]")),
        step("json", "http-check", &format!("{base}\nchecks = [{{ path = \"/well\", json = {{ \"/t\" = \"{{{{ secrets.token }}}}\" }}, contains = \"{{{{ secrets.key }}}}\" }}]")),
        step("redirect", "http-check", &format!("{base}\nchecks = [{{ path = \"/to/{quoted}\" }}]")),
        step("no_url", "http-check", "base = \"{{ secrets.token }}\"\nchecks = [{ path = \"/\" }]"),
        step("preflight", "preflight", &format!("exists = [\"{{{{ secrets.name }}}}\"]\nprograms = [{{ program = \"{{{{ secrets.token }}}}\" }}]\nurl = [\"http://127.0.0.1:{port}/fail/{quoted}\"]\nwritable = [\"/proc/{{{{ secrets.name }}}}\"]")),
        step("backup", "backup", "source = \"{{ secrets.name }}\"\narchive = \"{{ secrets.name }}.zip\""),
        step("restore", "restore", "archive = \"/no/{{ secrets.name }}.zip\"\nto = \"{{ secrets.name }} to\""),
        step("stage", "stage", "from = \"/no/{{ secrets.name }}\"\nto = \"{{ secrets.name }} staged\""),
        step("sync", "sync", "from = \"/no/{{ secrets.name }}\"\nto = \"{{ secrets.name }} synced\""),
        step("dump", "db-backup", &format!("url = \"postgresql://smoke:{quoted}@127.0.0.1:1/shop\"\nfile = \"{{{{ secrets.name }}}}.dump\"")),
        step("load", "db-restore", &format!("url = \"mysql://smoke:{quoted}@127.0.0.1:1/shop\"\nfile = \"errors.log\"\nsha256 = \"00\"")),
        step("prune", "prune", "dir = \"{{ plan.dir }}\"\npattern = \"{{ secrets.name }}*\"\nkeep = 9"),
        step("environment", "python-env", "python = \"python3\"\nrequirements = \"{{ secrets.name }}\"\ndir = \"environments\""),
        step("download", "pip-download", "python = \"python3\"\nrequirements = \"{{ secrets.name }}\"\ndir = \"wheels\""),
        step("pip", "pip", "python = \"/no/{{ secrets.name }}\"\nrequirements = \"{{ secrets.name }}\"\nwheels = \"wheels\""),
        step("unpip", "pip-restore", "python = \"/no/{{ secrets.name }}\"\nbefore = \"{{ secrets.name }}\"\nwheels = \"wheels\""),
        step("log", "log-check", "files = [\"errors.log\", \"{{ secrets.name }}.log\"]\nsettle = \"0s\"\npatterns = [\"ERROR\"]"),
        step("watch", "watch", &format!("url = \"http://127.0.0.1:{port}/fail/{quoted}\"\nfor = \"30s\"\ninterval = \"50ms\"")),
        step("approval", "approval", "message = \"{{ secrets.token }} {{ secrets.key }}\"\ntimeout = \"50ms\""),
        step("notify", "notify", &format!("message = \"{{{{ secrets.token }}}} {{{{ secrets.key }}}}\"\nto = [\"console\", {{ webhook = \"http://127.0.0.1:{port}/hook/{quoted}\" }}, {{ webhook = \"http://127.0.0.1:{port}/fail/{quoted}\" }}, {{ smtp = \"smtp://user:{quoted}@127.0.0.1:1\", from = \"a@example.com\", to = \"{{{{ secrets.name }}}}\" }}]")),
        step("broken", "start-service", &format!("program = \"python3\"\nargs = [\"babble.py\", \"{{{{ secrets.token }}}}\", 4]\n{secret_env}\nport = {service}\nlog = \"broken.log\"")),
        step("unit", "service-control", "manager = \"systemd\"\nname = \"{{ secrets.token }}\"\nstate = \"running\"\ntool = \"echo\""),
        step("start", "start-service", &format!("program = \"python3\"\nargs = [\"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{service}\", \"--directory\", \"{{{{ secrets.name }}}}\"]\nport = {service}\nlog = \"{{{{ secrets.name }}}}.out\"")).replace("[steps.start]\n", "[steps.start]\nneeds = [\"broken\"]\n"),
        step("stop", "stop-service", &format!("port = {service}\nexpect = [\"{{{{ secrets.name }}}}\"]")).replace("[steps.stop]\n", "[steps.stop]\nneeds = [\"start\"]\n"),
    ];
    let head = "format = 1\n[plan]\nname = \"canary\"\n[secrets]\ntoken = { env = \"CANARY\" }\nname = { env = \"CANARY_NAME\" }\nbasic = { env = \"CANARY_BASIC\" }\nquoted = { env = \"CANARY_QUOTED\" }\nnumber = { env = \"CANARY_NUMBER\" }\nkey = { file = \"key.pem\" }\n";
    let record = "[finally.record]\nuses = \"deploy-log\"\nwith = { file = \"deploy_log.txt\", title = \"{{ secrets.token }}\", details = { Key = \"{{ secrets.key }}\" } }\n\
                  [finally.beside]\nuses = \"deploy-log\"\nwith = { file = \"no/such/deploy_log.txt\", title = \"{{ secrets.token }}\" }\n";
    format!("{head}{}{record}", steps.concat())
}

/// A server for the plan, with all that its steps look at.
struct Canary {
    server: Server,
    got: Arc<Mutex<Vec<String>>>,
}

impl Canary {
    fn new() -> Self {
        let server = Server::with_environments(PathBuf::new());
        let (port, got) = echo();
        fs::write(server.path("canary.toml"), plan(port, server.port)).unwrap();
        fs::write(server.path("babble.py"), BABBLE).unwrap();
        fs::write(server.path("key.pem"), KEY).unwrap();
        let error = format!("ERROR {TOKEN} {:>370}{TOKEN}\nTraceback (most recent call last):\n{KEY}\n", "");
        fs::write(server.path("errors.log"), error).unwrap();
        Self { server, got }
    }

    fn almaplan(&self, args: &[&str]) -> Command {
        let mut command = self.server.almaplan(args);
        command
            .env("CANARY", TOKEN)
            .env("CANARY_NAME", NAME)
            .env("CANARY_BASIC", BASE64.encode(TOKEN.as_bytes()))
            .env("CANARY_NUMBER", NUMBER)
            .env("CANARY_QUOTED", QUOTED);
        command
    }

    fn nothing_is_kept(&self) {
        for folder in [".almaplan", "machine"] {
            for file in support::tree(&self.server.path(folder), &|_| false).keys() {
                // The environment of what was stopped, so that it can come back (rule 22): for nobody else's eyes.
                if file.iter().any(|name| name == "private") {
                    let mode = fs::metadata(self.server.path(folder).join(file)).unwrap().permissions().mode();
                    assert_eq!(mode & 0o777, 0o600, "{}", file.display());
                    continue;
                }
                let bytes = fs::read(self.server.path(folder).join(file)).unwrap();
                nothing_in(&format!("{folder}/{}", file.display()), &bytes);
                nothing_in("a file's name", file.to_str().unwrap().as_bytes());
            }
        }
        nothing_in("deploy_log.txt", &fs::read(self.server.path("deploy_log.txt")).unwrap());
    }
}

fn nothing_in_said(what: &str, said: &Said) {
    nothing_in(&format!("standard output of {what}"), said.stdout.as_bytes());
    nothing_in(&format!("standard error of {what}"), said.stderr.as_bytes());
}

/// Panics where `bytes` have a canary, or a piece of one, as it is or encoded.
fn nothing_in(what: &str, bytes: &[u8]) {
    // The standard library is compiled to be fast, and this test is not.
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    for needle in needles() {
        if let Some(at) = text.find(&needle.to_ascii_lowercase()) {
            let around = &text.as_bytes()[at.saturating_sub(200)..text.len().min(at + 200)];
            panic!("`{needle}` is in {what}: … {} …", String::from_utf8_lossy(around));
        }
    }
}

/// What gives a canary away. None has a letter whose case matters to it.
fn needles() -> BTreeSet<String> {
    let mut needles: BTreeSet<String> = MARKS.map(str::to_owned).into();
    needles.insert(NUMBER.to_owned());
    let lines = KEY.lines().map(str::trim);
    for secret in [TOKEN, KEY, NAME].into_iter().chain(lines) {
        needles.insert(HEXLOWER.encode(secret.as_bytes()));
        for before in 0..3 {
            let mut bytes = vec![b'x'; before];
            bytes.extend(secret.as_bytes());
            let encoded = BASE64.encode(&bytes);
            // What neighbours decide too is left out at both ends.
            let core = &encoded[before * 8_usize.div_ceil(6)..bytes.len() * 8 / 6];
            needles.insert(core.to_owned());
            needles.insert(core.replace('+', "-").replace('/', "_"));
        }
    }
    needles
}

#[test]
fn the_plan_has_a_step_of_every_kind() {
    let plan = plan(1, 2);
    for kind in almaplan_steps::registry().iter() {
        assert!(plan.contains(&format!("uses = \"{}\"", kind.name)), "no step `uses` {}", kind.name);
    }
}

#[test]
fn a_canary_through_every_kind_is_delivered_and_found_nowhere() {
    // More than 5 s: steps of every kind, some of which wait for their limits, three times.
    let canary = Canary::new();
    for progress in ["json", "plain", "quiet"] {
        let said = run(&mut canary.almaplan(&["apply", "canary.toml", "--progress", progress]));
        nothing_in_said(&format!("apply --progress {progress}"), &said);
        assert_eq!(said.code, 0, "{}", said.all());
        if progress == "json" {
            succeeded_and_failed(&said);
        }
        canary.nothing_is_kept();
    }
    let run_id = run(&mut canary.almaplan(&["runs", "--json"])).stdout.split('"').find(|word| word.starts_with("20")).unwrap().to_owned();
    for args in [
        &["status"][..],
        &["status", &run_id],
        &["status", &run_id, "--json"],
        &["runs"],
        &["runs", "--json"],
        &["logs", &run_id],
        &["logs", &run_id, "babble"],
        &["report", &run_id, "-o", "-"],
        &["check", "canary.toml"],
        &["check", "canary.toml", "--json"],
        &["graph", "canary.toml"],
        &["graph", "canary.toml", "--format", "dot"],
        &["steps"],
    ] {
        nothing_in_said(&args.join(" "), &run(&mut canary.almaplan(args)));
    }
    delivered(&canary);
}

/// That the steps did what they were to do.
fn succeeded_and_failed(said: &Said) {
    let ends = |step: &str| said.states(step).pop().unwrap_or_default();
    for step in ["print", "flow", "deliver", "auth", "backup", "prune", "start", "stop"] {
        assert_eq!(
            ends(step),
            "succeeded",
            "{step}: {}",
            said.stdout.lines().filter(|line| line.contains(&format!("\"{step}\""))).collect::<String>()
        );
    }
    for step in ["babble", "missing", "body", "json", "redirect", "preflight", "log", "watch", "approval", "notify", "broken"] {
        assert_eq!(ends(step), "failed", "{step}");
    }
}

/// That masking did not reach what was sent.
fn delivered(canary: &Canary) {
    let file = fs::read_to_string(canary.server.path(format!("{NAME}.txt"))).unwrap();
    assert_eq!(file.trim_end_matches('\n'), TOKEN);
    let got = canary.got.lock().unwrap();
    let one = |path: &str| got.iter().find(|request| request.contains(path)).unwrap_or_else(|| panic!("no {path} in {got:?}"));
    assert!(one("/well?token=").contains(&format!("Basic {}", BASE64.encode(TOKEN.as_bytes()))));
    assert!(one("/well?token=").contains("p=c4n4ry%2F%2B%26%C3%A9%22%5C%27%3D%3Cx%3E+%25z3nd"));
    for (path, field, value) in [("/fail/c4n4ry", "t", TOKEN.to_owned()), ("/hook/", "message", format!("{TOKEN} {}", KEY.trim_end()))] {
        let post = got.iter().find(|request| request.starts_with("POST") && request.contains(path)).unwrap();
        let body: serde_json::Value = serde_json::from_str(post.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body[field], value.as_str(), "{path}");
    }
}

#[test]
fn a_canary_is_found_nowhere_after_a_crash_and_a_resume() {
    // More than 5 s: steps of every kind, some of which wait for their limits, three times.
    let canary = Canary::new();
    let crashed = run(canary
        .almaplan(&["apply", "canary.toml", "--progress", "json"])
        .env("ALMAPLAN_CRASH_AFTER_APPEND", "12")
        .env("ALMAPLAN_LOG", "trace"));
    assert_eq!(crashed.code, -1);
    nothing_in_said("a run that crashes", &crashed);
    for file in support::tree(&canary.server.path(".almaplan"), &|_| false).keys() {
        nothing_in(file.to_str().unwrap(), &fs::read(canary.server.path(".almaplan").join(file)).unwrap());
    }
    for _ in 0..2 {
        nothing_in_said("resume", &run(&mut canary.almaplan(&["resume", "--progress", "plain"])));
    }
    nothing_in_said("abort", &run(&mut canary.almaplan(&["abort", "--yes"])));
    canary.nothing_is_kept();
}
