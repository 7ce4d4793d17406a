//! The kind `command`: runs a program and leaves nothing of it behind.
//!
//! When it ends, in whatever way, so does everything that it started.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration as Time;

use almaplan_engine::context::Context;
use almaplan_engine::event::{Effect, Failure, OnInterrupt};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::preview::{Becomes, Before, Preview, Told};
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checked;
use crate::env_file;
use crate::files::{Attributes, Place, unfinished_in};
use crate::human::DurationOr;
use crate::input::{Environment, OneOrMany, OrDefault, Word, environment, texts};
use crate::process::{self, Ending, Finished, Launch, RunOptions};

/// How much of the end of each stream is an output, in bytes.
const TAIL: usize = 64 << 10;

/// Runs a program, shows what it prints, and fails unless it ends with a code that means success.
///
/// Its standard input is empty. Whatever it leaves running in the background is ended with it: what it started, and what those
/// started; only a daemon that has left its session, its environment and its parents behind is out of reach. Of each stream 32 MiB are
/// shown and kept in the step's log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program: a name to find in `PATH`, or a path from `cwd` or the plan's folder. With `shell = true` a line for the
    /// shell.
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
    /// Runs `program` as a line of the system's shell (`sh`, on Windows `cmd`), with `args` as `$1`, `$2`, ….
    #[serde(default)]
    pub shell: OrDefault<bool>,
    /// A file for what it prints on standard output: replaced as a whole when it succeeds, untouched otherwise.
    #[serde(default)]
    pub stdout: Option<PathBuf>,
    /// Exit codes that mean success.
    #[serde(default)]
    #[schemars(default = "success")]
    pub success_codes: Option<Vec<i32>>,
    /// It can simply be run again after an interruption; otherwise a person is asked what became of it.
    #[serde(default)]
    pub idempotent: OrDefault<bool>,
    /// It only looks and changes nothing, so `preview` runs it too, to know what it prints. It can be run again, and has no `stdout`.
    #[serde(default)]
    pub read_only: OrDefault<bool>,
    /// How long it may take to end when it is asked to, before it is killed.
    #[serde(default)]
    pub grace: DurationOr<5_000>,
}

fn success() -> Vec<i32> {
    vec![0]
}

/// What a command leaves.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandOutput {
    /// Its exit code.
    pub code: i32,
    /// The end of what it printed on standard output, at most 64 KiB; empty where that went to a file.
    pub stdout: String,
    /// The end of what it printed on standard error, at most 64 KiB.
    pub stderr: String,
}

/// Why a program did not do what it should, or did not begin.
#[derive(Debug, Serialize, thiserror::Error)]
enum CommandError {
    #[error("`{program}` {how}")]
    Ended { program: String, how: Ending },
    #[error("`stdout` must name a file, but {} does not", path.display())]
    NoName { path: PathBuf },
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: io::Error,
    },
    #[error("{} cannot be replaced: {source}", path.display())]
    NotReplaced {
        path: PathBuf,
        #[serde(serialize_with = "verbatim")]
        source: io::Error,
    },
}

impl Kind for Command {
    const KIND: &'static str = "command";
    const TRAITS: Traits = Traits::new(Effect::Changes, OnInterrupt::Ask).timeout(Time::from_secs(3600));
    type Output = CommandOutput;

    async fn run(&self, cx: &Context) -> Result<CommandOutput, Failure> {
        let capture = self.stdout.as_ref().map(|path| Capture::begin(&cx.path(path))).transpose()?;
        let launch = self.launch(cx, capture.as_ref())?;
        let options = RunOptions { name: &self.program.0, grace: self.grace.0, shown: true, keep: TAIL };
        let Finished { ending, stdout, stderr, last } = process::run(cx, launch, options).await?;
        let failed = |error| Failure::dirty(error).with_tail(last.clone());
        let code = match ending {
            Ending::Code { code } if self.success_codes.clone().unwrap_or_else(success).contains(&code) => code,
            how => return Err(failed(CommandError::Ended { program: self.program.to_string(), how })),
        };
        if let Some(capture) = capture {
            capture.keep().map_err(failed)?;
        }
        Ok(CommandOutput { code, stdout, stderr })
    }

    async fn preview(&self, cx: &Context, _: &Before) -> Preview {
        if *self.read_only && self.stdout.is_none() {
            return match self.run(cx).await {
                Err(failure) => Preview::failure(failure),
                Ok(CommandOutput { code, stdout, stderr }) => {
                    let first = stdout.lines().next().unwrap_or_default().to_owned();
                    let told = Preview::default().tell(Told::new("printed").field("line", first));
                    told.output("code", code).output("stdout", stdout).output("stderr", stderr)
                }
            };
        }
        let told = Preview::default().tell(Told::new("runs").field("command", command_line(&self.program.0, &texts(&self.args))));
        self.stdout.iter().fold(told, |preview, file| preview.change(cx.path(file), Becomes::Unknown))
    }

    fn on_interrupt(&self) -> OnInterrupt {
        if *self.idempotent || *self.read_only { OnInterrupt::Rerun } else { OnInterrupt::Ask }
    }
}

impl Command {
    fn launch(&self, cx: &Context, capture: Option<&Capture>) -> Result<Launch, Failure> {
        let cwd = cx.path(self.cwd.as_deref().unwrap_or(Path::new("")));
        let mut env = env_file::variables(cx, &self.env_file)?;
        env.extend(environment(&self.env));
        let (program, args) = match *self.shell {
            true => process::shell(&self.program.0, texts(&self.args)),
            false => (self.program.0.clone(), texts(&self.args)),
        };
        let program = process::resolve(&program, &cwd, &cx.run().plan_dir, &env).map_err(Failure::clean)?;
        let stdout = capture.map_or(Ok(Stdio::piped()), Capture::stdio)?;
        Ok(Launch { program, args, verbatim: *self.shell, cwd, env, stdout, stderr: Stdio::piped(), outlives_us: false, origin: None })
    }
}

/// A program with its arguments as people read them.
pub(crate) fn command_line(program: &str, args: &[String]) -> String {
    std::iter::once(program).chain(args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// A file for standard output that does not exist under its name before it is whole.
struct Capture {
    path: PathBuf,
    place: Place,
    partial: String,
    file: File,
}

impl Capture {
    fn begin(path: &Path) -> Result<Self, Failure> {
        if path.file_name().is_none() {
            return Err(Failure::clean(CommandError::NoName { path: path.to_owned() }));
        }
        let failed = |source| Failure::clean(CommandError::Unwritable { path: path.to_owned(), source });
        // What a link leads to is written, wherever that is: renamed over, the link itself would be gone.
        let place = Place::of(path).map_err(failed)?;
        let partial = unfinished_in("").map_err(failed)?;
        let file = place.folder.create_file(&partial, 0o666).map_err(failed)?;
        Ok(Self { path: path.to_owned(), place, partial, file })
    }

    fn stdio(&self) -> Result<Stdio, Failure> {
        self.file
            .try_clone()
            .map(Stdio::from)
            .map_err(|source| Failure::clean(CommandError::Unwritable { path: self.path.clone(), source }))
    }

    fn keep(self) -> Result<(), CommandError> {
        let kept = || {
            let Place { folder, name } = &self.place;
            if let Ok((before, meta)) = folder.open_file(name) {
                Attributes { modified: None, ..Attributes::of(&before, &meta)? }.apply(&self.file)?;
            }
            self.file.sync_all()?;
            folder.rename(&self.partial, folder, name)?;
            folder.sync_folder("")
        };
        kept().map_err(|source| CommandError::NotReplaced { path: self.path.clone(), source })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // After `keep` there is nothing left under this name.
        let _ = self.place.folder.remove_file(&self.partial);
    }
}
