//! A program of its own that runs a plan with a kind of its own:  cargo run --example embed
//!
//! The engine prints nothing and keeps nothing by itself: what is shown, where the journal is and which kinds exist is up to
//! whoever embeds it.

use std::sync::Arc;
use std::time::Duration;

use almaplan_engine::event::{Event, Opened, RunFact, RunId};
use almaplan_engine::executor::{Executor, Job, Mask};
use almaplan_engine::graph::Graph;
use almaplan_engine::journal::{Journal, MemoryJournal};
use almaplan_engine::plan::{self, Templates, ValueInputs};
use almaplan_engine::step::{Context, Effect, Failure, Host, OnInterrupt, RunInfo, Step, Traits, timestamp};
use almaplan_engine::update::{Stream, Update};
use almaplan_steps::machine::Machine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PLAN: &str = r#"
format = 1
[plan]
name = "greetings"

[vars]
who = "world"

[steps.greet]
uses = "greet"
with = { name = "{{ vars.who }}" }

[steps.tell]
uses = "command"
compensate = "none"
with = { program = "echo", args = ["{{ steps.greet.text }}"], idempotent = true }
"#;

/// Greets somebody.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Greet {
    /// Who is greeted.
    name: String,
}

/// What `greet` leaves.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Greeting {
    /// The greeting.
    text: String,
}

impl Step for Greet {
    const KIND: &'static str = "greet";
    const TRAITS: Traits = Traits { effect: Effect::Observes, on_interrupt: OnInterrupt::Rerun, timeout: None, adopts: false };
    type Output = Greeting;

    async fn run(&self, cx: &Context) -> Result<Greeting, Failure> {
        cx.info("thinking of something nice");
        Ok(Greeting { text: format!("hello, {}", self.name) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One line adds a kind.
    let registry = Arc::new(almaplan_steps::registry().with::<Greet>());
    let folder = std::env::current_dir()?;
    let path = folder.join("greetings.toml");
    let loaded = plan::load(PLAN, &path, &registry);
    let Some(plan) = loaded.plan else {
        return Err(loaded.mistakes.iter().map(|mistake| mistake.to_string()).collect::<Vec<_>>().join("\n").into());
    };

    let started_at = jiff::Timestamp::now();
    let vars = plan::resolve_vars(&plan, &[], &|name| std::env::var(name).ok()).map_err(|errors| errors[0].to_string())?;
    let host = Machine::new(None);
    let opened = Event::Run(RunFact::Opened(Box::new(Opened {
        plan_text: plan.text.clone(),
        plan_path: path.display().to_string(),
        vars: vars.clone(),
        env: Default::default(),
        secrets: Vec::new(),
        timestamp: timestamp(started_at),
        started_at,
        lang: "en".to_owned(),
        boot: host.boot(),
        user: "embedded".to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })));
    // In memory: a program that must survive its own death uses `almaplan_engine::sqlite::Store`.
    let mut journal = MemoryJournal::new();
    journal.append(std::slice::from_ref(&opened))?;

    let job = Job {
        graph: Graph::of(&plan),
        templates: Templates::new(ValueInputs { vars, plan_name: plan.name.clone(), ..ValueInputs::default() }),
        info: Arc::new(RunInfo {
            id: RunId::new("embedded-1"),
            plan: plan.name.clone(),
            plan_dir: folder.clone(),
            folder: std::env::temp_dir(),
            started_at,
            timestamp: timestamp(started_at),
            lang: "en".to_owned(),
        }),
        plan: Arc::new(plan),
        registry,
        host: Arc::new(host),
        updates: Arc::new(show),
        mask: Mask::default(),
        keep: Vec::new(),
        grace: Duration::from_secs(10),
    };
    let executor = Executor::new(job, journal.clone(), &journal.records())?;
    // The sender is kept: dropping it would mean that nobody can stop the run, which is fine here too.
    let (_orders, receiver) = tokio::sync::mpsc::channel(1);
    let finished = executor.run(receiver).await;
    println!("{:?}, after {} events", finished.ending, journal.records().len());
    Ok(())
}

fn show(update: Update) {
    match update {
        Update::Step(step) => println!("{}: {:?}", step.step, step.state),
        Update::Log { step, stream: Stream::Stdout, line } => println!("{step} says: {line}"),
        _ => {}
    }
}
