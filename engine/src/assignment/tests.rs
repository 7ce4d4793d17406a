//! What tasks come to, without running anything.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::context::Context;
use crate::event::{Effect, Event, HostId, OnInterrupt, Outcome, ProcessIdentity, RunFact};
use crate::kind::{Kind, Traits};
use crate::plan::{self, ValueInputs};
use crate::saga::Shape;

/// Makes something.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Make {
    /// What to make.
    #[serde(default)]
    what: Option<String>,
    /// How many of it.
    #[serde(default)]
    count: Option<u32>,
}

/// What was made.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Made {
    /// Its name.
    name: Option<String>,
}

impl Kind for Make {
    const KIND: &'static str = "make";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Ask).timeout(Duration::from_secs(90));
    type Output = Made;

    async fn run(&self, _: &Context) -> Result<Made, Failure> {
        Ok(Made { name: self.what.clone() })
    }

    fn default_timeout(&self) -> Option<Duration> {
        // So that the tests see which inputs an attempt was given.
        self.count.map(|count| Duration::from_secs(count.into())).or(Self::TRAITS.timeout)
    }
}

/// Starts something that its next attempt goes on with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Serve {}

impl Kind for Serve {
    const KIND: &'static str = "serve";
    const TRAITS: Traits = Traits::new(Effect::Volatile, OnInterrupt::Rerun).adopting();
    type Output = Made;

    async fn run(&self, _: &Context) -> Result<Made, Failure> {
        Ok(Made { name: None })
    }
}

/// A run whose events the test writes.
struct Fixture {
    plan: Plan,
    templates: Templates,
    registry: Registry,
    saga: Saga,
}

impl Fixture {
    fn new(steps: &str) -> Self {
        let registry = Registry::default().with::<Make>().with::<Serve>();
        let text = format!("format = 1\n[plan]\nname = \"test\"\n[vars]\ncount = 7\n{steps}");
        let loaded = plan::load(&text, Path::new("/plans/test.toml"), &registry);
        let plan = loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes));
        let templates = Templates::new(ValueInputs { vars: plan.vars.clone(), ..ValueInputs::default() });
        let saga = Saga::new(Shape::of(&plan, &registry));
        Self { plan, templates, registry, saga }
    }

    fn after(mut self, facts: impl IntoIterator<Item = (&'static str, Fact)>) -> Self {
        for (step, fact) in facts {
            self.saga.apply(&Event::Step(StepId::new(step), fact)).unwrap();
        }
        self
    }

    /// What the only task that is wanted comes to, and the part that it is about.
    fn assigned(&self) -> (Part, Assignment) {
        let wanted: Vec<Task> = self.saga.wanted().collect();
        let [task] = wanted[..] else { panic!("one task is wanted: {wanted:?}") };
        let assigner = Assigner { plan: &self.plan, templates: &self.templates, registry: &self.registry, host: &HostId::local() };
        (target(&self.saga, task).1, assigner.assign(&self.saga, task))
    }

    fn fact(&self) -> Option<Fact> {
        let (part, assignment) = self.assigned();
        assignment.fact(part)
    }

    fn start(&self) -> Start {
        let (_, Assignment::Start(start)) = self.assigned() else { panic!("it is not to be started: {:?}", self.fact()) };
        start
    }
}

fn started() -> Fact {
    Fact::Started { attempt: 1, on_interrupt: OnInterrupt::Ask, host: HostId::local() }
}

fn failed() -> Fact {
    Fact::Failed(Failure::dirty("it broke"))
}

fn spawned(part: Part, pid: u32) -> Fact {
    Fact::Spawned {
        part,
        host: HostId::local(),
        process: ProcessIdentity { pid, started: 1, program: "p".to_owned(), boot: "b".to_owned() },
    }
}

const UNDONE_BY_MAKE: &str =
    "compensate = { uses = \"make\", with = { what = \"{{ steps.a.name }}\" }, when = \"steps.a.name is not none\" }\n";

#[test]
fn a_step_starts_with_its_inputs_rendered_and_its_limits() {
    let fixture = Fixture::new("[steps.a]\nuses = \"make\"\nwith = { count = \"{{ vars.count }}\" }\ncompensate = \"none\"");
    assert_eq!(fixture.fact(), Some(started()));
    assert_eq!((fixture.start().attempt, fixture.start().timeout), (1, Some(Duration::from_secs(7))));
    // What the plan says goes before what the kind says.
    let fixture = Fixture::new("[steps.a]\nuses = \"make\"\ntimeout = \"3s\"\ncompensate = \"none\"");
    assert_eq!(fixture.start().timeout, Some(Duration::from_secs(3)));
}

#[test]
fn a_when_that_is_false_skips_a_step_but_not_one_that_began() {
    let step = "[steps.a]\nuses = \"make\"\nwhen = \"vars.count == 1\"\nretry = { attempts = 3 }\ncompensate = \"none\"";
    assert_eq!(Fixture::new(step).fact(), Some(Fact::Skipped));
    let begun = Fixture::new(step).after([("a", started()), ("a", failed())]);
    assert_eq!(begun.fact(), Some(Fact::Started { attempt: 2, on_interrupt: OnInterrupt::Ask, host: HostId::local() }));
}

#[test]
fn inputs_that_do_not_fit_are_a_clean_failure() {
    // Only known once the value is there.
    let fixture = Fixture::new("[steps.a]\nuses = \"make\"\nwith = { count = \"{{ vars.count * 1000000000 }}\" }\ncompensate = \"none\"");
    let Some(Fact::Failed(failure)) = fixture.fact() else { panic!("{:?}", fixture.fact()) };
    assert!(failure.clean && failure.message.contains("do not fit"), "{failure}");
}

#[test]
fn a_compensation_is_skipped_by_its_own_when_and_sees_what_its_step_recorded() {
    let step = format!("[steps.a]\nuses = \"make\"\n{UNDONE_BY_MAKE}");
    let nothing = Fixture::new(&step).after([("a", started()), ("a", failed())]);
    assert_eq!(nothing.fact(), Some(Fact::Undone { part: 0 }));
    let recorded = Fact::Recorded { part: Part::Action, name: "name".to_owned(), value: json!("x") };
    let something = Fixture::new(&step).after([("a", started()), ("a", recorded), ("a", failed())]);
    assert_eq!(something.fact(), Some(Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() }));
    assert_eq!(something.start().timeout, Some(Duration::from_secs(90)));
}

#[test]
fn a_probe_leaves_no_fact_of_its_own() {
    let step = "[steps.a]\nuses = \"make\"\nprobe = { uses = \"make\" }\ncompensate = \"none\"";
    let fixture = Fixture::new(step).after([("a", started()), ("a", Fact::Unknown)]);
    let (part, assignment) = fixture.assigned();
    assert!(part == Part::Probe && matches!(assignment, Assignment::Start(_)) && assignment.fact(part).is_none());
}

#[test]
fn what_an_earlier_attempt_left_is_to_be_ended_unless_its_kind_adopts_it() {
    let plan = |kind: &str| format!("[steps.a]\nuses = \"{kind}\"\nretry = {{ attempts = 3 }}\ncompensate = {{ uses = \"make\" }}");
    let pids = |start: Start| start.leftovers.iter().map(|left| left.process.pid).collect::<Vec<_>>();
    let tried = |kind: &str| Fixture::new(&plan(kind)).after([("a", started()), ("a", spawned(Part::Action, 5)), ("a", failed())]);
    assert_eq!(pids(tried("make").start()), [5]);
    assert_eq!(pids(tried("serve").start()), Vec::<u32>::new());
    // A compensation ends what the action left, and the next attempt of it what it left itself.
    let mut undone = tried("make");
    undone.saga.apply(&Event::Run(RunFact::Aborted { by: "me".to_owned() })).unwrap();
    assert_eq!(pids(undone.start()), [5]);
    let begun =
        undone.after([("a", Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() }), ("a", spawned(Part::Compensation(0), 6))]);
    let mut again = begun;
    again.saga.apply(&Event::Run(RunFact::Resumed { pid: 1, user: "me".to_owned() })).unwrap();
    assert_eq!((again.start().attempt, pids(again.start())), (2, vec![5, 6]));
}

#[test]
fn what_needs_a_failed_step_is_dropped() {
    let steps = "[steps.a]\nuses = \"make\"\nwhen = \"false\"\npivot = true\ncompensate = \"none\"\n\
                 [steps.b]\nuses = \"make\"\nneeds = [\"a\"]\ncompensate = \"none\"\n\
                 [steps.c]\nuses = \"make\"\nneeds = [\"b\"]\ncompensate = \"none\"";
    let fixture = Fixture::new(steps).after([("a", Fact::Skipped), ("b", started()), ("b", failed())]);
    assert_eq!(fixture.fact(), Some(Fact::NotRun));
}

#[test]
fn a_finally_step_is_told_why_the_run_ended_as_it_did() {
    let steps = format!("[steps.a]\nuses = \"make\"\n{UNDONE_BY_MAKE}[finally.f]\nuses = \"make\"");
    let mut fixture = Fixture::new(&steps).after([("a", started()), ("a", failed()), ("a", Fact::Undone { part: 0 })]);
    assert_eq!(fixture.saga.verdict(), Some(Outcome::Compensated));
    fixture.saga.apply(&Event::Run(RunFact::Settled(Outcome::Compensated))).unwrap();
    let summary = summary(&fixture.saga, fixture.assigned().0);
    assert_eq!((summary.outcome, summary.unwound), (Some(Outcome::Compensated), true));
    assert_eq!(summary.failed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a"]);
    let forward = super::summary(&fixture.saga, Part::Action);
    assert!(forward.failed.is_empty() && !forward.unwound);
    assert_eq!(outputs(&fixture.saga, "a", Part::Action), Value::Null);
}
