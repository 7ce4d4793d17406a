//! The command line of almaplan: what a person types and sees.
//!
//! ```text
//!  arguments ──> cli ──> commands ──> engine ──> Update ──> view ──> terminal, pipe, logs
//!                  └────────┴──────> Refusal ──> diagnose ──┘
//! ```
//!
//! A library only so that tests reach its parts; the binary is [`main`].

pub mod cli;
pub mod commands;
pub mod diagnose;
mod down_question;
pub mod exit;
pub mod lang;
mod machine;
pub mod models;
pub mod page;
mod signals;
pub mod terminal;
pub mod view;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// The whole program: reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(done) = almaplan_steps::process::helper_process(args.get(1..).unwrap_or_default()) {
        return done;
    }
    let lang = language(&args);
    let cli = match cli::parse(args.clone(), &lang) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error, &args, &lang),
    };
    log_to_stderr();
    let terminal = Terminal::new(&cli.global, lang);
    let _command = tracing::info_span!("command", name = cli.action.name(), pid = std::process::id()).entered();
    match commands::dispatch(&cli.action, cli.global.state_dir.as_deref(), &terminal) {
        Ok(exit) => {
            tracing::info!(exit = exit as u8, "done");
            exit.into()
        }
        Err(refusal) => {
            tracing::info!(exit = refusal.exit() as u8, code = refusal.reason().code(), "refused");
            terminal.refuse(&refusal);
            refusal.exit().into()
        }
    }
}

/// The language, known before the command line is understood: its mistakes are told in it too.
fn language(args: &[OsString]) -> lang::Lang {
    let system = sys_locale::get_locale();
    let env = std::env::var("ALMAPLAN_LANG").ok();
    lang::Lang::choose(cli::peek(args, "lang").as_deref(), env.as_deref(), system.as_deref())
}

/// `ALMAPLAN_LOG=debug`: the story of a run, for those who debug almaplan itself. Its fields are names, numbers and paths, never values of
/// a plan: those may be secrets.
fn log_to_stderr() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ALMAPLAN_LOG") {
        let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr).init();
    }
}

/// Help and the version go to standard output and are no failure; anything else is wrong usage.
fn misunderstood(error: &clap::Error, args: &[OsString], lang: &lang::Lang) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Ok.into();
    }
    if lang.is_source() {
        let _ = error.print();
    } else {
        let _ = std::io::stderr().write_all(diagnose::usage::text(error, lang).as_bytes());
    }
    if cli::peek(args, "progress").as_deref() == Some("json") {
        let refusal = Refusal::Usage(diagnose::usage::said(error));
        terminal::print(&format!("{}\n", refusal.json(jiff::Timestamp::now(), lang)));
    }
    Exit::Usage.into()
}
