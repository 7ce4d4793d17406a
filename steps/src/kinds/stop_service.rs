//! The kind `stop-service`: ends whoever listens on a port, if that is who the plan means.
//!
//! Everyone who would be stopped is looked at before anyone is signalled: a stranger among them, and nothing is touched. What
//! was there is recorded before the first signal, so that a rerun and a rollback still know how to start it again (rules 16 and 22).

use std::path::PathBuf;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Direction, Effect, Failure, OnInterrupt, ProcessIdentity};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Amount, Before, Preview, Told};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::human::DurationOr;
use crate::input::OrDefault;
use crate::process::{self, Description, Expect, Gentle, NotOurs, Origin, OriginError, PortError, Tree};

/// How often someone may come back to the port before we say that it is no use.
const ROUNDS: u32 = 3;

/// Finds who listens on a port and stops it with everything it started: gently, then firmly. It is stopped when it has ended
/// and the port is free.
///
/// Nobody there is a success, so it can be repeated, and be a compensation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopService {
    /// The TCP port that the service listens on.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// A process known from its start, to stop even if it does not listen yet. It is left alone where it cannot be told that it
    /// is still that one: it must be the very process that a step of this run started or stopped; of a pid from elsewhere, the one
    /// that matches `expect` or was started by almaplan.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How long it may take to end by itself before it is killed.
    #[serde(default)]
    pub grace: DurationOr<10_000>,
    /// The gentle request: `TERM`, or `INT` (Ctrl+C), which Waitress needs to end in order.
    #[serde(default)]
    pub signal: OrDefault<Gentle>,
    /// A part of its program, of its folder or of its command line, or several of which one must be found: anyone else on the
    /// port is left alone, and it is an error.
    #[serde(default)]
    pub expect: Option<Expect>,
    /// `false`: nothing starts it again from what is recorded here, as the plan itself says how, or nothing does. Else a process that
    /// could not be started again as it runs now (user, environment, arguments, limits) is not stopped.
    #[serde(default)]
    #[schemars(default = "bring_back")]
    pub bring_back: Option<bool>,
}

fn bring_back() -> bool {
    true
}

/// What was stopped; everything null where nobody was there.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StopServiceOutput {
    /// The process id it had, of the root of its tree.
    pub pid: Option<u32>,
    /// The same process beyond doubt: its pid with its start time and boot.
    pub process: Option<ProcessIdentity>,
    /// Its program, as it has to be called to start it again.
    pub program: Option<String>,
    /// Its arguments, without the program.
    pub args: Option<Vec<String>>,
    /// Its folder.
    pub cwd: Option<PathBuf>,
    /// It did not end by itself: some of it had to be killed.
    pub forced: bool,
}

/// Why nobody is stopped, or what was stopped is there again.
#[derive(Debug, Serialize, thiserror::Error)]
enum StopServiceError {
    #[error("port {port} is taken again each time it is freed: something starts {process} anew; stop that first")]
    TakenAgain { port: u16, process: Box<Description> },
    #[error("port {port} cannot be freed: {source}")]
    NotFreed { port: u16, source: NotOurs },
    #[error("someone else's program listens on port {port}, and is left alone as it does not match `expect`: {process}")]
    Stranger { port: u16, process: Box<Description> },
    #[error("{supervisor} runs {process} and would start it again at once: stop it by the kind `service-control`")]
    Supervised { supervisor: String, process: Box<Description> },
    #[error("{error}; nothing was stopped: write its program, args and env where the plan starts it again, and `bring_back = false` here")]
    NoWayBack { error: OriginError },
    #[error(transparent)]
    Port(#[from] PortError),
}

/// What is told while it works.
#[derive(Debug, Serialize, thiserror::Error)]
enum StopNote {
    #[error("stopping {process}")]
    Stopping { process: Description },
    #[error("process {pid} did not end by itself within {grace} and was killed")]
    Killed { pid: u32, grace: String },
    #[error("the pid {pid} belongs to another program by now, which is left alone: {process}")]
    OtherByNow { pid: u32, process: Description },
}

impl Kind for StopService {
    const KIND: &'static str = "stop-service";
    const TRAITS: Traits = Traits::new(Effect::Volatile, OnInterrupt::Rerun);
    type Output = StopServiceOutput;

    async fn run(&self, cx: &Context) -> Result<StopServiceOutput, Failure> {
        self.expect.as_ref().map_or(Ok(()), Expect::check).map_err(Failure::clean)?;
        let mut forced = false;
        for round in 0..=ROUNDS {
            let fail = |why: StopServiceError| if round == 0 { Failure::clean(why) } else { Failure::dirty(why) };
            let targets = self.targets(cx).map_err(fail)?;
            let Some(first) = targets.first() else { return Ok(StopServiceOutput { forced, ..recorded(cx) }) };
            if round == ROUNDS {
                return Err(fail(StopServiceError::TakenAgain { port: self.port, process: Box::new(first.process.clone()) }));
            }
            if cx.direction() == Direction::Forward && self.bring_back.unwrap_or_else(bring_back) {
                can_come_back(cx, first).map_err(fail)?;
            }
            record(cx, first).await?;
            for target in &targets {
                cx.info(StopNote::Stopping { process: target.process.clone() });
                let killed = self.stop(cx, &target.root).await?;
                if killed {
                    let grace = humantime::format_duration(self.grace.0).to_string();
                    cx.warn(StopNote::Killed { pid: target.root.pid, grace });
                }
                forced |= killed;
            }
        }
        unreachable!("the last round returns")
    }

    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        if let Some(error) = self.expect.as_ref().and_then(|expect| expect.check().err()) {
            return Preview::failure(Failure::clean(error));
        }
        let targets = match self.targets(cx) {
            Ok(targets) => targets,
            Err(why) => return Preview::failure(Failure::clean(why)),
        };
        let Some(first) = targets.first() else { return self.nobody() };
        let comes_back = self.bring_back.unwrap_or_else(bring_back);
        if comes_back && let Err(why) = as_it_runs(first) {
            return Preview::failure(Failure::clean(why));
        }
        let told = targets.iter().fold(Preview::default(), |preview, target| preview.tell(target.told()));
        let told = if comes_back { told.tell(Told::new("comes-back")) } else { told };
        told_outputs(first).into_iter().fold(told, |preview, (name, value)| preview.output(name, value))
    }

    fn default_timeout(&self) -> Option<Time> {
        Some(self.grace.0 * ROUNDS + Time::from_secs(60))
    }
}

/// Somebody to stop.
struct Target {
    root: ProcessIdentity,
    process: Description,
}

impl StopService {
    /// What is left where there is nobody to stop.
    fn nobody(&self) -> Preview {
        let told = Preview::nothing().tell(Told::new("nobody").field("port", self.port.to_string()));
        let outputs = ["pid", "process", "program", "args", "cwd"].into_iter();
        outputs.fold(told, |preview, name| preview.output(name, serde_json::Value::Null)).output("forced", false)
    }

    /// Whom to stop, who listens first; an error where one of them is none of ours.
    fn targets(&self, cx: &Context) -> Result<Vec<Target>, StopServiceError> {
        let mut targets: Vec<Target> = Vec::new();
        for listener in process::listeners(self.port)? {
            let root = process::root_of(&listener).map_err(|source| StopServiceError::NotFreed { port: self.port, source })?;
            // None: it ended between two looks.
            let Some(root) = root.and_then(Target::of) else { continue };
            let target = self.expected(cx, root, listener)?;
            if !targets.iter().any(|known| known.root == target.root) {
                targets.push(target);
            }
        }
        if let Some(target) = self.pid.and_then(|pid| self.known(cx, pid))
            && !targets.iter().any(|known| known.root == target.root)
        {
            targets.push(target);
        }
        Ok(targets)
    }

    /// `root`, or only the listener where nothing but that is known to be ours.
    fn expected(&self, cx: &Context, root: Target, listener: ProcessIdentity) -> Result<Target, StopServiceError> {
        if self.expects(cx, &root.process) {
            return Ok(root);
        }
        match Target::of(listener).filter(|listener| self.expects(cx, &listener.process)) {
            // A wrapper that almaplan started needs not look like what it wraps.
            Some(_) if process::came_through_a_gate(&root.root) => Ok(root),
            Some(listener) => Ok(listener),
            None => Err(StopServiceError::Stranger { port: self.port, process: Box::new(root.process) }),
        }
    }

    /// The process that was started as `pid`, if it is certain that it is still that one although it does not listen.
    fn known(&self, cx: &Context, pid: u32) -> Option<Target> {
        let stranger = |process: &Description| cx.info(StopNote::OtherByNow { pid, process: process.clone() });
        let Some(process) = process::meant(cx, pid) else {
            process::describe(pid).iter().for_each(stranger);
            return None;
        };
        let target = Target::of(process::root_of(&process).ok()??)?;
        let certain = match &self.expect {
            Some(_) => self.expects(cx, &target.process),
            None => cx.known_process(pid).is_some() || process::came_through_a_gate(&process),
        };
        if !certain {
            stranger(&target.process);
        }
        certain.then_some(target)
    }

    fn expects(&self, cx: &Context, process: &Description) -> bool {
        self.expect.as_ref().is_none_or(|expect| expect.matches(process, &cx.run().plan_dir))
    }

    /// Whether it took force.
    async fn stop(&self, cx: &Context, root: &ProcessIdentity) -> Result<bool, Failure> {
        let mut tree = Tree::of(root);
        tokio::select! {
            stopped = process::stop(&mut tree, *self.signal, self.grace.0) => Ok(stopped.map_err(Failure::dirty)?.forced),
            () = cx.cancelled() => Err(Failure::dirty(Stopped)),
        }
    }
}

impl Target {
    fn of(root: ProcessIdentity) -> Option<Self> {
        let process = process::describe(root.pid)?;
        Some(Self { root, process })
    }

    fn told(&self) -> Told {
        let told = Told::new("stops").field("pid", self.process.pid.to_string()).field("command", self.process.command_line());
        match process::age(&self.root) {
            Some(age) => told.field("age", Amount::Seconds(age.as_secs_f64())),
            None => told,
        }
    }
}

/// That what is about to be stopped could be started again as it is (rule 22), and how that is; an error where it could not.
fn can_come_back(cx: &Context, target: &Target) -> Result<(), StopServiceError> {
    as_it_runs(target)?.keep(cx, &target.process).map_err(|error| StopServiceError::NoWayBack { error })
}

/// How it runs, so that it could be started again; an error where it could not.
fn as_it_runs(Target { root, process }: &Target) -> Result<Origin, StopServiceError> {
    if let Some(supervisor) = process::supervisor(root.pid) {
        return Err(StopServiceError::Supervised { supervisor, process: Box::new(process.clone()) });
    }
    Origin::of(root, process).map_err(|error| StopServiceError::NoWayBack { error })
}

/// Keeps what is about to be stopped, for whoever has to start it again.
async fn record(cx: &Context, target: &Target) -> Result<(), Failure> {
    // Together: a pid without the program could be stopped and never be started again.
    cx.record_all(told_outputs(target)).await
}

fn told_outputs(Target { root, process }: &Target) -> [(&'static str, serde_json::Value); 5] {
    let program = process.program.to_string_lossy();
    [
        ("pid", json!(process.pid)),
        ("process", json!(root)),
        ("program", json!(program)),
        ("args", json!(process.args)),
        ("cwd", json!(process.cwd)),
    ]
}

/// What this or an earlier attempt found.
fn recorded(cx: &Context) -> StopServiceOutput {
    fn field<T: DeserializeOwned>(cx: &Context, name: &str) -> Option<T> {
        cx.recorded(name).and_then(|value| serde_json::from_value(value).ok())
    }
    StopServiceOutput {
        pid: field(cx, "pid"),
        process: field(cx, "process"),
        program: field(cx, "program"),
        args: field(cx, "args"),
        cwd: field(cx, "cwd"),
        forced: false,
    }
}
