//! What this process tells its caller, and what it was asked for.

use std::process::ExitCode;

use almaplan_engine::event::Outcome;
use almaplan_engine::update::Ending;

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
    /// Settled, but the measured service does not answer.
    Down = 8,
    /// No terminal and no `--yes`; nothing was touched.
    NeedsYes = 9,
}

/// What a process was asked for: being compensated is a failure of one, and the purpose of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// `apply`, `resume`, `resolve`.
    Forward,
    /// `abort`, `rollback`.
    Undo,
}

impl Exit {
    /// The exit code of a process that leaves its run like this. `answers`: whether the measured service does, where one is measured. A
    /// stuck run still needs a person first (rule 21).
    pub fn of(ending: Ending, intent: Intent, answers: Option<bool>) -> Self {
        match (ending, intent) {
            (Ending::Settled(Outcome::Succeeded | Outcome::Warned | Outcome::Compensated), _) if answers == Some(false) => Self::Down,
            (Ending::Settled(Outcome::Succeeded | Outcome::Warned), _) => Self::Ok,
            (Ending::Settled(Outcome::Compensated), Intent::Undo) => Self::Ok,
            (Ending::Settled(Outcome::Compensated), Intent::Forward) => Self::Compensated,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_compensated_is_what_abort_is_for_and_what_apply_fails_with() {
        let compensated = Ending::Settled(Outcome::Compensated);
        for answers in [None, Some(true)] {
            assert_eq!(Exit::of(compensated, Intent::Forward, answers), Exit::Compensated);
            assert_eq!(Exit::of(compensated, Intent::Undo, answers), Exit::Ok);
            assert_eq!(Exit::of(Ending::Settled(Outcome::Stuck), Intent::Undo, answers), Exit::Person);
            assert_eq!(Exit::of(Ending::Settled(Outcome::Warned), Intent::Forward, answers), Exit::Ok);
        }
    }

    #[test]
    fn where_nothing_serves_nothing_has_succeeded() {
        let exit = |ending| [Intent::Forward, Intent::Undo].map(|intent| Exit::of(ending, intent, Some(false)));
        for outcome in [Outcome::Succeeded, Outcome::Warned, Outcome::Compensated] {
            assert_eq!(exit(Ending::Settled(outcome)), [Exit::Down; 2], "{outcome:?}");
        }
        assert_eq!(exit(Ending::Settled(Outcome::Stuck)), [Exit::Person; 2]);
        assert_eq!((exit(Ending::Paused), exit(Ending::Interrupted)), ([Exit::Person; 2], [Exit::Interrupted; 2]));
    }
}
