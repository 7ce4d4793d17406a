//! One run for the tests of the page: a service goes down, its update fails and is undone, and somebody has to resume it in between.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use almaplan_engine::event::{Downtime, Event, Fact, Failure, HostId, OnInterrupt, Outcome, Release, RunFact, RunId, Standing, StepId};
use almaplan_engine::journal::Record;
use almaplan_engine::plan::{self, Plan};
use almaplan_engine::runs::NextCommand;
use almaplan_engine::update::State;
use serde_json::Value;

use super::graph::GraphView;
use super::report::{ReportStep, ReportView};
use super::spans::History;
use super::status::{RunState, StatusStep, StatusView};
use crate::cli::GraphFormat;
use crate::lang::Language;
use crate::view::sample::{at, fmt};
use crate::view::serving::Serving;
use crate::view::step_log::Tail;

/// `stop`, then `update` and `tests` side by side, then the pivot `check`; `record` in `finally`.
pub(crate) fn plan() -> Plan {
    let text = r#"
        format = 1
        [plan]
        name = "shop"
        [measure]
        url = "http://127.0.0.1:5000/"
        [steps.stop]
        uses = "command"
        with = { program = "x" }
        compensate = { uses = "http-check", with = { base = "http://127.0.0.1:5000", paths = ["/"] } }
        [steps.update]
        uses = "command"
        needs = ["stop"]
        with = { program = "x" }
        compensate = { uses = "command", with = { program = "x" } }
        [steps.tests]
        uses = "command"
        needs = ["stop"]
        with = { program = "x" }
        compensate = "none"
        [steps.check]
        uses = "command"
        needs = ["update", "tests"]
        pivot = true
        with = { program = "x" }
        compensate = "none"
        [finally.record]
        uses = "command"
        with = { program = "x" }
    "#;
    let loaded = plan::load(text, Path::new("/srv/shop.toml"), &almaplan_steps::registry());
    loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes))
}

pub(crate) fn started(step: &str, attempt: u32) -> Event {
    Event::Step(StepId::new(step), Fact::Started { attempt, on_interrupt: OnInterrupt::Rerun, host: HostId::local() })
}

pub(crate) fn succeeded(step: &str) -> Event {
    Event::Step(StepId::new(step), Fact::Succeeded(Value::Null))
}

pub(crate) fn failed(step: &str) -> Event {
    Event::Step(StepId::new(step), Fact::Failed(broken("exit code 1")))
}

pub(crate) fn undoing(step: &str) -> Event {
    Event::Step(StepId::new(step), Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() })
}

pub(crate) fn undone(step: &str) -> Event {
    Event::Step(StepId::new(step), Fact::Undone { part: 0 })
}

pub(crate) fn down() -> Event {
    Event::Run(RunFact::Unreachable)
}

pub(crate) fn up(ms: u64) -> Event {
    Event::Run(RunFact::Reachable(Downtime { ms, approximate: false }))
}

pub(crate) fn resumed() -> Event {
    Event::Run(RunFact::Resumed { pid: 7, user: "ana".to_owned() })
}

/// Events with when they happened, in milliseconds.
pub(crate) fn records(events: impl IntoIterator<Item = (i64, Event)>) -> Vec<Record> {
    let record = |(n, (ms, event))| Record { seq: n as u64 + 1, at: at(ms), event };
    events.into_iter().enumerate().map(record).collect()
}

pub(crate) fn broken(message: &str) -> Failure {
    Failure::dirty(message).with_tail([format!("Traceback: {message}")])
}

/// Down from 1500 to 8000; the process dies at 4200, and another has the run from 6000 on.
pub(crate) fn view() -> ReportView {
    let settled = Event::Run(RunFact::Settled(Outcome::Compensated));
    let events = [
        (0, started("stop", 1)),
        (1550, down()),
        (2000, succeeded("stop")),
        (2000, started("update", 1)),
        (2000, started("tests", 1)),
        (2400, succeeded("tests")),
        (4000, failed("update")),
        (4200, undoing("update")),
        (6000, resumed()),
        (6100, undoing("update")),
        (7000, undone("update")),
        (7050, undoing("stop")),
        (8000, up(6500)),
        (8010, undone("stop")),
        (8020, settled),
        (8020, started("record", 1)),
        (8060, succeeded("record")),
    ];
    view_of("shop", "exit code 1", "ana", History::of(&plan(), &records(events), None))
}

/// The same, with `text` wherever somebody else than us writes something.
pub(crate) fn hostile(text: &str) -> ReportView {
    let mut view = view_of(text, text, text, view().history);
    view.status.plan_path = text.to_owned();
    view.version = text.to_owned();
    for step in &mut view.steps {
        text.clone_into(&mut step.uses);
        step.description = Some(text.to_owned());
    }
    for span in &mut view.history.spans {
        span.failure = span.failure.as_ref().map(|_| broken(text));
    }
    view
}

fn view_of(plan_name: &str, printed: &str, user: &str, history: History) -> ReportView {
    let plan = Plan { name: plan_name.to_owned(), ..plan() };
    let states = [State::Undone, State::Undone, State::Succeeded, State::NotRun, State::Succeeded];
    let ids = plan.steps.iter().chain(&plan.finally).map(|step| step.id.clone());
    let step = |(id, state): (StepId, State)| {
        let error = (id.as_str() == "update").then(|| Failure::dirty("exit code 1"));
        StatusStep { id, state: Some(state), attempts: u32::from(state != State::NotRun), error, owes: false }
    };
    let status = StatusView {
        run: RunId::new("20260206-141502-k3f9"),
        plan: plan_name.to_owned(),
        plan_path: "/srv/shop.toml".to_owned(),
        state: RunState::Settled,
        outcome: Some(Outcome::Compensated),
        started_at: at(0),
        pid: None,
        steps: ids.zip(states).map(step).collect(),
        owed: vec![],
        questions: vec![],
        closed: vec![],
        next: vec![NextCommand::resume(&RunId::new("20260206-141502-k3f9"))],
        downtime: Some(Downtime { ms: 6500, approximate: true }),
        serving: Serving {
            standing: Standing::Undone,
            release: Some(Release::Old),
            version: Some("1.0.0".to_owned()),
            answers: Some(true),
            ..Serving::default()
        },
        answered: Some(true),
        asked_now: false,
        superseded: None,
    };
    let log =
        Tail { text: format!("2026-02-06T14:15:05.000Z stdout copying\n2026-02-06T14:15:06.000Z stderr {printed}\n"), left_out: 70_000 };
    let known = |step: &plan::PlannedStep| ReportStep {
        uses: step.action.uses.clone(),
        description: step.pivot.then(|| "It answers, and it is the new one".to_owned()),
        compensate: step.compensate.iter().map(|compensation| compensation.action.uses.clone()).collect(),
        failed: step.id.as_str() == "update",
        log: (step.id.as_str() == "update").then(|| log.clone()),
    };
    ReportView {
        status,
        user: user.to_owned(),
        version: "0.1.0".to_owned(),
        made_at: at(60_000),
        measured: true,
        history,
        steps: plan.steps.iter().chain(&plan.finally).map(known).collect(),
        graph: GraphView::of(&plan).draw(&fmt(Language::En), GraphFormat::Svg),
    }
}
