//! The only place where errors become text with excerpts, hints and exit codes.
//!
//! [`Refusal`] is what ends before or without a run; [`mistakes`] is what is wrong with a plan.

pub mod mistakes;
mod places;

use std::process::ExitCode;

use almaplan_engine::event::Outcome;
use almaplan_engine::update::Ending;
use jiff::Timestamp;

use crate::lang::{Lang, Value};
use crate::view::json;
use crate::view::words::{Tone, Words, harmless};

/// What this process tells its caller. The numbers are a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Succeeded, or nothing to do; for `abort` and `rollback`: compensated as asked.
    Ok = 0,
    /// A bug, or the machine failed outside any step.
    Internal = 1,
    /// Wrong usage or an invalid plan; nothing was touched.
    Usage = 2,
    /// Failed, and fully compensated.
    Compensated = 3,
    /// Stuck or paused: a person is needed.
    Person = 4,
    /// Interrupted: `almaplan resume` goes on.
    Interrupted = 5,
    /// Another run holds the lock, or left it unsettled; nothing was touched.
    Held = 6,
    /// The journal is damaged; nothing was touched.
    Damaged = 7,
    /// No terminal and no `--yes`; nothing was touched.
    NeedsYes = 9,
}

/// What a process was asked for: being compensated is a failure of one, and the purpose of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `apply`, `resume`, `resolve`.
    Forward,
    /// `abort`, `rollback`.
    Undo,
}

impl Exit {
    /// The exit code of a process that leaves its run like this.
    pub fn of(ending: Ending, asked: Asked) -> Self {
        match (ending, asked) {
            (Ending::Settled(Outcome::Succeeded | Outcome::Warned), _) => Self::Ok,
            (Ending::Settled(Outcome::Compensated), Asked::Undo) => Self::Ok,
            (Ending::Settled(Outcome::Compensated), Asked::Forward) => Self::Compensated,
            (Ending::Settled(Outcome::Stuck) | Ending::Paused, _) => Self::Person,
            (Ending::Interrupted, _) => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why something was refused: each has its code, which never changes, its exit code, and its message `refused-<code>`.
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
    /// `run`, `lock`, `user`, `state`, `next`: a run that is not settled stands in the way.
    Unsettled,
    /// `run`, `folder`, `record`: the state of a run that is not settled is not where it was.
    StateGone,
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
    /// `run`, `outcome`: what was asked for needs a run that is not settled.
    AlreadySettled,
    /// `run`, `step`: there is no such step.
    UnknownStep,
    /// `run`, `step`: nobody asks about this step.
    NotAsked,
    /// `run`, `step`: something that cannot be undone ran.
    Irreversible,
    /// `run`, `newer`: a newer run stands on top.
    NewerRun,
    /// `run`, `outcome`: only a run that succeeded can be rolled back.
    NothingToRollBack,
    /// `kind`: there is no such kind.
    UnknownKind,
    /// `folder`, `error`: the state or the machine's folder cannot be used.
    StateUnusable,
    /// `folder`, `error`: no space is left for the state or the machine's folder.
    DiskFull,
    /// `folder`: the state folder is on a network share.
    StateOnNetwork,
    /// `file`, `error`: what was asked for could not be written there.
    FileUnwritable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Internal,
        Self::Usage,
        Self::PlanUnreadable,
        Self::PlanInvalid,
        Self::BadVariable,
        Self::SecretMissing,
        Self::Held,
        Self::Unsettled,
        Self::StateGone,
        Self::JournalDamaged,
        Self::JournalNewer,
        Self::NeedsYes,
        Self::NotConfirmed,
        Self::NoRun,
        Self::UnknownRun,
        Self::ManyRuns,
        Self::AlreadySettled,
        Self::UnknownStep,
        Self::NotAsked,
        Self::Irreversible,
        Self::NewerRun,
        Self::NothingToRollBack,
        Self::UnknownKind,
        Self::StateUnusable,
        Self::DiskFull,
        Self::StateOnNetwork,
        Self::FileUnwritable,
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
            Self::Unsettled => "unsettled",
            Self::StateGone => "state-gone",
            Self::JournalDamaged => "journal-damaged",
            Self::JournalNewer => "journal-newer",
            Self::NeedsYes => "needs-yes",
            Self::NotConfirmed => "not-confirmed",
            Self::NoRun => "no-run",
            Self::UnknownRun => "unknown-run",
            Self::ManyRuns => "many-runs",
            Self::AlreadySettled => "already-settled",
            Self::UnknownStep => "unknown-step",
            Self::NotAsked => "not-asked",
            Self::Irreversible => "irreversible",
            Self::NewerRun => "newer-run",
            Self::NothingToRollBack => "nothing-to-roll-back",
            Self::UnknownKind => "unknown-kind",
            Self::StateUnusable => "state-unusable",
            Self::DiskFull => "disk-full",
            Self::StateOnNetwork => "state-on-network",
            Self::FileUnwritable => "file-unwritable",
        }
    }

    /// What the process ends with.
    pub fn exit(self) -> Exit {
        match self {
            Self::Internal | Self::StateUnusable | Self::DiskFull => Exit::Internal,
            Self::Held | Self::Unsettled | Self::StateGone => Exit::Held,
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
            | Self::AlreadySettled
            | Self::UnknownStep
            | Self::NotAsked
            | Self::Irreversible
            | Self::NewerRun
            | Self::NothingToRollBack
            | Self::UnknownKind
            | Self::StateOnNetwork
            | Self::FileUnwritable => Exit::Usage,
        }
    }
}

/// What ends before or without a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the process ends with.
    pub exit: Exit,
    /// As programs see it.
    pub code: &'static str,
    /// What is wrong, in the reader's language.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    /// The refusal for `reason`, its message and hint from the catalogue. Which `args` each takes is said at [`Reason`].
    pub fn new(lang: &Lang, reason: Reason, args: &[(&str, Value<'_>)]) -> Self {
        let key = format!("refused-{}", reason.code());
        Self { exit: reason.exit(), code: reason.code(), message: lang.with(&key, args), hint: lang.hint(&key, args) }
    }

    /// For people.
    pub fn text(&self, words: &Words) -> String {
        let label = words.paint(Tone::Bad, words.lang.text("error"));
        let mut text = format!("{label} {}\n", harmless(&self.message).trim_end().replace('\n', "\n  "));
        if let Some(hint) = &self.hint {
            let label = words.paint(Tone::Strong, words.lang.text("hint"));
            text.push_str(&format!("{label} {}\n", harmless(hint).trim_end().replace('\n', "\n  ")));
        }
        text
    }

    /// For programs: one line, without its end.
    pub fn json(&self, at: Timestamp) -> String {
        json::refused(at, self.exit, self.code, &self.message, self.hint.as_deref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;

    #[test]
    fn every_reason_has_words_in_both_languages() {
        let args = ["error", "file", "secret", "run", "lock", "pid", "user", "state", "next", "version", "command"]
            .into_iter()
            .chain(["runs", "outcome", "step", "newer", "kind", "folder", "record", "known"])
            .map(|name| (name, Value::from(format!("<{name}>"))))
            .collect::<Vec<_>>();
        let mut shown = Vec::new();
        for tongue in Tongue::ALL {
            let words = sample::words(tongue);
            for reason in Reason::ALL {
                let refusal = Refusal::new(&words.lang, reason, &args);
                shown.push(format!("[{} {}] {}", refusal.exit as u8, refusal.code, refusal.text(&words)));
            }
        }
        insta::assert_snapshot!(shown.concat());
    }

    #[test]
    fn a_refusal_is_one_line_for_programs() {
        let lang = Lang::new(Tongue::En);
        let refusal = Refusal::new(&lang, Reason::Internal, &[("error", "two\nlines".into())]);
        let line = refusal.json(sample::at(0));
        assert!(!line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["event"], &value["exit"], &value["code"]), (&"refused".into(), &1.into(), &"internal".into()));
    }

    #[test]
    fn being_compensated_is_what_abort_is_for_and_what_apply_fails_with() {
        let compensated = Ending::Settled(Outcome::Compensated);
        assert_eq!(Exit::of(compensated, Asked::Forward), Exit::Compensated);
        assert_eq!(Exit::of(compensated, Asked::Undo), Exit::Ok);
        assert_eq!(Exit::of(Ending::Settled(Outcome::Stuck), Asked::Undo), Exit::Person);
        assert_eq!(Exit::of(Ending::Settled(Outcome::Warned), Asked::Forward), Exit::Ok);
    }
}
