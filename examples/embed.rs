//! A program of its own that runs a plan with a kind of its own:  cargo run --example embed
//!
//! The engine prints nothing, and reads no environment variable by itself: what is shown, where the journal is and which kinds exist is
//! up to whoever embeds it. The journal is durable: killed halfway and started again, the program goes on with the same run.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::plan;
use almaplan_engine::runs::{NewRun, Options, Purpose, Runs};
use almaplan_engine::update::{Stream, Update};
use almaplan_steps::local_host::{LocalHost, local_zone};
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

impl Kind for Greet {
    const KIND: &'static str = "greet";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun);
    type Output = Greeting;

    async fn run(&self, cx: &Context) -> Result<Greeting, Failure> {
        cx.info("thinking of something nice");
        Ok(Greeting { text: format!("hello, {}", self.name) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("almaplan-greetings");
    let runs = Runs {
        // One line adds a kind.
        registry: Arc::new(almaplan_steps::registry().with::<Greet>()),
        host: Arc::new(LocalHost::new(None)),
        lock_folder: folder.join("locks"),
        state_dir: folder.join("state"),
        only_here: true,
        env: Arc::new(|name| std::env::var(name).ok()),
        zone: local_zone(),
        user: "embedded".to_owned(),
        pid: std::process::id(),
    };
    let options = Options { updates: Arc::new(show), grace: Duration::from_secs(10) };
    let open = if runs.store()?.is_some() { runs.find_open()? } else { None };
    let run = match open {
        Some(left) => runs.take_over(left, Purpose::Resume, options)?,
        None => {
            let loaded = plan::load(PLAN, &folder.join("greetings.toml"), &runs.registry);
            let plan = loaded.plan.ok_or_else(|| format!("{:?}", loaded.mistakes))?;
            runs.begin(NewRun::of(plan, jiff::Timestamp::now()), options)?
        }
    };
    // The sender is kept, and could order the run to stop.
    let (_orders, receiver) = tokio::sync::mpsc::channel(1);
    let ended = run.execute(receiver).await;
    println!("run {}: {:?}", ended.run, ended.ending);
    Ok(())
}

fn show(update: Update) {
    match update {
        Update::Step(step) => println!("{}: {:?}", step.step, step.state),
        Update::Log { step, stream: Stream::Stdout, line } => println!("{step} says: {line}"),
        _ => {}
    }
}
