//! The kind `start-service`: starts a program that outlives us, and waits until that very program listens.
//!
//! It runs in a session of its own with its output in a file: neither our end nor a terminal's reaches it. An earlier attempt's
//! process that still lives is taken over instead of starting a second one beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Direction, Effect, Failure, OnInterrupt, ProcessIdentity};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Before, Preview, Told};
use almaplan_engine::redact::MASKED;
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::checked;
use crate::env_file;
use crate::files::{Place, make_way};
use crate::human::DurationOr;
use crate::input::{Environment, OneOrMany, OrDefault, Word, environment, texts};
use crate::kinds::command::command_line;
use crate::logs::{self, Offset};
use crate::process::{self, Description, Ending, Gentle, Launch, Launched, Listening, Origin, PortError, Tree};

/// Between two looks at the port: it is part of a downtime.
const LOOK: Time = Time::from_millis(3);
/// The same while somebody listens who is not known to be ours: that look is a long one.
const LONG_LOOK: Time = Time::from_millis(25);
/// How long a service has to go on listening to count as never stopped, rather than as just ending.
const STEADY: Time = Time::from_secs(2);
/// What a service that did not come up gets to end by itself.
const GRACE: Time = Time::from_secs(3);
/// How long a service may still come up elsewhere once what was started has ended well: a server that found a mistake may end so, too
/// (Waitress does when it cannot import the application), and nobody serves meanwhile.
const AFTER_LEAVING: Time = Time::from_secs(15);

/// Starts a program that goes on after almaplan ends, and waits until it listens on its port.
///
/// Listening is not enough: whoever listens must be the started program or one of its children.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartService {
    /// The program: a name to find in `PATH`, or a path from `cwd` or the plan's folder.
    #[serde(deserialize_with = "checked::filled")]
    pub program: Word,
    /// Its arguments, one each; numbers and booleans are written out.
    #[serde(default)]
    pub args: OrDefault<Vec<Word>>,
    /// The folder to run in; default: the plan's.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Variables to set beside those that almaplan has; null unsets one.
    #[serde(default, deserialize_with = "checked::env_names")]
    pub env: OrDefault<Environment>,
    /// Files of variables to set as well, as `.env` files are written; `env` has the last word. No value of them is shown or kept.
    #[serde(default)]
    pub env_file: OneOrMany<PathBuf>,
    /// The TCP port that it will listen on.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The file that everything it prints is appended to.
    pub log: PathBuf,
    /// Further log files that it writes itself; their sizes are noted, too.
    #[serde(default)]
    pub watch_logs: OrDefault<Vec<PathBuf>>,
    /// How long it may take until it listens; then it is ended again. Once the program itself has ended well, 15 s at most.
    #[serde(default)]
    pub deadline: DurationOr<30_000>,
}

/// What a started service leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StartServiceOutput {
    /// The process id of the root of its tree.
    pub pid: u32,
    /// The file that it prints to, absolute.
    pub log: PathBuf,
    /// Where `log` and each of `watch_logs` ended before the start, by absolute path: `from` of a log-check, `logs` of an http-check.
    pub log_offsets: BTreeMap<String, Offset>,
}

/// What waiting for a service came to.
enum Waited {
    Listening { by: ProcessIdentity },
    Ended { how: TreeEnding },
    Late,
    Unknowable { why: PortError },
    Cancelled,
}

/// How a tree ended.
#[derive(Debug, Serialize, thiserror::Error)]
enum TreeEnding {
    #[error(transparent)]
    Root(Ending),
    #[error("ended")]
    Gone,
}

/// Why a service does not run.
#[derive(Debug, Serialize, thiserror::Error)]
enum StartError {
    #[error(
        "`{program}` was not started with `{arg}`, where `{MASKED}` stands for a secret that is not kept: write its `args` in the plan, \
         or hand secrets over in `env`"
    )]
    Masked { program: String, arg: String },
    #[error("the log {} cannot be written: {source}", path.display())]
    Log {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("port {port} is taken, so `{program}` was not started: {by}")]
    Taken { port: u16, program: String, by: Box<Description> },
    #[error("port {port} is taken, so `{program}` was not started: process {pid}")]
    TakenBy { port: u16, program: String, pid: u32 },
    #[error("`{program}` {how} before it listened on port {port}")]
    Ended { program: String, how: TreeEnding, port: u16 },
    #[error("`{program}` did not listen on port {port} within {waited}, so it was ended again")]
    Late { program: String, port: u16, waited: String },
    #[error("`{program}` did not listen on port {port} within {waited}, so it was ended again, where another program does: {other}")]
    LateBehind { program: String, port: u16, waited: String, other: Box<Description> },
    #[error(transparent)]
    Port(PortError),
    #[error(transparent)]
    Stopped(Stopped),
}

/// What is told while it works.
#[derive(Debug, Serialize, thiserror::Error)]
enum StartNote {
    #[error("goes on with process {pid}, which an earlier attempt started")]
    GoesOn { pid: u32 },
    #[error("process {pid} {how}: starting another one")]
    AnotherOne { pid: u32, how: TreeEnding },
    #[error("process {pid} was never stopped: it goes on")]
    NeverStopped { pid: u32 },
    #[error("process {pid} listens, which was started outside of what almaplan follows")]
    FromOutside { pid: u32 },
}

impl Kind for StartService {
    const KIND: &'static str = "start-service";
    const TRAITS: Traits = Traits::new(Effect::Volatile, OnInterrupt::Rerun).adopting();
    type Output = StartServiceOutput;

    async fn run(&self, cx: &Context) -> Result<StartServiceOutput, Failure> {
        if let Some(mut tree) = adopt(cx).await? {
            cx.info(StartNote::GoesOn { pid: tree.root().pid });
            let offsets = cx.recorded("log_offsets").and_then(|value| serde_json::from_value(value).ok());
            let offsets = offsets.unwrap_or_else(|| self.offsets(cx));
            match self.wait(cx, &mut tree, None).await {
                Waited::Ended { how } => cx.info(StartNote::AnotherOne { pid: tree.root().pid, how }),
                waited => return self.conclude(cx, waited, &mut tree, offsets).await,
            }
        }
        let launch = self.launch(cx)?;
        let offsets = self.offsets(cx);
        if cx.direction() == Direction::Undo
            && let Some(pid) = self.never_stopped(cx, &launch).await
        {
            cx.info(StartNote::NeverStopped { pid });
            return Ok(StartServiceOutput { pid, log: cx.path(&self.log), log_offsets: offsets });
        }
        self.refuse_taken_port()?;
        if let Some(by) = process::bound_to() {
            cx.warn(by);
        }
        cx.record("log_offsets", &offsets).await?;
        let Launched { mut child, identity, lifetime_handle: _ } = process::launch(cx, launch).await?;
        let mut tree = Tree::of(&identity);
        let waited = self.wait(cx, &mut tree, Some(&mut child)).await;
        self.conclude(cx, waited, &mut tree, offsets).await
    }

    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        let told = Told::new("starts").field("command", command_line(&self.program.0, &texts(&self.args)));
        let told = Preview::default().tell(told.field("port", self.port.to_string()));
        told.output("log", cx.path(&self.log).display().to_string())
    }

    fn default_timeout(&self) -> Option<Time> {
        // Twice: what is taken over may end, and another one is started.
        Some(self.deadline.0 * 2 + Time::from_secs(30))
    }
}

/// The newest process of earlier attempts that still runs; whatever else they left is ended.
async fn adopt(cx: &Context) -> Result<Option<Tree>, Failure> {
    let mut adopted: Option<Tree> = None;
    for process in cx.processes().iter().rev() {
        let alive = process::is_alive(process);
        let part_of_adopted = adopted.as_mut().is_some_and(|tree| !alive || tree.refresh().contains(&process.pid));
        match &adopted {
            None if alive => adopted = Some(Tree::of(process)),
            // Of a launcher that has ended, what still runs is what was adopted.
            Some(_) if part_of_adopted => {}
            None | Some(_) => drop(process::stop(&mut Tree::of(process), Gentle::Term, GRACE).await.map_err(Failure::dirty)?),
        }
    }
    Ok(adopted)
}

impl StartService {
    fn launch(&self, cx: &Context) -> Result<Launch, Failure> {
        // As `stop-service` recorded them, for a rollback: a service started so would come up, and be another one.
        if let Some(masked) = self.args.iter().find(|arg| arg.contains(MASKED)) {
            return Err(Failure::clean(StartError::Masked { program: self.program.to_string(), arg: masked.to_string() }));
        }
        // First, because the folder of the log is often also the one to run in, and may not exist on a first start.
        let path = cx.path(&self.log);
        let open = || {
            path.parent().map_or(Ok(()), make_way)?;
            let log = Place::of(&path)?.append(0o666)?;
            Ok((log.try_clone()?, log))
        };
        let (stdout, stderr) = open().map_err(|source| Failure::clean(StartError::Log { path: path.clone(), source }))?;
        let cwd = cx.path(self.cwd.as_deref().unwrap_or(Path::new("")));
        let mut env = env_file::variables(cx, &self.env_file)?;
        env.extend(environment(&self.env));
        let program = process::resolve(&self.program.0, &cwd, &cx.run().plan_dir, &env).map_err(Failure::clean)?;
        let (stdout, stderr) = (Stdio::from(stdout), Stdio::from(stderr));
        let origin = self.origin(cx);
        Ok(Launch { program, args: texts(&self.args), verbatim: false, cwd, env, stdout, stderr, outlives_us: true, origin })
    }

    /// How the service was running that a step of the same name stopped, where this start brings that one back (rule 22).
    fn origin(&self, cx: &Context) -> Option<Origin> {
        let kept = Origin::kept(cx).filter(|_| cx.direction() == Direction::Undo);
        kept.filter(|origin| origin.program == self.program.0 && origin.args == texts(&self.args))
    }

    /// The very process that this start brings back, if it listens and goes on doing so: a stop that this start makes up for may have
    /// been interrupted before it did anything. One that only looks the same was started by somebody else, perhaps of other files.
    async fn never_stopped(&self, cx: &Context, launch: &Launch) -> Option<u32> {
        let until = Instant::now() + STEADY;
        loop {
            let listener = process::listeners(self.port).ok()?.into_iter().next()?;
            let root = process::root_of(&listener).ok()??;
            if cx.known_process(root.pid).is_none_or(|known| !process::is_alive(&known)) {
                return None;
            }
            let root = root.pid;
            let running = process::describe(root)?;
            let text = |path: &Path| process::comparable(&path.to_string_lossy());
            if text(&running.program) != text(&launch.program) || running.args != launch.args {
                return None;
            }
            if Instant::now() >= until {
                return Some(root);
            }
            sleep(LONG_LOOK).await;
        }
    }

    fn refuse_taken_port(&self) -> Result<(), Failure> {
        let listeners = process::listeners(self.port).map_err(Failure::clean)?;
        let Some(taken) = listeners.first().map(|listener| listener.pid) else { return Ok(()) };
        let (port, program) = (self.port, self.program.to_string());
        Err(Failure::clean(match process::describe(taken) {
            Some(by) => StartError::Taken { port, program, by: Box::new(by) },
            None => StartError::TakenBy { port, program, pid: taken },
        }))
    }

    /// The sizes of all logs now.
    fn offsets(&self, cx: &Context) -> BTreeMap<String, Offset> {
        let paths = std::iter::once(&self.log).chain(self.watch_logs.iter()).map(|path| cx.path(path));
        paths.map(|path| (path.to_string_lossy().into_owned(), Offset::end_of(&path))).collect()
    }

    /// Waits until `tree` listens. `child` is its root where we started that ourselves.
    async fn wait(&self, cx: &Context, tree: &mut Tree, mut child: Option<&mut Child>) -> Waited {
        let mut deadline = Instant::now() + self.deadline.0;
        let mut left = false;
        loop {
            let look = match process::listening(tree, self.port) {
                Ok(Listening::Member(by)) => return Waited::Listening { by },
                Ok(Listening::Nobody) => LOOK,
                Ok(Listening::Other) if left => match self.daemon(tree) {
                    Some(by) => {
                        cx.info(StartNote::FromOutside { pid: by.pid });
                        return Waited::Listening { by };
                    }
                    None => LONG_LOOK,
                },
                Ok(Listening::Other) => LONG_LOOK,
                Err(why) => return Waited::Unknowable { why },
            };
            let ended = if left || process::is_alive(tree.root()) { None } else { ended(tree, child.as_deref_mut()) };
            match ended {
                // What it asked for may go on elsewhere, and listen in a moment: a daemon, the client of a server of processes.
                Some(TreeEnding::Root(Ending::WELL)) => {
                    left = true;
                    deadline = deadline.min(Instant::now() + AFTER_LEAVING);
                }
                Some(how) => return Waited::Ended { how },
                None => {}
            }
            if Instant::now() >= deadline {
                return if left { Waited::Ended { how: TreeEnding::Root(Ending::WELL) } } else { Waited::Late };
            }
            tokio::select! {
                () = sleep(look) => {}
                () = cx.cancelled() => return Waited::Cancelled,
            }
        }
    }

    /// Who listens although `tree`, which was started for that, has left: the port was free then, and it is younger.
    fn daemon(&self, tree: &Tree) -> Option<ProcessIdentity> {
        process::listeners(self.port).ok()?.into_iter().find(|by| by.boot == tree.root().boot && by.started >= tree.root().started)
    }

    async fn conclude(
        &self,
        cx: &Context,
        waited: Waited,
        tree: &mut Tree,
        log_offsets: BTreeMap<String, Offset>,
    ) -> Result<StartServiceOutput, Failure> {
        let log = cx.path(&self.log);
        let (port, program) = (self.port, self.program.to_string());
        let error = match waited {
            Waited::Listening { by } => {
                let pid = root(cx, tree, by).await?;
                return Ok(StartServiceOutput { pid, log, log_offsets });
            }
            Waited::Ended { how } => StartError::Ended { program, how, port },
            Waited::Late => self.late(),
            Waited::Unknowable { why } => StartError::Port(why),
            Waited::Cancelled => StartError::Stopped(Stopped),
        };
        process::stop(tree, Gentle::Term, GRACE).await.map_err(Failure::dirty)?;
        let offset = log_offsets.get(log.to_string_lossy().as_ref()).cloned().unwrap_or_default();
        Err(Failure::dirty(error).with_tail(logs::last_lines(&log, &offset)))
    }

    fn late(&self) -> StartError {
        let (port, program, waited) = (self.port, self.program.to_string(), humantime::format_duration(self.deadline.0).to_string());
        match process::listeners(port).ok().and_then(|found| process::describe(found.first()?.pid)) {
            Some(other) => StartError::LateBehind { program, port, waited, other: Box::new(other) },
            None => StartError::Late { program, port, waited },
        }
    }
}

/// How a tree ended whose root has; `None` where the root was a launcher that let its service go on.
fn ended(tree: &mut Tree, child: Option<&mut Child>) -> Option<TreeEnding> {
    let how = child.and_then(|child| child.try_wait().ok().flatten()).map(process::ending);
    match how {
        Some(Ending::WELL) | None => tree.refresh().is_empty().then(|| how.map_or(TreeEnding::Gone, TreeEnding::Root)),
        Some(how) => Some(TreeEnding::Root(how)),
    }
}

/// The process to stop some day: the one that was started, or who listens where that was only a launcher.
async fn root(cx: &Context, tree: &Tree, listener: ProcessIdentity) -> Result<u32, Failure> {
    if process::is_alive(tree.root()) {
        return Ok(tree.root().pid);
    }
    let pid = listener.pid;
    cx.spawned(listener).await?;
    Ok(pid)
}
