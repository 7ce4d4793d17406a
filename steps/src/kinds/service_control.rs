//! The kind `service-control`: starts, stops or restarts what the system itself supervises.
//!
//! The system's own tool does the work and is believed only for what it shows afterwards: each of [`Manager`]'s members says how its
//! tool is asked, and how its answers are read whatever the language of the system.
//!
//! ```text
//!  look ──> record `before` ──> ask the tool ──> look until the state is there, or cannot come any more
//! ```

mod scheduled_task;
mod systemd;
mod windows_service;

use std::process::Stdio;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::checked;
use crate::human::DurationOr;
use crate::input::{OrDefault, Word};
use crate::process::{self, Ending, Finished, Launch, ResolveError, RunOptions};

/// Between two looks, at first; it doubles up to [`LONG_LOOK`], as each is a program that is run.
const LOOK: Time = Time::from_millis(50);
const LONG_LOOK: Time = Time::from_secs(2);
/// How long something may still be shown as stopped after it was started.
const SETTLE: Time = Time::from_secs(2);
/// How long a tool gets to end when it is asked to.
const GRACE: Time = Time::from_secs(5);
/// How much of what a tool prints is kept, in bytes.
const TOLD: usize = 64 << 10;

/// Starts, stops or restarts a Windows service, a scheduled task or a systemd unit with the system's own tool, and waits until that
/// shows it so.
///
/// What was there before is recorded first, so that this kind is also its own compensation: `state = "{{ steps.<id>.before }}"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceControl {
    /// Who supervises it.
    pub manager: Manager,
    /// What the manager calls it: `AlmareiaWeb`, `\Almareia\Servidor`, `almareia.service`.
    #[serde(deserialize_with = "checked::filled")]
    pub name: Word,
    /// What it shall be. Null leaves it alone: so much is owed by a step that had not come to change anything.
    pub state: Option<Wanted>,
    /// How long it may take to get there.
    #[serde(default)]
    pub deadline: DurationOr<30_000>,
    /// The unit of one's own systemd instead of the machine's.
    #[serde(default)]
    pub user: OrDefault<bool>,
    /// The tool, where it is not `sc.exe`, `powershell.exe` or `systemctl` as the system finds them.
    #[serde(default)]
    pub tool: Option<Word>,
}

/// Who starts, stops and supervises programs on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// Windows' services, by `sc.exe`.
    WindowsService,
    /// Windows' task scheduler, by PowerShell. Stopping a task ends its program at once.
    ScheduledTask,
    /// systemd, by `systemctl`.
    Systemd,
}

/// What a service shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Running; left alone where it already is.
    Running,
    /// Stopped; left alone where it already is.
    Stopped,
    /// Running, and started anew.
    Restarted,
}

/// What a service is, once it has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs.
    #[error("running")]
    Running,
    /// It does not.
    #[error("stopped")]
    Stopped,
}

/// What was done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceControlOutput {
    /// What it was before; null where it was left alone.
    pub before: Option<State>,
    /// Its process, where the manager tells one.
    pub pid: Option<u32>,
    /// Whether anything was done.
    pub changed: bool,
}

/// What a manager shows.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// `None` while it is on its way.
    state: Option<State>,
    pid: Option<u32>,
    /// In the manager's own words.
    words: String,
}

/// One thing to ask of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
enum Ask {
    #[error("looked at")]
    Show,
    #[error("started")]
    Start,
    #[error("stopped")]
    Stop,
    #[error("restarted")]
    Restart,
}

/// Why a service is not as it shall be.
#[derive(Debug, Serialize, thiserror::Error)]
enum ControlError {
    #[error("{0}; is this the system that `manager` is meant for?")]
    NoTool(#[from] ResolveError),
    #[error("`{name}` cannot be looked at, so nothing was done: {said}")]
    Unknown { name: String, said: ToolSaid },
    #[error("`{name}` could not be {ask}: {said}")]
    Refused { name: String, ask: Ask, said: ToolSaid },
    #[error("`{name}` was {ask} and is not {wanted}: {words}; look at its own log for why")]
    Fell { name: String, ask: Ask, wanted: State, words: String },
    #[error("`{name}` is not {wanted} after {waited}: {words}")]
    Late { name: String, wanted: State, waited: String, words: String },
    #[error("`{name}` is not running or stopped after {waited}: {words}")]
    Unsettled { name: String, waited: String, words: String },
}

/// What is told while it works.
#[derive(Debug, Serialize, thiserror::Error)]
enum ControlNote {
    #[error("`{name}` is left alone: nobody had come to change it")]
    LeftAlone { name: String },
    #[error("`{name}` is {state} already: {words}")]
    Already { name: String, state: State, words: String },
    #[error("`{name}` is being {ask}")]
    Asking { name: String, ask: Ask },
}

/// What a tool said of why it did not do it.
#[derive(Debug, Serialize, thiserror::Error)]
enum ToolSaid {
    #[error("{said}")]
    Something { said: String },
    #[error("its tool {how} and said nothing")]
    Nothing { how: Ending },
}

impl Kind for ServiceControl {
    const KIND: &'static str = "service-control";
    const TRAITS: Traits = Traits::new(Effect::Volatile, OnInterrupt::Rerun);
    type Output = ServiceControlOutput;

    async fn run(&self, cx: &Context) -> Result<ServiceControlOutput, Failure> {
        let Some(wanted) = self.state else {
            cx.info(ControlNote::LeftAlone { name: self.name.to_string() });
            return Ok(ServiceControlOutput { before: None, pid: None, changed: false });
        };
        let deadline = Instant::now() + self.deadline.0;
        let seen = self.settled(cx, deadline).await?;
        let state = seen.state.expect("it has settled");
        let before = cx.record("before", state).await?;
        let before = serde_json::from_value(before).ok();
        let goal = wanted.goal();
        if state == goal && wanted != Wanted::Restarted {
            cx.info(ControlNote::Already { name: self.name.to_string(), state: goal, words: seen.words });
            return Ok(ServiceControlOutput { before, pid: seen.pid, changed: false });
        }
        let seen = match (wanted, state) {
            (Wanted::Restarted, State::Running) if !self.manager.restarts() => {
                self.bring(cx, Ask::Stop, deadline).await?;
                self.bring(cx, Ask::Start, deadline).await?
            }
            (Wanted::Restarted, State::Running) => self.bring(cx, Ask::Restart, deadline).await?,
            (Wanted::Running | Wanted::Restarted, _) => self.bring(cx, Ask::Start, deadline).await?,
            (Wanted::Stopped, _) => self.bring(cx, Ask::Stop, deadline).await?,
        };
        Ok(ServiceControlOutput { before, pid: seen.pid, changed: true })
    }

    fn default_timeout(&self) -> Option<Time> {
        Some(self.deadline.0 + Time::from_secs(30))
    }
}

impl ServiceControl {
    /// What it is once it is not on its way between two states any more.
    async fn settled(&self, cx: &Context, deadline: Instant) -> Result<Seen, Failure> {
        let mut look = LOOK;
        loop {
            let seen = self.look(cx).await?;
            if seen.state.is_some() {
                return Ok(seen);
            }
            if Instant::now() >= deadline {
                let (name, waited) = (self.name.to_string(), self.waited());
                return Err(Failure::clean(ControlError::Unsettled { name, waited, words: seen.words }));
            }
            pause(cx, &mut look).await?;
        }
    }

    /// Asks for a change and waits until it is there.
    async fn bring(&self, cx: &Context, ask: Ask, deadline: Instant) -> Result<Seen, Failure> {
        cx.info(ControlNote::Asking { name: self.name.to_string(), ask });
        let finished = self.ask(cx, ask).await?;
        let asked_at = Instant::now();
        let goal = if ask == Ask::Stop { State::Stopped } else { State::Running };
        let mut look = LOOK;
        loop {
            let seen = self.look(cx).await.map_err(|failure| Failure { clean: false, ..failure })?;
            if seen.state == Some(goal) {
                return Ok(seen);
            }
            let name = self.name.to_string();
            // A tool may complain that it is so already: what counts is what is shown.
            if finished.ending != Ending::WELL {
                return Err(Failure::dirty(ControlError::Refused { name, ask, said: said(&finished) }));
            }
            let fell = goal == State::Running && seen.state == Some(State::Stopped) && asked_at.elapsed() >= SETTLE;
            if fell {
                return Err(Failure::dirty(ControlError::Fell { name, ask, wanted: goal, words: seen.words }));
            }
            if Instant::now() >= deadline {
                let waited = self.waited();
                return Err(Failure::dirty(ControlError::Late { name, wanted: goal, waited, words: seen.words }));
            }
            pause(cx, &mut look).await?;
        }
    }

    async fn look(&self, cx: &Context) -> Result<Seen, Failure> {
        let finished = self.ask(cx, Ask::Show).await?;
        let seen = (finished.ending == Ending::WELL).then(|| self.manager.read(&finished.stdout)).flatten();
        seen.ok_or_else(|| Failure::clean(ControlError::Unknown { name: self.name.to_string(), said: said(&finished) }))
    }

    async fn ask(&self, cx: &Context, ask: Ask) -> Result<Finished, Failure> {
        let tool = self.tool.as_ref().map_or(self.manager.tool(), |tool| &tool.0);
        let cwd = cx.run().plan_dir.clone();
        let program = process::resolve(tool, &cwd, &cwd, &[]).map_err(|error| Failure::clean(ControlError::NoTool(error)))?;
        let args = self.manager.args(ask, &self.name, *self.user);
        let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
        let launch = Launch { program, args, verbatim: false, cwd, env: Vec::new(), stdout, stderr, outlives_us: false, origin: None };
        process::run(cx, launch, RunOptions { name: tool, grace: GRACE, shown: ask != Ask::Show, keep: TOLD }).await
    }

    fn waited(&self) -> String {
        humantime::format_duration(self.deadline.0).to_string()
    }
}

impl Manager {
    fn tool(self) -> &'static str {
        match self {
            Self::WindowsService => "sc.exe",
            Self::ScheduledTask => "powershell.exe",
            Self::Systemd => "systemctl",
        }
    }

    fn args(self, ask: Ask, name: &str, user: bool) -> Vec<String> {
        match self {
            Self::WindowsService => windows_service::args(ask, name),
            Self::ScheduledTask => scheduled_task::args(ask, name),
            Self::Systemd => systemd::args(ask, name, user),
        }
    }

    /// What the tool showed; `None` where that makes no sense.
    fn read(self, shown: &str) -> Option<Seen> {
        match self {
            Self::WindowsService => windows_service::read(shown),
            Self::ScheduledTask => scheduled_task::read(shown),
            Self::Systemd => systemd::read(shown),
        }
    }

    /// Whether it has a restart of its own, which also restarts what depends on it.
    fn restarts(self) -> bool {
        self == Self::Systemd
    }
}

impl Wanted {
    fn goal(self) -> State {
        match self {
            Self::Running | Self::Restarted => State::Running,
            Self::Stopped => State::Stopped,
        }
    }
}

/// Waits until the next look, which is due later each time.
async fn pause(cx: &Context, look: &mut Time) -> Result<(), Failure> {
    tokio::select! {
        () = sleep(*look) => {}
        () = cx.cancelled() => return Err(Failure::dirty(Stopped)),
    }
    *look = (*look * 2).min(LONG_LOOK);
    Ok(())
}

fn said(finished: &Finished) -> ToolSaid {
    let lines = finished.stderr.lines().chain(finished.stdout.lines()).map(str::trim).filter(|line| !line.is_empty());
    let said = lines.collect::<Vec<_>>().join(" ");
    if said.is_empty() { ToolSaid::Nothing { how: finished.ending.clone() } } else { ToolSaid::Something { said } }
}
