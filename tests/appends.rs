//! A run is killed at every append, and whatever goes on with it is killed at every append again: it always ends as the one that was
//! not killed: the files, the service, the log for people, and the journal itself. In between nothing false is told.
//!
//! The kinds are real, on a real folder and a real service; the plan is as small as can be, so that every pair of appends can be tried.
//! By default a sample of the pairs is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use almaplan_engine::event::{Event, Fact, Part, RunFact, RunId, StepId};
use almaplan_engine::sqlite::Store;
use almaplan_steps::process;
use serde_json::Value;

use crate::support::programs::fake_python;
use crate::support::sample;
use crate::support::workspace::Workspace;
use crate::support::{self, CRASHED, Said, http, run, tree};

/// One step at a time: what a crash finds done is then the same each time.
const PLAN: &str = r#"
format = 1
[plan]
name = "small"
lock = "{{ plan.dir }}/live"
max_parallel = 1
lang = "en"
[vars]
port = 0
service = ""
grace = "10s"
[steps.backup]
uses = "backup"
compensate = "none"
with = { source = "live", archive = "backups/{{ run.id }}.zip" }
[steps.stage]
uses = "stage"
needs = ["backup"]
compensate = "none"
with = { from = "dev", to = "live", exclude = ["*.log", "deploy_log.txt"] }
[steps.stop]
uses = "stop-service"
needs = ["stage"]
with = { port = "{{ vars.port }}", expect = ["{{ plan.dir }}/live"], grace = "{{ vars.grace }}" }
[[steps.stop.compensate]]
uses = "stop-service"
when = "steps.stop.pid is not none"
with = { port = "{{ vars.port }}", pid = "{{ steps.stop.pid }}", expect = ["{{ plan.dir }}/live"], grace = "{{ vars.grace }}" }
[[steps.stop.compensate]]
uses = "start-service"
when = "steps.stop.pid is not none"
with = { program = "{{ steps.stop.program | default('', true) }}", args = "{{ steps.stop.args | default([], true) }}", cwd = "{{ steps.stop.cwd }}", port = "{{ vars.port }}", log = "logs/{{ run.id }}_back.log" }
[[steps.stop.compensate]]
uses = "http-check"
when = "steps.stop.pid is not none"
with = { base = "http://127.0.0.1:{{ vars.port }}", checks = [{ path = "/", status = 200 }], deadline = "30s", interval = "20ms" }
[steps.update]
uses = "sync"
needs = ["stop"]
with = { staged = "{{ steps.stage.dir }}", to = "live", exclude = ["*.log", "deploy_log.txt"] }
[steps.update.compensate]
uses = "restore"
with = { archive = "{{ steps.backup.archive }}", to = "live", keep_failed_as = "failed_{{ run.id }}", preserve = ["*.log", "deploy_log.txt"] }
[steps.start]
uses = "start-service"
needs = ["update"]
with = { program = "{{ vars.service }}", args = ["{{ plan.dir }}/live/serve.py", "--port={{ vars.port }}"], cwd = "logs", port = "{{ vars.port }}", log = "logs/{{ run.id }}.log" }
[steps.start.compensate]
uses = "stop-service"
with = { port = "{{ vars.port }}", pid = "{{ steps.start.pid }}", expect = ["{{ plan.dir }}/live"], grace = "{{ vars.grace }}" }
[steps.health]
uses = "http-check"
needs = ["start"]
with = { base = "http://127.0.0.1:{{ vars.port }}", checks = [{ path = "/", status = 200 }], pid = "{{ steps.start.pid }}", deadline = "30s", interval = "20ms" }
[steps.accept]
uses = "command"
needs = ["health"]
pivot = true
compensate = "none"
with = { program = "test_program", args = ["missing", "live/fault"], idempotent = true }
[finally.record]
uses = "deploy-log"
with = { file = "live/deploy_log.txt" }
"#;

/// A folder with the plan on which version `v000` serves.
struct Site {
    workspace: Workspace,
    port: u16,
    version: u32,
}

impl Site {
    fn new() -> Self {
        let workspace = Workspace::new();
        for folder in ["dev", "live", "backups", "logs"] {
            fs::create_dir(workspace.path(folder)).unwrap();
        }
        workspace.write("plan.toml", PLAN);
        workspace.write("dev/serve.py", "");
        let mut site = Self { workspace, port: support::free_port(), version: 0 };
        site.release(false);
        site.apply(None).expect(0);
        site
    }

    /// The development folder holds another version from now on; which one.
    fn release(&mut self, fault: bool) -> String {
        self.version += 1;
        let version = format!("v{:04}", self.version);
        for entry in fs::read_dir(self.workspace.path("dev")).unwrap().map(|entry| entry.unwrap().path()) {
            if !entry.ends_with("serve.py") {
                fs::remove_file(entry).unwrap();
            }
        }
        self.workspace.write("dev/VERSION", &version);
        self.workspace.write(&format!("dev/only_in_{version}"), &version);
        if fault {
            self.workspace.write("dev/fault", "");
        }
        version
    }

    fn apply(&self, crash: Option<u32>) -> Said {
        let port = format!("port={}", self.port);
        let service = format!("service={}", fake_python().display());
        // Wine lets no Ctrl+C through to a service whose starter has ended.
        let grace = if cfg!(windows) { "grace=100ms" } else { "grace=10s" };
        self.say(&["apply", "plan.toml", "--var", &port, "--var", &service, "--var", grace], crash)
    }

    /// `almaplan ARGS`, killed after so many appends of its own.
    fn say(&self, args: &[&str], crash: Option<u32>) -> Said {
        let mut command = self.workspace.almaplan(args);
        command.args(["--progress", "json"]).envs(crash.map(|appends| ("ALMAPLAN_CRASH_AFTER_APPEND", appends.to_string())));
        run(&mut command)
    }

    fn store(&self) -> Store {
        Store::open(&self.workspace.path(".almaplan")).unwrap()
    }

    /// The newest run.
    fn run(&self) -> RunId {
        self.store().runs().unwrap()[0].run.clone()
    }

    fn events(&self, run: &RunId) -> Vec<Event> {
        self.store().read(run).unwrap().into_iter().map(|record| record.event).collect()
    }

    fn serves(&self) -> Option<String> {
        let (_, body) = http(self.port, "GET", "/api/status", "", "").ok().filter(|(status, _)| *status == 200)?;
        let body: Value = serde_json::from_str(&body).unwrap();
        Some(body["version"].as_str().unwrap().to_owned())
    }

    /// They alone work where the logs are.
    fn services(&self) -> Vec<u32> {
        process::users_of(&self.workspace.path("logs"))
    }

    fn files(&self) -> BTreeMap<PathBuf, String> {
        tree(&self.workspace.path("live"), &|path| is_ours(path))
    }

    /// The headlines of the entries that `run` has in the log for people.
    fn entries(&self, run: &RunId) -> Vec<String> {
        let log = fs::read_to_string(self.workspace.path("live/deploy_log.txt")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let of_run = |pair: &&[&str]| pair[1].trim() == format!("Run: {run}");
        let status = |pair: &[&str]| pair[0].split("] ").nth(1).unwrap().split(':').next().unwrap().to_owned();
        lines.windows(2).filter(of_run).map(status).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for service in self.services().into_iter().filter_map(process::identify) {
            process::kill_now(&mut process::Tree::of(&service));
        }
    }
}

fn is_ours(path: &Path) -> bool {
    ["deploy_log.txt", "app.log", ".almaplan"].iter().any(|name| path.to_str().unwrap().contains(name))
}

// ---- what is compared -------------------------------------------------------------------------------------------------

/// What a run came to, as its journal tells it: every verdict in order, but for what is another one each time, and without the
/// attempts that were repeated.
fn story(site: &Site, run: &RunId) -> Vec<String> {
    let mut recorded = BTreeSet::new();
    let told = site.events(run).into_iter().filter(|event| match event {
        Event::Run(RunFact::Opened(_) | RunFact::Aborted { .. } | RunFact::Settled(_)) => true,
        Event::Run(RunFact::Resumed { .. } | RunFact::Rebooted { .. }) => false,
        Event::Run(RunFact::Unreachable | RunFact::Reachable(_) | RunFact::Asked(_)) => false,
        Event::Step(step, Fact::Recorded { part, name, .. }) => recorded.insert(format!("{step} {part:?} {name}")),
        Event::Step(_, Fact::Started { .. } | Fact::Spawned { .. } | Fact::UndoStarted { .. } | Fact::Unknown) => false,
        Event::Step(..) => true,
    });
    told.map(|event| timeless(site, run, event)).collect()
}

fn timeless(site: &Site, run: &RunId, event: Event) -> String {
    if matches!(event, Event::Run(RunFact::Opened(_))) {
        return "opened".to_owned();
    }
    let mut value = serde_json::to_value(event).unwrap();
    forget(&mut value);
    let version = format!("v{:04}", site.version);
    // As it is written in JSON.
    let folder = serde_json::to_string(site.workspace.path("live").parent().unwrap()).unwrap();
    let port = site.port.to_string();
    let names = [(run.as_str(), "RUN"), (folder.trim_matches('"'), "SITE"), (&version, "VERSION"), (&port, "PORT")];
    names.into_iter().fold(value.to_string(), |text, (name, instead)| text.replace(name, instead))
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                let by_chance = ["pid", "started", "latency", "sha256", "bytes", "read", "ready_ms"].contains(&key.as_str());
                if by_chance || (cfg!(windows) && key == "forced") { *value = Value::Null } else { forget(value) }
            }
            if map.get("name").is_some_and(|name| name == "pid") {
                map.insert("value".to_owned(), Value::Null);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(forget),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The last thing that happened to a step.
fn last_fact<'a>(events: &'a [Event], step: &str) -> Option<&'a Fact> {
    events.iter().rev().find_map(|event| match event {
        Event::Step(id, fact) if *id == StepId::new(step) => Some(fact),
        Event::Step(..) | Event::Run(_) => None,
    })
}

/// Where a step is while nobody has its run, as its last fact tells.
fn state_after(step: &str, fact: Option<&Fact>) -> &'static str {
    let last_part = if step == "stop" { 2 } else { 0 };
    match fact {
        None => "pending",
        // What was live: a `finally` step is simply done again.
        Some(Fact::Started { .. } | Fact::Recorded { part: Part::Action, .. } | Fact::Spawned { part: Part::Action, .. })
            if step != "record" =>
        {
            "unknown"
        }
        Some(Fact::Started { .. }) => "pending",
        Some(Fact::Succeeded(_)) => "succeeded",
        Some(Fact::Failed(_)) => "failed",
        Some(Fact::Skipped) => "skipped",
        Some(Fact::NotRun) => "not-run",
        Some(Fact::Undone { part }) if *part == last_part => "undone",
        Some(Fact::Undone { .. } | Fact::UndoStarted { .. } | Fact::Recorded { .. } | Fact::Spawned { .. }) => "undo-started",
        Some(fact @ (Fact::Unknown | Fact::Lost { .. } | Fact::Resolved(_) | Fact::UndoFailed { .. })) => {
            panic!("this does not happen here: {fact:?}")
        }
    }
}

/// What `status` and `runs` say of a run that was killed is what its journal says.
fn nothing_false_is_told(site: &Site, what: &str) {
    let run = site.run();
    let events = site.events(&run);
    let said = |command: &str| -> Value { serde_json::from_str(&site.workspace.say(&[command, "--json"]).expect(0).stdout).unwrap() };
    let (status, runs) = (said("status"), said("runs"));

    for step in status["steps"].as_array().unwrap() {
        let name = step["step"].as_str().unwrap();
        let last = last_fact(&events, name);
        assert_eq!(step["state"], state_after(name, last), "{what}: {name} after {last:?} in {status}");
    }
    let settled = events.iter().rev().find_map(|event| match event {
        Event::Run(RunFact::Settled(outcome)) => Some(Some(outcome.as_str())),
        Event::Run(RunFact::Aborted { .. }) => Some(None),
        Event::Run(_) | Event::Step(..) => None,
    });
    let outcome = settled.flatten();
    let over = outcome.is_some() && matches!(last_fact(&events, "record"), Some(Fact::Succeeded(_)));
    let next = format!("almaplan resume {run}");
    assert_eq!(status["outcome"].as_str(), outcome, "{what}: {status}");
    assert_eq!(status["state"], if over { "settled" } else { "interrupted" }, "{what}: {status}");
    assert_eq!(status["next"][0].as_str(), (!over).then_some(next.as_str()), "{what}: {status}");
    assert_eq!(status["pid"], Value::Null, "{what}: {status}");
    for key in ["run", "state", "outcome"] {
        assert_eq!(runs["runs"][0][key], status[key], "{what}: {runs}, but {status}");
    }
}

/// How a run ended: what must be the same whether it was killed or not.
#[derive(Debug, PartialEq)]
struct End {
    story: Vec<String>,
    /// Whose files are live.
    files: &'static str,
    /// Which version serves.
    serves: String,
    services: usize,
    entries: Vec<String>,
}

impl End {
    fn is(&self, other: &Self, what: &str) {
        let differ = |(a, b): &(&String, &String)| a != b;
        let first = self.story.iter().zip(&other.story).find(differ);
        assert!(self == other, "{what}: first difference {first:#?}, in {self:#?} instead of {other:#?}");
    }

    /// How the newest run ended, in which this version was to take the place of what was there before.
    fn of(site: &Site, version: &str, before: &Before) -> Self {
        let (run, files, serves) = (site.run(), site.files(), site.serves());
        let files = match &files {
            files if *files == tree(&site.workspace.path("dev"), &is_ours) => "new",
            files if *files == before.files => "old",
            _ => "neither",
        };
        let serves = match serves.as_deref() {
            Some(serves) if serves == version => "new".to_owned(),
            serves if serves == before.serves.as_deref() => "old".to_owned(),
            serves => format!("{serves:?}"),
        };
        Self { story: story(site, &run), files, serves, services: site.services().len(), entries: site.entries(&run) }
    }
}

/// What was live before a run.
struct Before {
    files: BTreeMap<PathBuf, String>,
    serves: Option<String>,
}

impl Before {
    fn of(site: &Site) -> Self {
        Self { files: site.files(), serves: site.serves() }
    }
}

/// More appends than any of the runs makes: whoever reaches it did not crash.
const MOST_APPENDS: u32 = 100;

/// Sites at work at the same time: most of a run is waiting.
const SITES: usize = 3;

/// Of all first and of all second appends one in so many is tried: a pair takes a second, under Wine some.
const FIRST_IN: u32 = if cfg!(windows) { 10 } else { 4 };
const SECOND_IN: u32 = if cfg!(windows) { 10 } else { 6 };
const PAIR_IN: usize = (FIRST_IN * SECOND_IN) as usize;

/// Which second appends are tried after this first one. So many runs as pairs are one of try all of them.
fn seconds(first: u32) -> impl Iterator<Item = u32> {
    (1..MOST_APPENDS).filter(move |second| sample::has(PAIR_IN, (first % FIRST_IN + second % SECOND_IN * FIRST_IN) as usize))
}

/// A command, which may be killed.
type Act = fn(&Site, Option<u32>) -> Said;

/// What is tried: `begin` is killed at every append, what goes on with it at every append too, and then it is finished.
struct Trial {
    fault: bool,
    /// Puts the site where `begin` begins.
    prepare: fn(&Site),
    begin: Act,
    go_on: Act,
    finish: Act,
    /// What all of it must end with.
    exit: i32,
}

impl Trial {
    /// How it ends where nobody is killed.
    fn undisturbed(&self) -> End {
        let mut site = Site::new();
        let (version, before) = self.set_up(&mut site);
        (self.begin)(&site, None);
        End::of(&site, &version, &before)
    }

    fn set_up(&self, site: &mut Site) -> (String, Before) {
        let before = Before::of(site);
        let version = site.release(self.fault);
        (self.prepare)(site);
        (version, before)
    }

    /// One pair of crashes: how it ended, and whether the second was killed before it had; `None` where the first was not.
    fn killed_at(&self, site: &mut Site, first: u32, second: u32) -> Option<(End, bool)> {
        let (version, before) = self.set_up(site);
        let what = format!("killed at append {first}, then at {second}");
        let begun = (self.begin)(site, Some(first));
        if begun.code != CRASHED {
            return None;
        }
        nothing_false_is_told(site, &what);
        let gone_on = (self.go_on)(site, Some(second));
        let killed = gone_on.code == CRASHED;
        let said = if killed {
            nothing_false_is_told(site, &what);
            (self.finish)(site, None)
        } else {
            gone_on
        };
        assert!(said.code == self.exit || is_over_already(&said), "{what}: {}", said.all());
        Some((End::of(site, &version, &before), killed))
    }

    /// Every pair of the sample, by several sites at once; how many pairs.
    fn at_every_append(&self, is_right: impl Fn(u32, u32, End) + Sync) -> usize {
        let (next, pairs) = (AtomicU32::new(1), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..SITES {
                scope.spawn(|| {
                    let mut site = Site::new();
                    loop {
                        let first = next.fetch_add(1, Ordering::Relaxed);
                        for second in seconds(first) {
                            let Some((end, killed)) = self.killed_at(&mut site, first, second) else { return };
                            is_right(first, second, end);
                            pairs.fetch_add(1, Ordering::Relaxed);
                            if !killed {
                                break;
                            }
                        }
                    }
                });
            }
        });
        let pairs = pairs.into_inner();
        println!("{pairs} pairs");
        pairs
    }
}

/// Killed behind the last event, the run is over, and there is nothing to go on with.
fn is_over_already(said: &Said) -> bool {
    said.code == 2 && said.all().contains("already-settled")
}

fn resume(site: &Site, crash: Option<u32>) -> Said {
    site.say(&["resume"], crash)
}

#[test]
fn a_deploy_and_its_resume_killed_at_every_append_end_as_a_deploy() {
    // More than 5 s: each pair of crashes is four commands and more, and a service that stops and boots.
    let trial = Trial { fault: false, prepare: |_| {}, begin: Site::apply, go_on: resume, finish: resume, exit: 0 };
    let undisturbed = trial.undisturbed();
    assert_eq!((undisturbed.files, undisturbed.serves.as_str(), undisturbed.services), ("new", "new", 1), "{undisturbed:#?}");
    assert_eq!(undisturbed.entries, ["Success"]);
    let pairs = trial.at_every_append(|first, second, end| end.is(&undisturbed, &format!("killed at {first}, then at {second}")));
    assert!(pairs > sample::share(PAIR_IN, 100), "{pairs}");
}

#[test]
fn a_failing_deploy_and_its_resume_killed_at_every_append_end_as_a_rollback() {
    // More than 5 s: each pair of crashes is four commands and more, and a service that stops and boots.
    let trial = Trial { fault: true, prepare: |_| {}, begin: Site::apply, go_on: resume, finish: resume, exit: 3 };
    let undisturbed = trial.undisturbed();
    assert_eq!((undisturbed.files, undisturbed.serves.as_str(), undisturbed.services), ("old", "old", 1), "{undisturbed:#?}");
    assert_eq!(undisturbed.entries, ["Rollback"]);
    let pairs = trial.at_every_append(|first, second, end| end.is(&undisturbed, &format!("killed at {first}, then at {second}")));
    assert!(pairs > sample::share(PAIR_IN, 300), "{pairs}");
}

#[test]
fn a_rollback_and_its_resume_killed_at_every_append_end_as_a_rollback() {
    // More than 5 s: each pair of crashes is four commands and more, and a service that stops and boots.
    let prepare = |site: &Site| drop(site.apply(None).expect(0));
    let begin = |site: &Site, crash| site.say(&["rollback", "--yes"], crash);
    let trial = Trial { fault: false, prepare, begin, go_on: resume, finish: resume, exit: 3 };
    let undisturbed = trial.undisturbed();
    assert_eq!((undisturbed.files, undisturbed.serves.as_str(), undisturbed.services), ("old", "old", 1), "{undisturbed:#?}");
    assert_eq!(undisturbed.entries, ["Success", "Rollback"]);
    let pairs = trial.at_every_append(|first, second, end| end.is(&undisturbed, &format!("killed at {first}, then at {second}")));
    assert!(pairs > sample::share(PAIR_IN, 80), "{pairs}");
}

#[test]
fn an_abort_killed_at_every_append_of_a_deploy_killed_at_every_append_ends_as_one_that_was_not_killed() {
    // More than 5 s: each pair of crashes is four commands and more, and a service that stops and boots.
    // A second abort settled a run again that the first one had settled.
    let abort: Act = |site, crash| site.say(&["abort", "--yes"], crash);
    let trial = Trial { fault: false, prepare: |_| {}, begin: Site::apply, go_on: abort, finish: abort, exit: 0 };
    let ends = Mutex::new(BTreeMap::<u32, Vec<End>>::new());
    let pairs = trial.at_every_append(|first, _, end| ends.lock().unwrap().entry(first).or_default().push(end));
    for (first, ends) in ends.into_inner().unwrap() {
        // The last abort of each deploy was not killed any more.
        let undisturbed = ends.last().unwrap();
        // Killed behind its last event a deploy is over, and no abort undoes it.
        let over = undisturbed.entries == ["Success"];
        let live = if over { "new" } else { "old" };
        assert_eq!(
            (undisturbed.files, undisturbed.serves.as_str(), undisturbed.services),
            (live, live, 1),
            "killed at {first}: {undisturbed:#?}"
        );
        let of_undoing = undisturbed.entries.iter().filter(|entry| *entry != "Success");
        assert_eq!(of_undoing.count(), usize::from(!over), "killed at {first}: {undisturbed:#?}");
        ends.iter().enumerate().for_each(|(at, end)| end.is(undisturbed, &format!("killed at {first}, then at {}", at + 1)));
    }
    assert!(pairs > sample::share(PAIR_IN, 100), "{pairs}");
}
