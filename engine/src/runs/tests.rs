#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::context::Context;
use crate::event::{Effect, Failure, OnInterrupt, Outcome, ProcessIdentity, RunId, StepId, WrongAnswer};
use crate::host::{BoxFuture, ServiceCheck};
use crate::kind::{Kind, Traits};
use crate::plan;
use crate::update::Ending;

/// Does what it is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Act {
    /// What: `work`, or anything else to fail.
    what: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}

impl Kind for Act {
    const KIND: &'static str = "act";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Ask);
    type Output = Nothing;

    async fn run(&self, _: &Context) -> Result<Nothing, Failure> {
        if self.what == "work" { Ok(Nothing {}) } else { Err(Failure::dirty(&self.what)) }
    }
}

/// A machine on which everything lives and nothing is measured.
pub(super) struct Machine;

impl Host for Machine {
    fn boot(&self) -> String {
        "boot".to_owned()
    }

    fn end<'a>(&'a self, _: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn wrong_answer<'a>(&'a self, _: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>> {
        Box::pin(async { None })
    }

    fn is_alive(&self, _: u32) -> bool {
        true
    }
}

/// A state folder on a machine of its own.
struct Workspace {
    folder: TempDir,
    runs: Runs,
}

impl Workspace {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs {
            registry: Arc::new(crate::registry::Registry::default().with::<Act>()),
            host: Arc::new(Machine),
            lock_folder: folder.path().join("locks"),
            state_dir: folder.path().join("state"),
            only_here: false,
            env: Arc::new(|name| (name == "TOKEN").then(|| "the secret".to_owned())),
            zone: jiff::tz::TimeZone::UTC,
            user: "ana".to_owned(),
            pid: std::process::id(),
        };
        Self { folder, runs }
    }

    /// The same machine, seen with another state folder.
    fn elsewhere(&self) -> Runs {
        Runs { state_dir: self.folder.path().join("elsewhere"), ..self.runs.clone() }
    }

    fn new_run(&self, name: &str, what: &str) -> NewRun {
        let text = format!(
            "format = 1\n[plan]\nname = \"{name}\"\n[steps.one]\nuses = \"act\"\nwith = {{ what = \"work\" }}\n\
             compensate = {{ uses = \"act\", with = {{ what = \"work\" }} }}\n\
             [steps.two]\nuses = \"act\"\nneeds = [\"one\"]\nwith = {{ what = \"{what}\" }}\ncompensate = \"none\"\n"
        );
        let loaded = plan::load(&text, &self.folder.path().join("plan.toml"), &self.runs.registry);
        NewRun::of(loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes)), Timestamp::now())
    }

    fn run(&self, what: &str) -> EndedRun {
        execute(self.runs.begin(self.new_run("plan", what), Options::silent()).unwrap())
    }

    /// A run whose process ended before its first step did.
    fn interrupted(&self) -> RunId {
        let run = self.runs.begin(self.new_run("plan", "work"), Options::silent()).unwrap();
        run.id().clone()
    }
}

fn execute(run: ActiveRun) -> EndedRun {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_orders, receiver) = mpsc::channel(1);
    runtime.block_on(run.execute(receiver))
}

fn commands(next: &[NextCommand]) -> Vec<String> {
    next.iter().map(ToString::to_string).collect()
}

#[test]
fn a_run_that_is_settled_is_in_nobodys_way() {
    let workspace = Workspace::new();
    let first = workspace.run("work");
    assert_eq!(first.ending, Ending::Settled(Outcome::Succeeded));
    assert!(first.next.is_empty() && first.problems.is_empty(), "{:?} {:?}", first.next, first.problems);
    let found = workspace.runs.find(&first.run).unwrap();
    assert!(found.row.finished && !found.is_open());
    assert_eq!(workspace.runs.record_of(&found.row).unwrap(), None);
    let second = workspace.run("fail");
    assert_eq!(second.ending, Ending::Settled(Outcome::Compensated));
}

// What was stopped is back, or can be brought back by a rollback, also of an older run once the newer one is undone.
#[test]
fn what_a_run_kept_in_private_stays_as_long_as_it_can_be_undone() {
    let workspace = Workspace::new();
    let private = |run: &RunId| {
        let folder = crate::context::private_folder(&workspace.runs.state_dir.join("runs").join(run.as_str()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let runs = [workspace.run("work").run, workspace.run("work").run];
    let [older, newer] = runs.each_ref().map(private);
    for (run, forgotten, kept) in [(&runs[1], &newer, Some(&older)), (&runs[0], &older, None)] {
        let found = workspace.runs.find(run).unwrap();
        execute(workspace.runs.take_over(found, Purpose::Rollback, Options::silent()).unwrap());
        assert!(!forgotten.exists() && kept.is_none_or(|folder| folder.exists()), "{run}");
    }
}

#[test]
fn a_run_that_a_process_left_blocks_another_one_and_is_gone_on_with_from_anywhere() {
    let workspace = Workspace::new();
    let run = workspace.interrupted();
    let refused = workspace.runs.begin(workspace.new_run("plan", "work"), Options::silent()).map(drop);
    let Err(RunError::Unsettled { holder, next }) = refused else { panic!("{refused:?}") };
    assert_eq!((&holder.run, holder.next), (&run, format!("almaplan resume {run}")));
    assert_eq!(commands(&next), [format!("almaplan resume {run}"), format!("almaplan abort {run}")]);
    // From a folder that knows nothing of it.
    let elsewhere = workspace.elsewhere();
    let found = elsewhere.find_open().unwrap().unwrap();
    assert_eq!(found.row.run, run);
    let replay = found.replay(&elsewhere.registry).unwrap();
    assert_eq!(replay.ending(), Ending::Interrupted);
    assert_eq!(
        commands(&next_commands(&run, replay.ending(), &replay.saga)),
        [format!("almaplan resume {run}"), format!("almaplan abort {run}")]
    );
    let ended = execute(elsewhere.take_over(found, Purpose::Resume, Options::silent()).unwrap());
    assert_eq!((ended.run, ended.ending), (run, Ending::Settled(Outcome::Succeeded)));
}

#[test]
fn a_run_is_taken_over_only_for_what_it_is_fit_for() {
    let workspace = Workspace::new();
    let (runs, open) = (&workspace.runs, workspace.interrupted());
    let found = |run: &RunId| runs.find(run).unwrap();
    let takes = |run: &RunId, purpose| runs.take_over(found(run), purpose, Options::silent()).map(execute);
    let refused = takes(&open, Purpose::Rollback);
    assert!(matches!(refused, Err(RunError::Unsettled { .. })), "{refused:?}");
    assert_eq!(takes(&open, Purpose::Abort).unwrap().ending, Ending::Settled(Outcome::Compensated));
    let refused = takes(&open, Purpose::Abort);
    assert!(matches!(refused, Err(RunError::AlreadySettled { outcome: Some(Outcome::Compensated), .. })), "{refused:?}");
    let (older, newer) = (workspace.run("work").run, workspace.run("work").run);
    let refused = takes(&older, Purpose::Rollback);
    assert!(matches!(&refused, Err(RunError::NewerRun { newer: found, .. }) if *found == newer), "{refused:?}");
    assert_eq!(takes(&newer, Purpose::Rollback).unwrap().ending, Ending::Settled(Outcome::Compensated));
    assert_eq!(takes(&older, Purpose::Rollback).unwrap().ending, Ending::Settled(Outcome::Compensated));
}

#[test]
fn an_answer_to_what_nobody_asks_is_refused() {
    let workspace = Workspace::new();
    let run = workspace.run("work").run;
    let answer = |step: &str| {
        let found = workspace.runs.find(&run).unwrap();
        workspace.runs.answer(found, &StepId::new(step), Word::NotDone, None)
    };
    assert!(matches!(answer("one"), Err(RunError::NotAsked { .. })));
    assert!(matches!(answer("three"), Err(RunError::UnknownStep { .. })));
}

#[test]
fn a_part_of_an_id_means_the_only_run_that_has_it() {
    let workspace = Workspace::new();
    let runs = &workspace.runs;
    let begin = |id: &str, name: &str| {
        let new = workspace.new_run(name, "work");
        match runs.begin_once(&chosen_id(id).unwrap(), new, Options::silent()).unwrap() {
            BegunOnce::Begun(run) => execute(run),
            BegunOnce::Exists(found) => panic!("{:?}", found.row),
        }
    };
    for id in ["build-7", "build-71", "other-2"] {
        begin(id, "plan");
    }
    let find = |part: &str| runs.find(&RunId::new(part)).map(|found| found.row.run.to_string());
    assert_eq!(find("build-7").unwrap(), "build-7", "an id is meant rather than a part of another one");
    assert_eq!(find("71").unwrap(), "build-71");
    assert_eq!(find("last").unwrap(), "other-2");
    let many = find("build");
    assert!(matches!(&many, Err(RunError::ManyRuns(runs)) if runs.len() == 2), "{many:?}");
    assert!(matches!(find("nothing"), Err(RunError::UnknownRun(_))));
    // On the machine's records, from a folder that knows of no run.
    let left = workspace.interrupted();
    let elsewhere = workspace.elsewhere();
    let tail = &left.as_str()[left.as_str().len() - 4..];
    for part in [tail, "last"] {
        assert_eq!(elsewhere.find(&RunId::new(part)).unwrap().row.run, left, "{part}");
    }
}

#[test]
fn of_many_who_begin_a_run_of_one_id_exactly_one_does() {
    for _ in 0..8 {
        let workspace = Workspace::new();
        let (start, begun) = (Barrier::new(4), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let new = workspace.new_run("plan", "work");
                    start.wait();
                    match workspace.runs.begin_once(&RunId::new("deploy-1"), new, Options::silent()).unwrap() {
                        BegunOnce::Begun(run) => begun.lock().unwrap().push(run),
                        BegunOnce::Exists(found) => assert_eq!(found.row.run.as_str(), "deploy-1"),
                    }
                });
            }
        });
        let mut begun = begun.into_inner().unwrap();
        assert_eq!(begun.len(), 1);
        assert_eq!(execute(begun.remove(0)).ending, Ending::Settled(Outcome::Succeeded));
        assert_eq!(workspace.runs.history().unwrap().unwrap().len(), 1);
    }
}

#[test]
fn an_id_belongs_to_one_plan_whatever_its_case() {
    let workspace = Workspace::new();
    let begin = |id: &str, name: &str| workspace.runs.begin_once(&RunId::new(id), workspace.new_run(name, "work"), Options::silent());
    assert!(matches!(begin("Deploy-1", "plan"), Ok(BegunOnce::Begun(_))));
    assert!(matches!(begin("deploy-1", "plan"), Ok(BegunOnce::Exists(found)) if found.row.run.as_str() == "Deploy-1"));
    assert!(matches!(begin("Deploy-1", "another"), Err(RunError::OtherPlan { plan, .. }) if plan == "plan"));
}

#[test]
fn an_id_that_is_chosen_is_the_name_of_a_folder_on_each_system() {
    for good in ["1", "build-7_b", "20260206-141502-k3f9", &"x".repeat(64)] {
        assert_eq!(chosen_id(good).unwrap().as_str(), good);
    }
    let bad =
        ["", ".", "..", "a/b", "a\\b", "-x", "_x", "a b", "ação", "a.b", "a:b", "last", "LAST", "nul", "Com1", "LPT9", &"x".repeat(65)];
    let accepted: BTreeSet<_> = bad.into_iter().filter(|id| chosen_id(id).is_ok()).collect();
    assert!(accepted.is_empty(), "{accepted:?}");
    assert!(chosen_id("com10").is_ok() && chosen_id("console").is_ok());
}

#[test]
fn a_secret_is_read_where_the_plan_says_and_refused_where_it_cannot_be_masked() {
    let workspace = Workspace::new();
    let begin = |env: &'static str, value: Option<&'static str>| {
        let text = format!(
            "format = 1\n[plan]\nname = \"plan\"\n[secrets]\ntoken = {{ env = \"{env}\" }}\n[steps.one]\nuses = \"act\"\n\
             with = {{ what = \"{{{{ secrets.token }}}}\" }}\ncompensate = \"none\"\n"
        );
        let loaded = plan::load(&text, &workspace.folder.path().join("plan.toml"), &workspace.runs.registry);
        let new = NewRun::of(loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes)), Timestamp::now());
        let runs = Runs { env: Arc::new(move |_| value.map(str::to_owned)), ..workspace.runs.clone() };
        runs.begin(new, Options::silent()).map(drop)
    };
    let refused = |value| match begin("TOKEN", value) {
        Err(RunError::SecretMissing { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(None), "not set");
    assert_eq!(refused(Some("")), "not set");
    assert_eq!(refused(Some("abc")), "shorter than 4 characters");
    begin("TOKEN", Some("abcd")).unwrap();
}

#[test]
fn a_target_is_freed_only_where_nobody_can_go_on_with_its_run() {
    let workspace = Workspace::new();
    let run = workspace.interrupted();
    let runs = &workspace.runs;
    let (lock, plan) = (runs.find(&run).unwrap().row.lock, workspace.folder.path().join("plan.toml"));
    for meant in [&*lock, "plan.toml", plan.to_str().unwrap()] {
        assert_eq!(runs.lock_on_record(meant, workspace.folder.path()).unwrap().as_deref(), Some(&*lock), "{meant}");
    }
    assert_eq!(runs.lock_of(&workspace.new_run("plan", "work").plan, &[]).unwrap(), lock);
    assert_eq!(runs.lock_on_record("another", workspace.folder.path()).unwrap(), None);
    assert!(runs.blocked("another").unwrap().is_none());
    // Somebody can go on with it.
    let refused = runs.blocked(&lock).map(drop);
    let Err(RunError::Unsettled { next, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(commands(next)[0], format!("almaplan resume {run}"));
    // A process has it.
    let active = runs.take_over(runs.find(&run).unwrap(), Purpose::Resume, Options::silent()).unwrap();
    let refused = runs.blocked(&lock).map(drop);
    let Err(RunError::Held { next, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(commands(next), [format!("almaplan abort {run}")]);
    drop(active);
    std::fs::remove_dir_all(&runs.state_dir).unwrap();
    let refused = runs.begin(workspace.new_run("plan", "work"), Options::silent()).map(drop);
    let next = refused.unwrap_err().next();
    assert_eq!(commands(&next), [format!("almaplan unlock {lock}")]);
    let blocked = runs.blocked(&lock).unwrap().unwrap();
    assert!(matches!(blocked.why, Lost::StateGone) && blocked.holder.as_ref().is_some_and(|holder| holder.run == run), "{blocked:?}");
    blocked.free().unwrap();
    assert_eq!(workspace.run("work").ending, Ending::Settled(Outcome::Succeeded));
}

#[test]
fn a_target_is_freed_where_the_run_or_its_record_cannot_be_read() {
    let why = |spoil: &dyn Fn(&Workspace, &std::path::Path)| {
        let workspace = Workspace::new();
        let run = workspace.interrupted();
        let lock = workspace.runs.find(&run).unwrap().row.lock;
        let record = workspace.runs.locks().unwrap().record_file(&lock);
        spoil(&workspace, &record);
        let blocked = workspace.runs.blocked(&lock).unwrap().unwrap();
        let why = format!("{:?}", blocked.why);
        blocked.free().unwrap();
        assert!(!record.exists());
        why
    };
    assert!(why(&|_, record| std::fs::write(record, "{").unwrap()).starts_with("Record("));
    let damaged = |workspace: &Workspace, _: &std::path::Path| {
        let state = rusqlite::Connection::open(workspace.runs.state_dir.join("state.db")).unwrap();
        assert_eq!(state.execute("UPDATE events SET body = body || ' '", []).unwrap(), 1);
    };
    assert!(why(&damaged).starts_with("Run("));
    let newer = |workspace: &Workspace, _: &std::path::Path| {
        let state = rusqlite::Connection::open(workspace.runs.state_dir.join("state.db")).unwrap();
        state.pragma_update(None, "user_version", 99).unwrap();
    };
    assert!(why(&newer).starts_with("Run("));
}

#[test]
fn a_shorter_history_keeps_what_somebody_may_still_need() {
    let workspace = Workspace::new();
    let runs = &workspace.runs;
    assert!(matches!(runs.prune(0, None), Err(RunError::NoRun)));
    let ids: Vec<RunId> = ["work", "work", "fail", "work", "fail", "fail"].map(|what| workspace.run(what).run).into();
    let open = workspace.interrupted();
    // What somebody works on, or left unsettled, is left alone: here that is the only target.
    let held = runs.acquire(&runs.find(&open).unwrap().row.lock, Duration::ZERO).unwrap();
    assert_eq!(runs.prune(0, None).unwrap(), super::Pruned { removed: Vec::new(), kept: 7 });
    drop(held);
    let left = || runs.history().unwrap().unwrap().into_iter().map(|found| found.row.run).collect::<Vec<_>>();
    let expected = |kept: &[&RunId]| kept.iter().map(|run| (*run).clone()).collect::<Vec<_>>();
    assert_eq!(runs.prune(6, None).unwrap().removed, expected(&[&ids[0]]));
    assert_eq!(runs.prune(1, Some(Duration::from_secs(3600))).unwrap(), super::Pruned { removed: Vec::new(), kept: 6 });
    assert_eq!(runs.prune(2, None).unwrap().removed, expected(&[&ids[4], &ids[2], &ids[1]]));
    // The last success can be rolled back, and the open one be gone on with.
    assert_eq!(left(), expected(&[&open, &ids[5], &ids[3]]));
    assert!(matches!(runs.find(&ids[1]), Err(RunError::UnknownRun(_))));
    assert!(!runs.state_dir.join("runs").join(ids[1].as_str()).exists() && runs.state_dir.join("runs").join(ids[3].as_str()).exists());
    execute(runs.take_over(runs.find(&open).unwrap(), Purpose::Abort, Options::silent()).unwrap());
    execute(runs.take_over(runs.find(&ids[3]).unwrap(), Purpose::Rollback, Options::silent()).unwrap());
    assert_eq!(runs.prune(0, None).unwrap().kept, 0);
    assert_eq!(workspace.run("work").ending, Ending::Settled(Outcome::Succeeded));
}
