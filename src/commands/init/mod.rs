//! `almaplan init [DIR]`: a plan for somebody's own application, made of what is found there.
//!
//! ```text
//!  application (files) ──┐
//!  serving (a process) ──┼──> choices ──> text ──> checked as `check` does ──> written, never over anything
//!  options, answers ─────┘
//! ```

mod application;
mod choices;
mod serving;
mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use almaplan_engine::plan;
use almaplan_steps::files::write_new;
use serde_json::json;

use crate::cli::InitArgs;
use crate::diagnose::Refusal;
use crate::exit::Exit;
use crate::lang::Lang;
use crate::machine;
use crate::terminal::{Terminal, print};

use self::choices::Choices;

/// The folder of the plan, in that of the application.
const PLANS: &str = "plans";

/// Writes a plan and values for a rehearsal. Where it is refused nothing was written.
///
/// # Errors
/// No application is found, a plan is there already, or the folder cannot be written.
pub fn run(args: &InitArgs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let folder = machine::absolute(args.dir.as_deref().unwrap_or(Path::new("."))).components().collect::<PathBuf>();
    let plans = folder.join(PLANS);
    let files = [plans.join("test.toml"), plans.join("production.toml")];
    // Before any question.
    nothing_there(&plans, &files)?;
    let choices = Choices::of(args, &folder, terminal)?;
    let [test, production] = [text::test(terminal.lang(), &choices), text::production(terminal.lang(), &choices)];
    without_mistakes(&files[1], &production)?;
    write(&plans, &[(&files[0], &test), (&files[1], &production)])?;
    if terminal.json(false) {
        print(&format!("{}\n", json!({ "event": "init", "template": choices.template.value.name(), "written": [&files[1], &files[0]] })));
    } else {
        print(&told(terminal.lang(), &choices, &folder, args.dir.as_deref()));
    }
    Ok(Exit::Ok)
}

/// Refuses where any of `files` is there, be it as a link that leads nowhere, or their folder is no folder of its own.
fn nothing_there(plans: &Path, files: &[PathBuf]) -> Result<(), Refusal> {
    let in_the_way = fs::symlink_metadata(plans).is_ok_and(|meta| !meta.is_dir()).then_some(plans);
    let in_the_way = in_the_way.or_else(|| files.iter().map(PathBuf::as_path).find(|file| fs::symlink_metadata(file).is_ok()));
    in_the_way.map_or(Ok(()), |file| Err(Refusal::AlreadyThere { file: file.to_owned() }))
}

/// What was chosen may be what no plan can have: that is told as `check` tells it, before anything is written.
fn without_mistakes(file: &Path, text: &str) -> Result<(), Refusal> {
    let loaded = plan::load(text, file, &almaplan_steps::registry());
    if loaded.mistakes.is_empty() {
        return Ok(());
    }
    Err(Refusal::PlanInvalid { file: file.to_owned(), text: text.to_owned(), mistakes: loaded.mistakes, given: Vec::new() })
}

/// Writes `files`, all or none.
fn write(plans: &Path, files: &[(&PathBuf, &String)]) -> Result<(), Refusal> {
    let unwritable = |file: &Path, source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Refusal::AlreadyThere { file: file.to_owned() },
        _ => Refusal::FileUnwritable { file: file.to_owned(), source },
    };
    match fs::create_dir(plans) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(plans, error)),
        _ => {}
    }
    for (n, (file, text)) in files.iter().enumerate() {
        if let Err(error) = write_new(file, text.as_bytes()) {
            // Those before are ours: they were not there.
            for (ours, _) in &files[..n] {
                let _ = fs::remove_file(ours);
            }
            return Err(unwritable(file, error));
        }
    }
    Ok(())
}

/// What was found and written, and what comes next.
fn told(lang: &Lang, choices: &Choices, folder: &Path, dir: Option<&Path>) -> String {
    let mut lines = choices.told(lang, folder);
    // As the caller would type them, from where they are.
    let plans = dir.map_or_else(|| PathBuf::from(PLANS), |dir| dir.join(PLANS));
    let file = |name: &str| plans.join(name).display().to_string();
    let quoted = |name: &str| if file(name).contains(' ') { format!("\"{}\"", file(name)) } else { file(name) };
    let (production, test) = (quoted("production.toml"), quoted("test.toml"));
    lines.extend(["production.toml", "test.toml"].map(|name| lang.with("init-written", &[("file", file(name).into())])));
    lines.push(lang.text("init-next"));
    lines.push(format!("  almaplan check {production}"));
    lines.push(format!("  almaplan apply {production} --vars {test}    {}", lang.text("init-next-test")));
    lines.push(format!("  almaplan apply {production}"));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests;
