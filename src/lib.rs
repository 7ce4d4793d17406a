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
pub mod lang;
mod machine;
mod session;
mod signals;
pub mod view;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::commands::Globals;
use crate::diagnose::{Exit, Reason, Refusal};

/// The whole program: reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(done) = almaplan_steps::process::errand(args.get(1..).unwrap_or_default()) {
        return done;
    }
    let lang = commands::language(&args);
    let cli = match cli::parse(args.clone(), &lang) {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error, &args, &lang),
    };
    log_to_stderr();
    let globals = Globals::new(&cli.global, lang);
    match commands::dispatch(&cli.action, &globals) {
        Ok(exit) => exit.into(),
        Err(refusal) => {
            globals.refuse(&refusal);
            refusal.exit.into()
        }
    }
}

/// `ALMAPLAN_LOG=debug`: for those who debug almaplan itself.
fn log_to_stderr() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ALMAPLAN_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

/// Help and the version go to standard output and are no failure; anything else is wrong usage.
fn misunderstood(error: &clap::Error, args: &[OsString], lang: &lang::Lang) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Ok.into();
    }
    if cli::peek(args, "progress").as_deref() == Some("json") {
        let text = error.to_string();
        // Its first paragraph: what is missing may be listed below the first line.
        let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let said = said.join(" ").trim_start_matches("error: ").to_owned();
        let refusal = Refusal::new(lang, Reason::Usage, &[("error", said.into())]);
        commands::print(&format!("{}\n", refusal.json(jiff::Timestamp::now())));
    }
    Exit::Usage.into()
}
