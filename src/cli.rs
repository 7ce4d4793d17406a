//! What a person types: every command and option, and nothing of what they do.
//!
//! The doc comments here are the English help. Those of other languages are laid over them from `lang/help.pt-BR.ftl` and its like
//! (see [`command`]); a test proves that they leave nothing out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use almaplan_engine::event::{RunId, StepId};
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};

use crate::lang::Lang;

mod value;

pub use value::{Assignment, BadValue};
use value::{assignment, duration, new_run_id, run_id, step_id, url_path};

/// Deployments as a declarative, crash-safe plan
#[derive(Debug, Parser)]
#[command(name = "almaplan", bin_name = "almaplan", version, propagate_version = false, arg_required_else_help = true)]
pub struct Cli {
    /// The options that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Folder of the journal and the logs [default: `.almaplan`, found upwards from here]
    #[arg(long, global = true, display_order = 101, env = "ALMAPLAN_STATE_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,

    /// How to show what happens
    #[arg(long, global = true, display_order = 102, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: Progress,

    /// When to use colours (`NO_COLOR` is honoured)
    #[arg(long, global = true, display_order = 103, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: ColorWhen,

    /// Show also the steps that are switched off
    #[arg(short, long, global = true, display_order = 105)]
    pub verbose: bool,

    /// Language of what is shown [env: ALMAPLAN_LANG] [default: the system's]
    #[arg(long, global = true, display_order = 104, value_name = "LANG", value_parser = almaplan_engine::plan::LANGUAGES, ignore_case = true)]
    pub lang: Option<String>,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Live on a terminal, else plain
    Auto,
    /// One line a running step, redrawn in place
    Live,
    /// One line an event
    Plain,
    /// One JSON object a line, for programs
    Json,
    /// Only errors, alerts and the recap
    Quiet,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Write a plan for your own web application, made of what is found in its folder
    Init(InitArgs),
    /// Validate a plan: every mistake at once, each with its place and a hint
    Check(CheckArgs),
    /// What `apply` would do here and now; changes nothing
    Preview(PreviewArgs),
    /// Run a plan
    Apply(ApplyArgs),
    /// Go on with an interrupted or paused run
    Resume(ResumeArgs),
    /// Stop an unsettled run and undo what it did
    Abort(UndoArgs),
    /// Undo a finished run: the last successful one of its plan
    Rollback(UndoArgs),
    /// Say what became of an unknown step or of what a step owes, or answer an approval
    Resolve(ResolveArgs),
    /// Free a target whose run nobody can go on with: its state is lost, or cannot be read
    Unlock(UnlockArgs),
    /// Where a run stands, what is owed, and the exact next command
    Status(StatusArgs),
    /// History
    Runs(RunsArgs),
    /// What the steps printed
    Logs(LogsArgs),
    /// A run as one page to keep or to share: what happened while the service was down, timeline, graph, logs
    Report(ReportArgs),
    /// Remove old settled runs from the history, never one that a rollback still needs
    Prune(PruneArgs),
    /// What a code means: a mistake in a plan (ALM0007), or an exit code
    Explain(ExplainArgs),
    /// The steps of a plan and what each needs, as a picture
    Graph(GraphArgs),
    /// The kinds of steps, their inputs, outputs and defaults
    Steps(StepsArgs),
    /// JSON Schema (draft-07) of the plan format
    Schema,
    /// Shell completions
    Completions(CompletionsArgs),
}

impl Action {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Check(_) => "check",
            Self::Preview(_) => "preview",
            Self::Apply(_) => "apply",
            Self::Resume(_) => "resume",
            Self::Abort(_) => "abort",
            Self::Rollback(_) => "rollback",
            Self::Resolve(_) => "resolve",
            Self::Unlock(_) => "unlock",
            Self::Status(_) => "status",
            Self::Runs(_) => "runs",
            Self::Logs(_) => "logs",
            Self::Report(_) => "report",
            Self::Prune(_) => "prune",
            Self::Explain(_) => "explain",
            Self::Graph(_) => "graph",
            Self::Steps(_) => "steps",
            Self::Schema => "schema",
            Self::Completions(_) => "completions",
        }
    }
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder of the application [default: the current one]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Name of the deployment [default: that of the folder]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Folder that serves [default: the one that serves now, else one beside DIR]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub production: Option<PathBuf>,
    /// Port that serves [default: the one that serves now, else what is usual]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// What starts it [default: as found in DIR]
    #[arg(long, value_enum, value_name = "TEMPLATE")]
    pub template: Option<InitTemplate>,
    /// Path that must answer 200 [default: /]
    #[arg(long, value_name = "PATH", value_parser = url_path)]
    pub health: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `init --template`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InitTemplate {
    /// Flask under Waitress
    FlaskWaitress,
    /// Flask under gunicorn, which is not for Windows
    Gunicorn,
    /// FastAPI under uvicorn
    Uvicorn,
    /// Django under Waitress
    Django,
    /// A program for Node
    Node,
    /// A folder of files, served by Python
    Static,
}

impl InitTemplate {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::FlaskWaitress => "flask-waitress",
            Self::Gunicorn => "gunicorn",
            Self::Uvicorn => "uvicorn",
            Self::Django => "django",
            Self::Node => "node",
            Self::Static => "static",
        }
    }

    /// The message that says what it is.
    pub fn title(self) -> &'static str {
        match self {
            Self::FlaskWaitress | Self::Gunicorn => "init-flask",
            Self::Uvicorn => "init-fastapi",
            Self::Django => "init-django",
            Self::Node => "init-node",
            Self::Static => "init-static",
        }
    }

    /// The packages without which it does not start, as lists of packages name them.
    pub fn packages(self) -> &'static [&'static str] {
        match self {
            Self::FlaskWaitress => &["flask", "waitress"],
            Self::Gunicorn => &["flask", "gunicorn"],
            Self::Uvicorn => &["fastapi", "uvicorn"],
            Self::Django => &["django", "waitress"],
            Self::Node | Self::Static => &[],
        }
    }

    /// Whether it has a Python environment of its own.
    pub fn is_python(self) -> bool {
        !self.packages().is_empty()
    }

    /// The port on which such a service usually is.
    pub fn port(self) -> u16 {
        match self {
            Self::FlaskWaitress | Self::Gunicorn => 5000,
            Self::Uvicorn | Self::Django => 8000,
            Self::Node => 3000,
            Self::Static => 8080,
        }
    }
}

impl std::fmt::Display for InitTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The path of an address.
/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// Values of variables.
    #[command(flatten)]
    pub vars: VarArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// Values of variables.
    #[command(flatten)]
    pub vars: VarArgs,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Values that replace those of `[vars]`.
#[derive(Debug, Default, Clone, Args)]
pub struct VarArgs {
    /// Value of a variable of the plan; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    pub var: Vec<Assignment>,
    /// TOML file with values of variables; may be repeated, later wins, `--var` wins over all
    #[arg(long = "vars", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub vars: Vec<PathBuf>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// Values of variables.
    #[command(flatten)]
    pub vars: VarArgs,
    /// Id of the run, for scripts: where there is one with this id already, it is shown and its exit code given, and nothing is begun
    #[arg(long, value_name = "ID", value_parser = new_run_id)]
    pub run: Option<RunId>,
    /// How long to wait for another run that holds the lock, like 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub lock_timeout: Duration,
}

/// `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run [default: the only unfinished one]
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
}

/// `abort` and `rollback`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The run [default: the only one that it can be]
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: RunId,
    /// The step
    #[arg(value_name = "STEP", value_parser = step_id)]
    pub step: StepId,
    /// What became of it; for an approval: yes or no
    #[arg(value_enum, value_name = "ANSWER")]
    pub answer: Became,
    /// An output of the step, where it was done; may be repeated
    #[arg(long = "output", value_name = "NAME=VALUE", value_parser = assignment)]
    pub output: Vec<Assignment>,
    /// Why, for everybody who looks at the run later
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
}

/// What a person says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Became {
    /// Its work was done
    Done,
    /// Its work was not done
    NotDone,
    /// What it owes was done by hand
    Undone,
    /// What it owes is left as it is, for good
    GiveUp,
}

/// `unlock`.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// The plan file, or what its run locks
    #[arg(value_name = "PLAN|LOCK", value_hint = ValueHint::FilePath)]
    pub target: String,
    /// Values of variables.
    #[command(flatten)]
    pub vars: VarArgs,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run [default: the newest one]
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run [default: the newest one]
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
    /// The step [default: all]
    #[arg(value_name = "STEP", value_parser = step_id)]
    pub step: Option<StepId>,
    /// Go on printing while the run goes on
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run [default: the newest one]
    #[arg(value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
    /// The HTML file, which is replaced where it exists; `-` is standard output [default: almaplan-RUN.html, here]
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// How many of the newest stay [default: 20, or 0 with `--older-than`]
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Remove only those that were started so long ago, like 30d or 12h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code [default: a list of all]
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// The plan file
    #[arg(value_name = "PLAN", value_hint = ValueHint::FilePath)]
    pub plan: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub format: GraphFormat,
}

/// `graph --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// A picture
    Svg,
}

/// `steps`.
#[derive(Debug, Args)]
pub struct StepsArgs {
    /// The kind [default: a list of all]
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// The command line as clap knows it, its help in `lang`.
pub fn command(lang: &Lang) -> Command {
    let command = Cli::command();
    if lang.is_source() { command } else { translated(command, lang, "") }
}

fn translated(command: Command, lang: &Lang, path: &str) -> Command {
    let prefix = if path.is_empty() { "help".to_owned() } else { format!("help-{path}") };
    let about = if path.is_empty() { "help-almaplan" } else { &prefix };
    let builtin = |id: &'static str, short: char, action: ArgAction| {
        Arg::new(id)
            .display_order(200)
            .short(short)
            .long(id)
            .action(action)
            .help(lang.help(&format!("help-{id}")))
            .help_heading(lang.help("help-heading-options"))
    };
    let mut place = 0;
    let command = command
        .about(lang.help(about))
        .help_template(format!("{{about-with-newline}}\n{} {{usage}}\n\n{{all-args}}", lang.help("help-heading-usage")))
        .subcommand_help_heading(lang.help("help-heading-commands"))
        .subcommand_value_name(lang.help("help-value-command"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .mut_args(|arg| {
            place += 1;
            translated_arg(arg, lang, &prefix, place)
        })
        .arg(builtin("help", 'h', ArgAction::Help))
        .mut_subcommands(|sub| {
            let name = sub.get_name().to_owned();
            translated(sub, lang, &name)
        });
    if path.is_empty() { command.arg(builtin("version", 'V', ArgAction::Version)) } else { command }
}

fn translated_arg(arg: Arg, lang: &Lang, prefix: &str, place: usize) -> Arg {
    let mut help = lang.help(&format!("{prefix}-{}", arg.get_id()));
    let heading = if arg.is_positional() { "help-heading-arguments" } else { "help-heading-options" };
    let arg = arg.help_heading(lang.help(heading));
    // Under a heading of their own clap sorts arguments by name.
    let arg = if arg.is_positional() { arg.display_order(place) } else { arg };
    if !arg.get_action().takes_values() {
        return arg.help(help);
    }
    // What clap would add by itself, it adds in English.
    let values = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect::<Vec<_>>();
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let env = arg.get_env().map(|name| name.to_string_lossy().into_owned()).into_iter().collect::<Vec<_>>();
    for (key, added) in [("help-values", values), ("help-default", defaults), ("help-env", env)] {
        if !added.is_empty() {
            help.push_str(&format!(" [{}: {}]", lang.help(key), added.join(", ")));
        }
    }
    arg.help(help).hide_possible_values(true).hide_default_value(true).hide_env(true)
}

/// Reads the command line.
///
/// # Errors
/// It cannot be understood, or asks for help or the version; clap's error knows how to print itself.
pub fn parse(args: impl IntoIterator<Item = OsString>, lang: &Lang) -> Result<Cli, clap::Error> {
    let mut command = command(lang);
    // Set to nothing is not set; clap takes it for a folder without a name.
    if std::env::var_os("ALMAPLAN_STATE_DIR").is_some_and(|value| value.is_empty()) {
        command = command.mut_arg("state_dir", |arg| arg.env(Resettable::Reset));
    }
    let matches = command.try_get_matches_from_mut(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    if let Action::Resolve(resolve) = &cli.action
        && resolve.answer != Became::Done
        && !resolve.output.is_empty()
    {
        return Err(command.error(ErrorKind::ArgumentConflict, lang.text("usage-output-not-done")));
    }
    Ok(cli)
}

/// The value of `--name` among raw arguments: for what must be known before (or although) the command line is understood.
pub fn peek(args: &[OsString], name: &str) -> Option<String> {
    let flag = format!("--{name}");
    let mut found = None;
    let mut args = args.iter().map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--");
    while let Some(arg) = args.next() {
        if arg == flag {
            found = args.next().map(|value| value.into_owned());
        } else if let Some(value) = arg.strip_prefix(&flag).and_then(|rest| rest.strip_prefix('=')) {
            found = Some(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::lang::Language;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split(' ').map(OsString::from), &Lang::new(Language::En))
    }

    #[test]
    fn clap_finds_no_contradiction_in_either_language() {
        for language in Language::ALL {
            command(&Lang::new(language)).debug_assert();
        }
    }

    #[test]
    fn every_command_and_option_has_a_help_in_every_language() {
        let mut wanted = vec!["help-almaplan".to_owned()];
        let mut english = Cli::command();
        english.build();
        wanted.extend(english.get_arguments().map(|arg| format!("help-{}", arg.get_id())));
        for sub in english.get_subcommands().filter(|sub| sub.get_name() != "help") {
            wanted.push(format!("help-{}", sub.get_name()));
            let own = sub.get_arguments().filter(|arg| !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str()));
            wanted.extend(own.map(|arg| format!("help-{}-{}", sub.get_name(), arg.get_id())));
        }
        for language in Language::ALL {
            let lang = Lang::new(language);
            let missing: Vec<_> = wanted.iter().filter(|key| !lang.is_source() && !lang.has_help(key)).collect();
            assert!(missing.is_empty(), "without help in {}: {missing:?}", language.tag());
        }
    }

    #[test]
    fn portuguese_help_is_portuguese_throughout() {
        let mut command = command(&Lang::new(Language::PtBr));
        let top = command.render_help().to_string();
        let apply = command.find_subcommand_mut("apply").unwrap().render_help().to_string();
        let resolve = command.find_subcommand_mut("resolve").unwrap().render_help().to_string();
        for english in ["Usage:", "Commands:", "Options:", "Arguments:", "Print help"] {
            assert!(!top.contains(english) && !apply.contains(english), "{english} in:\n{top}\n{apply}");
        }
        insta::assert_snapshot!(format!("{top}-----\n{resolve}"));
    }

    #[test]
    fn what_interface_promises_is_understood() {
        let cli = read("almaplan --progress json apply p.toml --var a=b=c --vars one.toml --vars two.toml --lock-timeout 0").unwrap();
        let Action::Apply(apply) = cli.action else { panic!("{cli:?}") };
        assert_eq!(cli.global.progress, Progress::Json);
        assert_eq!(apply.vars.var, [Assignment { name: "a".into(), value: "b=c".into() }]);
        assert_eq!(apply.vars.vars.len(), 2);
        assert_eq!(apply.lock_timeout, Duration::ZERO);
        assert!(matches!(
            read("almaplan resolve r s not-done").unwrap().action,
            Action::Resolve(ResolveArgs { answer: Became::NotDone, .. })
        ));
        assert!(matches!(read("almaplan logs r -f").unwrap().action, Action::Logs(LogsArgs { follow: true, step: None, .. })));
        assert!(
            matches!(read("almaplan report r -o -").unwrap().action, Action::Report(ReportArgs { output, .. }) if output.as_deref() == Some(Path::new("-")))
        );
        assert!(matches!(read("almaplan report").unwrap().action, Action::Report(ReportArgs { run: None, output: None })));
        assert!(matches!(read("almaplan logs -f").unwrap().action, Action::Logs(LogsArgs { run: None, .. })));
        assert!(read("almaplan status --lang PT-br").is_ok());
        assert_eq!(read("almaplan status --lang klingon").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_misspelt_command_is_told_the_right_one() {
        let error = read("almaplan aply p.toml").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("'apply'"), "{error}");
    }

    #[test]
    fn an_id_cannot_lead_out_of_the_state_folder() {
        for line in ["almaplan logs ../../etc", "almaplan logs r ..", "almaplan status a\\b"] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn outputs_of_what_was_not_done_are_refused() {
        assert_eq!(read("almaplan resolve r s not-done --output a=1").unwrap_err().exit_code(), 2);
        assert!(read("almaplan resolve r s done --output a=1").is_ok());
    }

    #[test]
    fn peeking_sees_both_ways_to_write_an_option_and_nothing_behind_two_dashes() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(peek(&args("almaplan nonsense --lang en"), "lang").as_deref(), Some("en"));
        assert_eq!(peek(&args("almaplan --lang=pt-BR x"), "lang").as_deref(), Some("pt-BR"));
        assert_eq!(peek(&args("almaplan -- --lang=en"), "lang"), None);
        assert_eq!(peek(&args("almaplan --language=en"), "lang"), None);
    }
}
