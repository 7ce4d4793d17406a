//! What ends before or without a run: typed, with its sources, until it is told to somebody.

use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::event::Outcome;
use almaplan_engine::journal::JournalError;
use almaplan_engine::lock::{LockError, LockHolder};
use almaplan_engine::plan::{Mistake, VarError};
use almaplan_engine::runs::{NextCommand, RunError};
use almaplan_engine::trust::Distrust;

use super::places::Places;
use super::problem;
use super::state::{self, chain};
use crate::exit::Exit;
use crate::lang::{Lang, Value};
use crate::models::report::ReportError;

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The engine refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The command line cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// The plan file cannot be read.
    #[error("could not read the plan {}", .file.display())]
    PlanUnreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The plan has mistakes.
    #[error("the plan {} has mistakes", .file.display())]
    PlanInvalid {
        /// The file.
        file: PathBuf,
        /// Its text.
        text: String,
        /// What is wrong.
        mistakes: Vec<Mistake>,
        /// Where the values of variables were given that some are about.
        given: Vec<GivenBy>,
    },
    /// What is given for variables is wrong.
    #[error("the variables cannot be given their values")]
    BadValues {
        /// What is wrong.
        errors: Vec<VarError>,
        /// Where each value was given.
        given: Vec<GivenBy>,
    },
    /// A file of values of variables cannot be used.
    #[error("could not read the variables in {}", .file.display())]
    BadVars {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: VarsError,
    },
    /// There is nobody to ask.
    #[error("there is no terminal to ask on")]
    NeedsYes {
        /// What was typed.
        command: String,
    },
    /// The person who was asked said no.
    #[error("not confirmed")]
    NotConfirmed {
        /// What was typed.
        command: String,
    },
    /// There is no such kind.
    #[error("there is no kind `{0}`")]
    UnknownKind(String),
    /// A run needs more files than this process may have open.
    #[error("a run needs {needed} open files")]
    TooFewFiles {
        /// How many, at least.
        needed: usize,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such code.
    #[error("there is no code `{0}`")]
    UnknownCode(String),
    /// A file is in the way of one that would be written.
    #[error("{} is there already", .file.display())]
    AlreadyThere {
        /// The file.
        file: PathBuf,
    },
    /// No application that there is a template for.
    #[error("no application was recognized in {}", .folder.display())]
    NoApplication {
        /// Where.
        folder: PathBuf,
    },
    /// A plan cannot have this path.
    #[error("the path {} is no text", .path.display())]
    PathNoText {
        /// The path.
        path: PathBuf,
    },
    /// What was asked for could not be written there.
    #[error("could not write {}", .file.display())]
    FileUnwritable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The logs of a run, or a file of it, cannot be read.
    #[error("the logs in `{}` could not be read", .path.display())]
    LogsUnreadable {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no threads or no signals.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Run(error) => Self::Run(error),
            ReportError::Logs { path, source } => Self::LogsUnreadable { path, source },
        }
    }
}

/// Who gave a value for a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBy {
    /// The variable.
    pub name: String,
    /// `--var port=1`, or a file with its line.
    pub source: String,
}

/// Why a file of values of variables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VarsError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is no TOML.
    #[error("line {line}, column {column}: {detail}")]
    Toml {
        /// Where, counted from 1.
        line: usize,
        /// Where, in characters counted from 1.
        column: usize,
        /// What the parser says.
        detail: String,
    },
    /// It holds what JSON cannot.
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl VarsError {
    /// What the parser says of `text`, and where.
    pub(crate) fn no_toml(text: &str, error: &toml::de::Error) -> Self {
        let place = Places::of(text).place(error.span().map_or(0, |span| span.start));
        Self::Toml { line: place.line, column: place.column, detail: error.message().replace('\n', ", ") }
    }
}

/// Why something was refused, as programs see it: each has its code, which never changes, its exit code, and its message `refused-<code>`
/// with these arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `error`: what nobody foresaw.
    Internal,
    /// `error`: the command line cannot be understood.
    Usage,
    /// `file`, `error`: the plan file cannot be read.
    PlanUnreadable,
    /// `file`: the plan has mistakes.
    PlanInvalid,
    /// `error`: a variable that was given does not fit.
    BadVariable,
    /// `secret`, `error`: a secret that the work needs cannot be had.
    SecretMissing,
    /// `run`, `lock`, `pid`, `user`: a run that is going on holds the lock.
    Held,
    /// `lock`, `user`, `pid` (`none`: a run that was left): what the plan locks is taken by a process that is not on record here, or by another
    /// user's run.
    Occupied,
    /// `error`: a state, a record or a lock, or what leads to it, is another user's, or can be changed by others.
    NotOurs,
    /// `run`, `lock`, `user`, `state`, `known` (whether what leads on is), `next`: a run that is not settled stands in the way.
    Unsettled,
    /// `run`, `folder`, `record`: the state of a run that is not settled is not where it was.
    StateGone,
    /// `run`, `lock`, `error`: an unsettled run is in the way, and cannot be read.
    RunUnreadable,
    /// `file`, `user`: the record in the way is another user's.
    ForeignRecord,
    /// `locks`: it must be said which target is meant.
    ManyLocks,
    /// `file`, `error`: a journal that does not verify.
    JournalDamaged,
    /// `file`, `version`, `known`: a journal that a newer program wrote.
    JournalNewer,
    /// `command`: there is nobody to ask.
    NeedsYes,
    /// `command`: the person who was asked said no.
    NotConfirmed,
    /// No state folder or no run to be found.
    NoRun,
    /// `run`: there is no such run.
    UnknownRun,
    /// `runs`: it must be said which one is meant.
    ManyRuns,
    /// `run`, `plan`: the run with the chosen id is one of another plan.
    OtherPlan,
    /// `run`, `outcome`: what was asked for needs a run that is not settled.
    AlreadySettled,
    /// `run`, `step`: there is no such step.
    UnknownStep,
    /// `run`, `step`: nobody asks about this step.
    NotAsked,
    /// `run`, `step`: it owes no compensation that a person could answer for.
    NotOwed,
    /// `run`, `step`: somebody gave an answer already.
    AlreadyAnswered,
    /// `run`, `step`: something that cannot be undone ran.
    Irreversible,
    /// `run`, `newer`: a newer run stands on top.
    NewerRun,
    /// `run`, `outcome`: only a run that succeeded can be rolled back.
    NothingToRollBack,
    /// `kind`: there is no such kind.
    UnknownKind,
    /// `count`, `error`: this process may not open as many files as a run needs.
    TooFewFiles,
    /// `code`: there is no such code.
    UnknownCode,
    /// `folder`, `error`: the state or the machine's folder cannot be used.
    StateUnusable,
    /// `folder`, `error`: no space is left for the state or the machine's folder.
    DiskFull,
    /// `folder`: the state folder is on a network share.
    StateOnNetwork,
    /// `file`, `error`: what was asked for could not be written there.
    FileUnwritable,
    /// `file`: it is in the way of one that would be written.
    AlreadyThere,
    /// `folder`: no application that there is a template for.
    NoApplication,
    /// `file`: a path that no plan can have.
    PathNoText,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::Internal,
        Self::Usage,
        Self::PlanUnreadable,
        Self::PlanInvalid,
        Self::BadVariable,
        Self::SecretMissing,
        Self::Held,
        Self::Occupied,
        Self::NotOurs,
        Self::Unsettled,
        Self::StateGone,
        Self::RunUnreadable,
        Self::ForeignRecord,
        Self::ManyLocks,
        Self::JournalDamaged,
        Self::JournalNewer,
        Self::NeedsYes,
        Self::NotConfirmed,
        Self::NoRun,
        Self::UnknownRun,
        Self::ManyRuns,
        Self::OtherPlan,
        Self::AlreadySettled,
        Self::UnknownStep,
        Self::NotAsked,
        Self::NotOwed,
        Self::AlreadyAnswered,
        Self::Irreversible,
        Self::NewerRun,
        Self::NothingToRollBack,
        Self::UnknownKind,
        Self::TooFewFiles,
        Self::UnknownCode,
        Self::StateUnusable,
        Self::DiskFull,
        Self::StateOnNetwork,
        Self::FileUnwritable,
        Self::AlreadyThere,
        Self::NoApplication,
        Self::PathNoText,
    ];

    /// As programs see it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::PlanUnreadable => "plan-unreadable",
            Self::PlanInvalid => "plan-invalid",
            Self::BadVariable => "bad-variable",
            Self::SecretMissing => "secret-missing",
            Self::Held => "held",
            Self::Occupied => "occupied",
            Self::NotOurs => "not-ours",
            Self::Unsettled => "unsettled",
            Self::StateGone => "state-gone",
            Self::RunUnreadable => "run-unreadable",
            Self::ForeignRecord => "foreign-record",
            Self::ManyLocks => "many-locks",
            Self::JournalDamaged => "journal-damaged",
            Self::JournalNewer => "journal-newer",
            Self::NeedsYes => "needs-yes",
            Self::NotConfirmed => "not-confirmed",
            Self::NoRun => "no-run",
            Self::UnknownRun => "unknown-run",
            Self::ManyRuns => "many-runs",
            Self::OtherPlan => "other-plan",
            Self::AlreadySettled => "already-settled",
            Self::UnknownStep => "unknown-step",
            Self::NotAsked => "not-asked",
            Self::NotOwed => "not-owed",
            Self::AlreadyAnswered => "already-answered",
            Self::Irreversible => "irreversible",
            Self::NewerRun => "newer-run",
            Self::NothingToRollBack => "nothing-to-roll-back",
            Self::UnknownKind => "unknown-kind",
            Self::TooFewFiles => "too-few-files",
            Self::UnknownCode => "unknown-code",
            Self::StateUnusable => "state-unusable",
            Self::DiskFull => "disk-full",
            Self::StateOnNetwork => "state-on-network",
            Self::FileUnwritable => "file-unwritable",
            Self::AlreadyThere => "already-there",
            Self::NoApplication => "no-application",
            Self::PathNoText => "path-no-text",
        }
    }

    /// What the process ends with.
    pub fn exit(self) -> Exit {
        match self {
            Self::Internal | Self::StateUnusable | Self::DiskFull | Self::TooFewFiles => Exit::Internal,
            Self::Held | Self::Occupied | Self::Unsettled | Self::StateGone | Self::RunUnreadable | Self::ForeignRecord => Exit::Held,
            Self::JournalDamaged => Exit::Damaged,
            Self::NeedsYes | Self::NotConfirmed => Exit::NeedsYes,
            Self::Usage
            | Self::PlanUnreadable
            | Self::PlanInvalid
            | Self::BadVariable
            | Self::SecretMissing
            | Self::JournalNewer
            | Self::NoRun
            | Self::UnknownRun
            | Self::ManyRuns
            | Self::ManyLocks
            | Self::OtherPlan
            | Self::AlreadySettled
            | Self::UnknownStep
            | Self::NotAsked
            | Self::NotOwed
            | Self::AlreadyAnswered
            | Self::Irreversible
            | Self::NewerRun
            | Self::NothingToRollBack
            | Self::UnknownKind
            | Self::UnknownCode
            | Self::NotOurs
            | Self::StateOnNetwork
            | Self::FileUnwritable
            | Self::AlreadyThere
            | Self::NoApplication
            | Self::PathNoText => Exit::Usage,
        }
    }
}

/// The arguments of a message.
pub(super) type Args<'a> = Vec<(&'static str, Arg<'a>)>;

/// One argument of a message.
pub(super) enum Arg<'a> {
    /// The same in every language.
    Plain(Value<'static>),
    /// What each language has words of its own for.
    Words(Box<dyn Fn(&Lang) -> String + 'a>),
}

impl Arg<'_> {
    /// In the words of a language.
    pub(super) fn in_words(&self, lang: &Lang) -> Value<'static> {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Words(words) => words(lang).into(),
        }
    }
}

/// What is wrong with variables, one a line, with who gave their values as far as that is known.
fn of_variables(lang: &Lang, errors: &[VarError], given: &[GivenBy]) -> String {
    errors.iter().map(|error| of_variable(lang, error, given)).collect::<Vec<_>>().join("\n")
}

/// What became of a run, where it is settled.
fn of_outcome(lang: &Lang, outcome: Option<Outcome>) -> String {
    outcome.map_or_else(|| "-".to_owned(), |outcome| lang.text(&format!("outcome-{}", outcome.as_str())))
}

fn of_variable(lang: &Lang, error: &VarError, given: &[GivenBy]) -> String {
    let text = problem::variable(lang, error);
    // The last one counts.
    let source = error.name().and_then(|name| given.iter().rfind(|given| given.name == name));
    source.map_or(text.clone(), |given| lang.with("var-given", &[("error", text.into()), ("source", given.source.clone().into())]))
}

fn of_values(lang: &Lang, file: &Path, error: &VarsError) -> String {
    let file = file.display().to_string();
    let unreadable = |detail: String| lang.with("values-unreadable", &[("file", file.clone().into()), ("detail", detail.into())]);
    match error {
        VarsError::Read(error) => unreadable(state::file(lang, error)),
        VarsError::Value(error) => unreadable(lang.with("file-other", &[("detail", error.to_string().into())])),
        VarsError::Toml { line, column, detail } => {
            let place = [("line", line.to_string().into()), ("column", column.to_string().into())];
            lang.with("values-no-toml", &[&place[..], &[("file", file.into()), ("detail", detail.clone().into())]].concat())
        }
    }
}

impl Refusal {
    /// Its reason, and the arguments of the message of that.
    pub(super) fn told(&self) -> (Reason, Args<'_>) {
        match self {
            Self::Run(error) => of_run(error),
            Self::Usage(said) => (Reason::Usage, vec![text("error", said)]),
            Self::PlanUnreadable { file, source } => {
                (Reason::PlanUnreadable, vec![path("file", file), words("error", |lang| state::file(lang, source))])
            }
            Self::PlanInvalid { file, .. } => (Reason::PlanInvalid, vec![path("file", file)]),
            Self::BadValues { errors, given } => (Reason::BadVariable, vec![words("error", |lang| of_variables(lang, errors, given))]),
            Self::BadVars { file, source } => (Reason::BadVariable, vec![words("error", |lang| of_values(lang, file, source))]),
            Self::NeedsYes { command } => (Reason::NeedsYes, vec![text("command", command)]),
            Self::NotConfirmed { command } => (Reason::NotConfirmed, vec![text("command", command)]),
            Self::UnknownKind(kind) => (Reason::UnknownKind, vec![text("kind", kind)]),
            Self::TooFewFiles { needed, source } => (Reason::TooFewFiles, vec![text("count", needed.to_string()), text("error", source)]),
            Self::UnknownCode(code) => (Reason::UnknownCode, vec![text("code", code)]),
            Self::FileUnwritable { file, source } if source.kind() == io::ErrorKind::StorageFull => {
                (Reason::DiskFull, vec![path("folder", file), words("error", |lang| state::file(lang, source))])
            }
            Self::FileUnwritable { file, source } => {
                (Reason::FileUnwritable, vec![path("file", file), words("error", |lang| state::file(lang, source))])
            }
            Self::AlreadyThere { file } => (Reason::AlreadyThere, vec![path("file", file)]),
            Self::NoApplication { folder } => (Reason::NoApplication, vec![path("folder", folder)]),
            Self::PathNoText { path: file } => (Reason::PathNoText, vec![path("file", file)]),
            Self::LogsUnreadable { source, .. } => (Reason::Internal, vec![text("error", format!("{self} ({source})"))]),
            Self::System(source) => (Reason::Internal, vec![text("error", chain(source))]),
        }
    }

    /// What leads on from here (rule 20), where it is known.
    pub(super) fn next(&self) -> Vec<NextCommand> {
        match self {
            Self::Run(error) => error.next(),
            _ => Vec::new(),
        }
    }

    /// The mistakes of a plan that it is about: the file, its text, what is wrong, and who gave values.
    pub(super) fn mistakes(&self) -> Option<(&Path, &str, &[Mistake], &[GivenBy])> {
        match self {
            Self::PlanInvalid { file, text, mistakes, given } => Some((file, text, mistakes, given)),
            Self::Run(RunError::PlanInvalid { path, text, mistakes }) => Some((path, text, mistakes, &[])),
            _ => None,
        }
    }
}

fn of_run(error: &RunError) -> (Reason, Args<'_>) {
    match error {
        RunError::PlanInvalid { path: file, .. } => (Reason::PlanInvalid, vec![path("file", file)]),
        RunError::Variables(errors) => (Reason::BadVariable, vec![words("error", |lang| of_variables(lang, errors, &[]))]),
        RunError::LockTemplate(error) => (Reason::BadVariable, vec![words("error", |lang| problem::template(lang, error))]),
        RunError::SecretMissing { secret, from, source } => {
            (Reason::SecretMissing, vec![text("secret", secret), words("error", |lang| state::secret(lang, source, from))])
        }
        RunError::Held { holder, .. } => (Reason::Held, held(holder.as_deref())),
        RunError::Unsettled { holder, next } => {
            let state = path("state", &holder.state_dir);
            let args = vec![text("run", &holder.run), text("lock", &holder.lock), text("user", &holder.user), state];
            let known = if next.is_empty() { "no" } else { "yes" };
            let first = next.first().cloned().unwrap_or_else(|| NextCommand::resume(&holder.run));
            (Reason::Unsettled, args.into_iter().chain([text("known", known), text("next", first)]).collect())
        }
        RunError::StateGone { holder, .. } => (Reason::StateGone, vec![text("run", &holder.run), path("folder", &holder.state_dir)]),
        RunError::Unreadable { holder, source } => match of_run(source) {
            // Damage and a newer format have reasons of their own.
            (reason @ (Reason::JournalDamaged | Reason::JournalNewer), args) => (reason, args),
            _ => (Reason::RunUnreadable, vec![text("run", &holder.run), text("lock", &holder.lock), text("error", chain(&**source))]),
        },
        RunError::ManyLocks(locks) => (Reason::ManyLocks, vec![text("locks", locks.join(", "))]),
        RunError::Lock { source: LockError::ForeignRecord { file, user }, .. } => {
            (Reason::ForeignRecord, vec![path("file", file), text("user", user)])
        }
        RunError::Occupied { lock, user, pid } => {
            let pid = pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
            (Reason::Occupied, vec![text("lock", lock), text("user", user), text("pid", pid)])
        }
        RunError::Distrusted(distrust) => not_ours(distrust),
        RunError::Journal { source: JournalError::Distrusted(distrust), .. } => not_ours(distrust),
        RunError::Lock { source: LockError::Distrusted(distrust), .. } => not_ours(distrust),
        RunError::Journal { folder, source } => of_journal(folder, source),
        RunError::Lock { folder, source } => unusable(folder, source.is_full(), |lang| state::lock(lang, source)),
        RunError::NoRun => (Reason::NoRun, Vec::new()),
        RunError::UnknownRun(run) => (Reason::UnknownRun, vec![text("run", run)]),
        RunError::ManyRuns(runs) => {
            let runs: Vec<_> = runs.iter().map(|run| run.as_str()).collect();
            (Reason::ManyRuns, vec![text("runs", runs.join(", "))])
        }
        RunError::OtherPlan { run, plan } => (Reason::OtherPlan, vec![text("run", run), text("plan", plan)]),
        RunError::AlreadySettled { run, outcome } => {
            (Reason::AlreadySettled, vec![text("run", run), words("outcome", |lang| of_outcome(lang, *outcome))])
        }
        RunError::Irreversible { run, step } => {
            let step = step.as_ref().map(ToString::to_string).unwrap_or_default();
            (Reason::Irreversible, vec![text("run", run), text("step", step)])
        }
        RunError::NothingToRollBack { run, outcome } => {
            (Reason::NothingToRollBack, vec![text("run", run), words("outcome", |lang| of_outcome(lang, *outcome))])
        }
        RunError::NewerRun { run, newer } => (Reason::NewerRun, vec![text("run", run), text("newer", newer)]),
        RunError::UnknownStep { run, step } => (Reason::UnknownStep, vec![text("run", run), text("step", step)]),
        RunError::NotAsked { run, step } => (Reason::NotAsked, vec![text("run", run), text("step", step)]),
        RunError::NotOwed { run, step } => (Reason::NotOwed, vec![text("run", run), text("step", step)]),
        RunError::AlreadyAnswered { run, step } => (Reason::AlreadyAnswered, vec![text("run", run), text("step", step)]),
        error => (Reason::Internal, vec![text("error", chain(error))]),
    }
}

fn of_journal<'a>(folder: &Path, error: &'a JournalError) -> (Reason, Args<'a>) {
    match error {
        JournalError::Damaged { .. } | JournalError::NotOurs(_) => {
            (Reason::JournalDamaged, vec![path("file", folder), words("error", |lang| state::damage(lang, error))])
        }
        JournalError::NewerFormat { found, known } => {
            (Reason::JournalNewer, vec![path("file", folder), text("version", found), text("known", known)])
        }
        JournalError::NetworkShare { .. } => (Reason::StateOnNetwork, vec![path("folder", folder)]),
        error => unusable(folder, error.is_full(), |lang| state::journal(lang, error)),
    }
}

/// What is not believed (rule 23). Nothing in it is named: its owner chose that.
fn not_ours(distrust: &Distrust) -> (Reason, Args<'_>) {
    match distrust {
        Distrust::Io { path: folder, source } => unusable(folder, false, |lang| state::file(lang, source)),
        distrust => (Reason::NotOurs, vec![words("error", |lang| state::distrust(lang, distrust))]),
    }
}

/// A folder that the system does not let us use.
fn unusable<'a>(folder: &Path, full: bool, error: impl Fn(&Lang) -> String + 'a) -> (Reason, Args<'a>) {
    let reason = if full { Reason::DiskFull } else { Reason::StateUnusable };
    (reason, vec![path("folder", folder), words("error", error)])
}

fn held(holder: Option<&LockHolder>) -> Args<'static> {
    match holder {
        Some(LockHolder { run, lock, pid, user, .. }) => vec![text("run", run), text("lock", lock), text("pid", pid), text("user", user)],
        None => ["run", "lock", "pid", "user"].map(|name| text(name, "?")).into(),
    }
}

fn words<'a>(name: &'static str, words: impl Fn(&Lang) -> String + 'a) -> (&'static str, Arg<'a>) {
    (name, Arg::Words(Box::new(words)))
}

fn path(name: &'static str, path: &Path) -> (&'static str, Arg<'static>) {
    text(name, path.display())
}

fn text(name: &'static str, value: impl std::fmt::Display) -> (&'static str, Arg<'static>) {
    (name, Arg::Plain(value.to_string().into()))
}
