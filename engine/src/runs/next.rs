//! What a person can do next with a run (rule 20): typed, so that whoever shows a run, ends one or refuses something says the same.

use std::fmt;

use crate::event::{Outcome, RunId, StepId};
use crate::lock::LockHolder;
use crate::saga::{Index, Saga, StepPhase};
use crate::update::Ending;

/// What a person can do next with a run. It displays as the command that does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextCommand {
    /// The run.
    pub run: RunId,
    /// What can be done with it.
    pub action: NextAction,
    /// What that would mean.
    pub meaning: Meaning,
}

/// One thing that a person can do with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextAction {
    /// Go on with it.
    Resume,
    /// Undo it.
    Abort,
    /// Free what it locks.
    Unlock {
        /// That.
        lock: String,
    },
    /// Say what became of a step.
    Resolve {
        /// The step.
        step: StepId,
        /// What.
        answer: NextAnswer,
    },
}

/// What a person can say of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAnswer {
    /// Its work was done; to an approval: yes.
    Done,
    /// Its work was not done; to an approval: no.
    NotDone,
    /// The compensation that it owes was done by hand.
    Undone,
    /// The compensation that it owes will not be done.
    GiveUp,
}

/// What it would mean to do something with a run as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It goes on where it was stopped.
    GoesOn,
    /// It goes on with undoing.
    GoesOnUndoing,
    /// What could not be undone is tried again.
    TriesAgain,
    /// Probes are asked again, and people about what they do not tell.
    AsksAgain,
    /// What was done is undone.
    Undoes,
    /// The work of the step was done: what needs it goes on.
    WasDone,
    /// The work of the step was not done: it is done now.
    WasNotDone,
    /// The step is allowed.
    Allows,
    /// The step is not allowed: it fails.
    Forbids,
    /// The target is free, and nobody undoes what was left there.
    Frees,
    /// A person did what the step owes: the rest is undone.
    DoneByHand,
    /// What the step owes stays as it is, for ever on the list: the rest is undone.
    LeftAsItIs,
    /// The step is stopped, and counts as done: the new version stays in any case.
    EndsEarly,
}

impl NextAnswer {
    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not-done",
            Self::Undone => "undone",
            Self::GiveUp => "give-up",
        }
    }
}

impl Meaning {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::GoesOn,
        Self::GoesOnUndoing,
        Self::TriesAgain,
        Self::AsksAgain,
        Self::Undoes,
        Self::WasDone,
        Self::WasNotDone,
        Self::Allows,
        Self::Forbids,
        Self::Frees,
        Self::DoneByHand,
        Self::LeftAsItIs,
        Self::EndsEarly,
    ];

    /// As programs see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoesOn => "goes-on",
            Self::GoesOnUndoing => "goes-on-undoing",
            Self::TriesAgain => "tries-again",
            Self::AsksAgain => "asks-again",
            Self::Undoes => "undoes",
            Self::WasDone => "was-done",
            Self::WasNotDone => "was-not-done",
            Self::Allows => "allows",
            Self::Forbids => "forbids",
            Self::Frees => "frees",
            Self::DoneByHand => "done-by-hand",
            Self::LeftAsItIs => "left-as-it-is",
            Self::EndsEarly => "ends-early",
        }
    }
}

impl NextCommand {
    /// What goes on with a run, whatever became of it.
    pub fn resume(run: &RunId) -> Self {
        Self { run: run.clone(), action: NextAction::Resume, meaning: Meaning::GoesOn }
    }

    /// What frees the target of a run that nobody can go on with.
    pub fn unlock(holder: &LockHolder) -> Self {
        Self { run: holder.run.clone(), action: NextAction::Unlock { lock: holder.lock.clone() }, meaning: Meaning::Frees }
    }
}

impl fmt::Display for NextCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        match &self.action {
            NextAction::Resume => write!(f, "almaplan resume {run}"),
            NextAction::Abort => write!(f, "almaplan abort {run}"),
            NextAction::Unlock { lock } => write!(f, "almaplan unlock {}", quoted(lock)),
            NextAction::Resolve { step, answer } => write!(f, "almaplan resolve {run} {step} {}", answer.as_str()),
        }
    }
}

/// `text` as one word of a command line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+@%,".contains(c) || (cfg!(windows) && c == '\\');
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// How whoever had a run last left it.
pub fn ending(saga: &Saga) -> Ending {
    match saga.outcome() {
        Some(outcome) if saga.finished() => Ending::Settled(outcome),
        _ if saga.questions().next().is_some() => Ending::Paused,
        _ => Ending::Interrupted,
    }
}

/// The steps that owe a compensation, as far as that matters to a person: only while or after unwinding.
pub fn owed(saga: &Saga) -> Vec<StepId> {
    if saga.unwinding() { saga.owed().map(|i| saga.shape().steps[i].id.clone()).collect() } else { Vec::new() }
}

/// What leads on from a run that was left like this, the best first.
pub fn next_commands(run: &RunId, ending: Ending, saga: &Saga) -> Vec<NextCommand> {
    let resume = |meaning| NextCommand { run: run.clone(), action: NextAction::Resume, meaning };
    let abort = (!saga.unwinding() && saga.reversible()).then(|| abort_command(run));
    match ending {
        Ending::Settled(Outcome::Stuck) => [resume(Meaning::TriesAgain)].into_iter().chain(debt_commands(run, saga)).collect(),
        Ending::Settled(_) => Vec::new(),
        Ending::Interrupted if saga.unwinding() => [resume(Meaning::GoesOnUndoing)].into_iter().chain(debt_commands(run, saga)).collect(),
        Ending::Interrupted => {
            // A probe may fail each time: a person can say what it should have found out (rule 20).
            let probed = saga.forward().filter(|&i| saga.step(i).phase == StepPhase::Unknown && saga.shape().steps[i].probe);
            [resume(Meaning::GoesOn)].into_iter().chain(answer_commands(run, saga, probed)).chain(abort).collect()
        }
        Ending::Paused => {
            let unknown = saga.forward().filter(|&i| saga.step(i).phase == StepPhase::Unknown);
            answer_commands(run, saga, unknown).into_iter().chain([resume(Meaning::AsksAgain)]).chain(abort).collect()
        }
    }
}

/// What leads on while a process has the run; `asked`: the steps that a person is asked about.
pub fn running_commands(run: &RunId, saga: &Saga, asked: impl IntoIterator<Item = Index>) -> Vec<NextCommand> {
    let abort = (!saga.unwinding() && saga.reversible() && saga.outcome().is_none()).then(|| abort_command(run));
    let ended = saga.forward().filter(|&i| saga.can_be_ended(i)).map(|i| resolve(run, saga, i, NextAnswer::Done, Meaning::EndsEarly));
    answer_commands(run, saga, asked).into_iter().chain(debt_commands(run, saga)).chain(ended).chain(abort).collect()
}

fn abort_command(run: &RunId) -> NextCommand {
    NextCommand { run: run.clone(), action: NextAction::Abort, meaning: Meaning::Undoes }
}

/// What answers the questions about `steps`.
fn answer_commands(run: &RunId, saga: &Saga, steps: impl IntoIterator<Item = Index>) -> Vec<NextCommand> {
    let each = |i: Index| match saga.shape().steps[i].waits_for_answer {
        true => [(i, NextAnswer::Done, Meaning::Allows), (i, NextAnswer::NotDone, Meaning::Forbids)],
        false => [(i, NextAnswer::Done, Meaning::WasDone), (i, NextAnswer::NotDone, Meaning::WasNotDone)],
    };
    steps.into_iter().flat_map(each).map(|(i, answer, meaning)| resolve(run, saga, i, answer, meaning)).collect()
}

/// What answers for the compensations that have failed: what has not been tried yet is tried first.
fn debt_commands<'a>(run: &'a RunId, saga: &'a Saga) -> impl Iterator<Item = NextCommand> + 'a {
    let failed = saga.forward().filter(|&i| saga.debt(i).is_some() && saga.step(i).undo_failure.is_some());
    failed.flat_map(|i| {
        let answers = [(NextAnswer::Undone, Meaning::DoneByHand), (NextAnswer::GiveUp, Meaning::LeftAsItIs)];
        answers.map(|(answer, meaning)| resolve(run, saga, i, answer, meaning))
    })
}

fn resolve(run: &RunId, saga: &Saga, i: Index, answer: NextAnswer, meaning: Meaning) -> NextCommand {
    let step = saga.shape().steps[i].id.clone();
    NextCommand { run: run.clone(), action: NextAction::Resolve { step, answer }, meaning }
}
