//! What the benches run: plans of three forms, kinds that do nothing, and a machine without processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use almaplan_engine::context::{Context, RunInfo};
use almaplan_engine::event::{Effect, Event, Failure, HostId, OnInterrupt, Opened, ProcessIdentity, RunFact, RunId, WrongAnswer};
use almaplan_engine::executor::{Executor, Finished, RunSpec};
use almaplan_engine::host::{BoxFuture, Host, ServiceCheck};
use almaplan_engine::journal::{Journal, Record};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::plan::{self, Plan, Templates, ValueInputs};
use almaplan_engine::registry::Registry;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::{self, Runtime};

/// The forms in which steps need each other.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Each step needs the one before.
    Chain,
    /// All but the first need the first, and nothing else.
    FanOut,
    /// The same, and a last one needs all of them and fails: they are undone side by side, and then the first.
    Diamond,
}

impl Form {
    /// The text of a plan with about so many steps.
    pub fn text(self, steps: usize) -> String {
        let mut text = format!("format = 1\n[plan]\nname = \"bench\"\nmax_parallel = {steps}\n");
        for i in 0..steps {
            let needs = match (self, i) {
                (_, 0) => String::new(),
                (Self::Chain, _) => format!("needs = [\"s{}\"]\n", i - 1),
                (Self::FanOut | Self::Diamond, _) => "needs = [\"s0\"]\n".to_owned(),
            };
            text += &format!("[steps.s{i}]\nuses = \"pass\"\n{needs}compensate = {{ uses = \"pass\" }}\n");
        }
        if let Self::Diamond = self {
            let needs: Vec<_> = (1..steps).map(|i| format!("\"s{i}\"")).collect();
            text += &format!("[steps.last]\nuses = \"fall\"\nneeds = [{}]\ncompensate = \"none\"\n", needs.join(", "));
        }
        text
    }

    /// The plan of [`Form::text`].
    pub fn plan(self, steps: usize) -> Arc<Plan> {
        Arc::new(load(&self.text(steps)))
    }
}

/// The plan with this text, checked.
pub fn load(text: &str) -> Plan {
    let loaded = plan::load(text, Path::new("/bench/plan.toml"), &registry());
    loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.mistakes))
}

/// The kinds.
pub fn registry() -> Registry {
    Registry::default().with::<Pass>().with::<Fall>()
}

/// Does nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pass {}

/// Fails at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fall {}

/// Leaves nothing.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {}

const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Rerun);

impl Kind for Pass {
    const KIND: &'static str = "pass";
    const TRAITS: Traits = TRAITS;
    type Output = Nothing;

    async fn run(&self, _: &Context) -> Result<Nothing, Failure> {
        Ok(Nothing {})
    }
}

impl Kind for Fall {
    const KIND: &'static str = "fall";
    const TRAITS: Traits = TRAITS;
    type Output = Nothing;

    async fn run(&self, _: &Context) -> Result<Nothing, Failure> {
        Err(Failure::dirty("it falls"))
    }
}

/// A machine without processes and services.
struct Nowhere;

impl Host for Nowhere {
    fn boot(&self) -> String {
        "boot".to_owned()
    }

    fn is_alive(&self, _: u32) -> bool {
        true
    }

    fn end<'a>(&'a self, _: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn wrong_answer<'a>(&'a self, _: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>> {
        Box::pin(async { None })
    }
}

/// The first event of a run of `plan`.
pub fn opened(plan: &Plan) -> Event {
    Event::Run(RunFact::Opened(Box::new(Opened {
        plan_text: plan.text.clone(),
        plan_path: plan.path.display().to_string(),
        vars: Default::default(),
        env: Default::default(),
        secrets: Vec::new(),
        timestamp: "20260206_141502".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
        lang: "en".to_owned(),
        host: HostId::local(),
        boot: Nowhere.boot(),
        user: "bench".to_owned(),
        pid: 1,
        version: "0".to_owned(),
    })))
}

/// Threads as a run has them.
pub fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().enable_all().build().expect("the system gives threads")
}

/// Runs `plan` to its end. `journal` holds its first event.
pub fn run<J: Journal + 'static>(runtime: &Runtime, plan: &Arc<Plan>, journal: J) -> Finished<J> {
    let spec = RunSpec {
        plan: Arc::clone(plan),
        registry: Arc::new(registry()),
        host: Arc::new(Nowhere),
        templates: Templates::new(ValueInputs::default()),
        info: Arc::new(RunInfo {
            id: RunId::new("bench"),
            plan: plan.name.clone(),
            plan_dir: "/bench".into(),
            folder: "/bench".into(),
            started_at: Timestamp::UNIX_EPOCH,
            timestamp: "20260206_141502".to_owned(),
            lang: "en".to_owned(),
        }),
        updates: Arc::new(|_| {}),
        keep: Default::default(),
        grace: Duration::from_secs(10),
        user: "operator".to_owned(),
    };
    let first = Record { seq: 1, at: Timestamp::UNIX_EPOCH, event: opened(plan) };
    let executor = Executor::new(spec, journal, &[first]).expect("a run begins with the event that opens it");
    let (_orders, receiver) = tokio::sync::mpsc::channel(1);
    // On a thread of the runtime, as a run of the binary is.
    let run = runtime.spawn(executor.run(receiver));
    runtime.block_on(run).expect("a run does not panic")
}
