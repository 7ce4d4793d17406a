//! `almaplan unlock PLAN|LOCK`.

use std::path::Path;

use almaplan_engine::runs::{Blocked, Lost, Runs};
use console::measure_text_width;

use crate::cli::UnlockArgs;
use crate::diagnose::{Refusal, chain};
use crate::exit::Exit;
use crate::terminal::Terminal;
use crate::view::format::{Formatter, Style, pad, sanitize};

use super::checked_plan;
use super::confirm::agree;
use super::values::Values;

/// Frees a target whose run nobody can go on with, after it has shown what is on record for it.
///
/// # Errors
/// Somebody can go on with its run, a live process has it, or it is another user's; nothing was touched.
pub fn run(args: &UnlockArgs, runs: &Runs, terminal: &Terminal) -> Result<Exit, Refusal> {
    let lock = lock_meant(args, runs, terminal)?;
    let about = [("lock", lock.as_str().into())];
    let Some(blocked) = runs.blocked(&lock)? else {
        terminal.tell("nothing-to-unlock", &about);
        return Ok(Exit::Ok);
    };
    terminal.complain(&shown(&blocked, &lock, &terminal.formatter_err()));
    if !args.yes {
        agree(&terminal.lang().with("confirm-unlock", &about), format!("almaplan unlock {}", args.target))?;
    }
    blocked.free()?;
    terminal.tell("unlocked", &about);
    Ok(Exit::Ok)
}

/// The lock that is meant: one on record, else the one that a run of the plan would have.
fn lock_meant(args: &UnlockArgs, runs: &Runs, terminal: &Terminal) -> Result<String, Refusal> {
    let here = std::env::current_dir()?;
    if let Some(lock) = runs.lock_on_record(&args.target, &here)? {
        return Ok(lock);
    }
    let file = Path::new(&args.target);
    if !file.is_file() {
        return Ok(args.target.clone());
    }
    let plan = checked_plan(file, &runs.registry, terminal)?;
    Ok(runs.lock_of(&plan, &Values::of(&args.vars)?.overrides)?)
}

/// The record, for people.
fn shown(blocked: &Blocked, lock: &str, fmt: &Formatter) -> String {
    let lang = &fmt.lang;
    let mut rows = vec![("unlock-lock", lock.to_owned())];
    if let Some(holder) = &blocked.holder {
        rows.extend([
            ("runs-run", holder.run.to_string()),
            ("status-plan", format!("{} ({})", holder.plan_name, holder.plan.display())),
            ("runs-user", holder.user.clone()),
            ("status-pid", holder.pid.to_string()),
            ("status-started", fmt.date_time(holder.since)),
            ("unlock-state", holder.state_dir.display().to_string()),
        ]);
    }
    let why = match &blocked.why {
        Lost::Record(error) => lang.with("unlock-record-unreadable", &[("error", error.to_string().into())]),
        Lost::StateGone => lang.text("unlock-state-gone"),
        Lost::NoAccess => lang.text("unlock-no-access"),
        Lost::Run(error) => lang.with("unlock-run-unreadable", &[("error", chain(&**error).into())]),
        Lost::Over => lang.text("unlock-over"),
    };
    rows.push(("unlock-why", why));
    let width = rows.iter().map(|(key, _)| measure_text_width(&lang.text(key))).max().unwrap_or(0);
    rows.iter().map(|(key, value)| format!("  {}  {}\n", fmt.paint(Style::Faint, pad(&lang.text(key), width)), sanitize(value))).collect()
}
