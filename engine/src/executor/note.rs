//! What happened is noted: folded into the saga, made durable with everything that belongs together, and only then shown.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Executor;
use crate::event::{Answer, Direction, Event, Fact, Failure, Part, RunFact};
use crate::journal::Journal;
use crate::saga::{IllegalEvent, Index, StepPhase};
use crate::update::{State, StepUpdate, Update};

/// What is shown of a compensation that was written off without having failed.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("it was written off")]
struct WrittenOff;

impl<J: Journal> Executor<J> {
    /// Folds an event that this executor caused: one that cannot happen is a bug of ours.
    pub(super) fn happened(&mut self, event: Event) {
        self.note(event).expect("the executor only does what the saga wants");
    }

    pub(super) fn step_happened(&mut self, i: Index, fact: Fact) {
        self.happened(Event::Step(self.id(i), fact));
    }

    /// Folds an event, to be durable with the next commit, and derives what is to be shown.
    pub(super) fn note(&mut self, event: Event) -> Result<(), IllegalEvent> {
        // Rule 12: no secret is kept.
        let event = self.spec.templates.mask().event(event);
        let unwinding = self.saga.unwinding();
        self.saga.apply(&event)?;
        if let Event::Step(id, fact) = &event {
            let i = self.saga.find(id).expect("the saga just found it");
            self.show_step(i, fact);
            // Not `passed`: an irreversible pivot is passed when it starts, and is not live before it succeeded.
            if self.spec.plan.step(i).pivot && matches!(fact, Fact::Succeeded(_) | Fact::Skipped | Fact::Resolved(Answer::Done { .. })) {
                self.shown.push(Update::Live { downtime: self.saga.downtime(), answers: self.saga.answers() });
            }
        }
        if self.saga.unwinding() && !unwinding {
            self.begin_unwinding(&event);
        }
        self.batch.push(event);
        Ok(())
    }

    fn begin_unwinding(&mut self, event: &Event) {
        let (because, failure) = match event {
            Event::Step(id, _) => {
                let failure = self.saga.find(id).and_then(|i| self.saga.step(i).failure.clone());
                (Some(id.clone()), failure)
            }
            Event::Run(RunFact::Aborted { .. }) => (None, None),
            // An interrupted step that counts as failed.
            Event::Run(_) => {
                let failed = |&i: &Index| self.saga.step(i).phase == StepPhase::Failed && !self.spec.plan.step(i).continue_on_failure;
                let i = self.saga.forward().find(failed);
                (i.map(|i| self.id(i)), i.and_then(|i| self.saga.step(i).failure.clone()))
            }
        };
        let (owes, changed) = (self.saga.owed().next().is_some(), self.saga.changed());
        self.shown.push(Update::Unwinding { because, failure, owes, changed });
        // The pauses were those of attempts that will not come: an outage must not last for them.
        self.pauses.clear();
        // What is lined up beside a step that could not begin is stopped before it does anything.
        for stop in self.stops() {
            stop.cancel();
        }
    }

    /// What asks all that is live or lined up to stop.
    fn stops(&self) -> impl Iterator<Item = &CancellationToken> {
        let live = self.lives.values().map(|live| &live.stop);
        live.chain(self.prepared.iter().map(|launch| &launch.stop))
    }

    fn show_step(&mut self, i: Index, fact: &Fact) {
        let state = self.saga.step(i);
        let direction = self.saga.action_part(i).direction();
        let undo = Direction::Undo;
        let (direction, shown) = match fact {
            Fact::Started { .. } => (direction, State::Started),
            Fact::Succeeded(_) | Fact::Resolved(Answer::Done { .. }) => (direction, State::Succeeded),
            Fact::Failed(_) if state.phase == StepPhase::Retrying => (direction, State::Retrying),
            Fact::Failed(_) => (direction, State::Failed),
            Fact::Skipped => (direction, State::Skipped),
            Fact::NotRun => (direction, State::NotRun),
            Fact::Unknown | Fact::Lost { part: Part::Action } => (direction, State::Unknown),
            Fact::UndoStarted { part: 0, .. } => (undo, State::UndoStarted),
            Fact::Undone { .. } | Fact::Resolved(Answer::Undone(_) | Answer::GivenUp(_)) if state.phase == StepPhase::Undone => {
                (undo, State::Undone)
            }
            Fact::UndoFailed { part, .. } => match state.phase {
                StepPhase::UndoDue(due) if due == *part => (undo, State::UndoRetrying),
                StepPhase::UndoFailed(_) => (undo, State::UndoFailed),
                StepPhase::Undone => (undo, State::Undone),
                _ => return,
            },
            Fact::UndoStarted { .. }
            | Fact::Undone { .. }
            | Fact::Recorded { .. }
            | Fact::Spawned { .. }
            | Fact::Lost { .. }
            | Fact::Resolved(Answer::NotDone { .. } | Answer::Undone(_) | Answer::GivenUp(_)) => return,
        };
        let mut update = self.step_update(i, direction, shown);
        if let (Update::Step(update), Fact::Succeeded(outputs)) = (&mut update, fact) {
            update.outputs = Some(outputs.clone());
        }
        self.shown.push(update);
    }

    pub(super) fn step_update(&self, i: Index, direction: Direction, state: State) -> Update {
        let known = self.saga.step(i);
        let since = match direction {
            Direction::Undo => self.undo_since.get(&i).copied(),
            Direction::Forward | Direction::Finally => self.lives.get(&i).map(|live| live.since),
        };
        let ended = !matches!(state, State::Started | State::UndoStarted | State::Skipped | State::NotRun);
        let failure = match state {
            State::Failed | State::Retrying => known.failure.clone(),
            State::UndoRetrying | State::UndoFailed => known.undo_failure.clone(),
            State::Undone => known.written_off.last().map(|off| off.failure.clone().unwrap_or_else(|| Failure::dirty(WrittenOff))),
            _ => None,
        };
        let planned = self.spec.plan.step(i);
        Update::Step(StepUpdate {
            step: self.id(i),
            description: planned.description.clone(),
            uses: planned.action.uses.clone(),
            direction,
            state,
            attempt: if direction == Direction::Undo { known.undo_attempt } else { known.attempt },
            seconds: since.filter(|_| ended).map(|since| since.elapsed().as_secs_f64()),
            outputs: None,
            failure,
        })
    }

    /// Makes everything noted so far durable in one commit, then shows it, then spawns what waits for it (rule 1).
    pub(super) fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty()
            && self.journal_error.is_none()
            && let Err(error) = self.journal.append(&batch)
        {
            tracing::error!(%error, "the journal cannot be written");
            self.journal_error = Some(error);
            self.halted = true;
        }
        let (shown, prepared) = (std::mem::take(&mut self.shown), std::mem::take(&mut self.prepared));
        if self.journal_error.is_some() {
            for launch in prepared {
                self.release(launch.i, launch.part);
            }
            return;
        }
        for update in shown {
            self.show(update);
        }
        for launch in prepared {
            self.spawn(launch);
        }
    }
}
