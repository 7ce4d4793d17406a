//! A run that an earlier process left, taken over: to go on with it, to undo it, or to note what a person says.
//!
//! Whether that may be done is looked at once nobody else can change the run any more: what was looked at before may have gone on
//! meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::encoding;
use crate::event::{Answer, DebtAnswer, Part, StepId};
use crate::journal::{Demand, JournalError};
use crate::kind::HEARD_FROM;
use crate::lock::LockHolder;
use crate::saga::{Index, StepPhase};
use crate::update::Ending;

use super::active::{ActiveRun, Claim, Parts};
use super::begin::retained_paths;
use super::error::RunError;
use super::inputs::hidden_secrets;
use super::lookup::{self, FoundRun};
use super::next::next_commands;
use super::replay::Replay;
use super::{EndedRun, Options, Purpose, Runs, secrets};

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The process that has the run is told.
    Told,
    /// It is noted for whoever goes on with the run.
    Noted,
}

/// What a person says of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Its work was done; to an approval: yes.
    Done {
        /// Outputs, where they know any.
        outputs: Map<String, Value>,
    },
    /// Its work was not done; to an approval: no.
    NotDone,
    /// They did the compensation that it owes (rule 20).
    Undone,
    /// The compensation that it owes will not be done (rule 20).
    GiveUp,
}

impl Runs {
    /// Takes a run over, and records that.
    ///
    /// # Errors
    /// Nothing was touched: a live process has it, [`Runs::permits`] refuses, its journal is damaged, or a secret is missing.
    pub fn take_over(&self, found: FoundRun, purpose: Purpose, options: Options) -> Result<ActiveRun, RunError> {
        let permits = |found: &FoundRun, replay: &Replay| self.permits(purpose, found, replay);
        let mut active = self.claim(found, Some(purpose), options, permits)?;
        active.taken_over(self, purpose)?;
        tracing::info!(run = %active.id(), ?purpose, plan_edited = active.plan_edited, "taken over");
        Ok(active)
    }

    /// Whether the run may be taken over for `purpose`, as far as its journal tells.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn permits(&self, purpose: Purpose, found: &FoundRun, replay: &Replay) -> Result<(), RunError> {
        match purpose {
            Purpose::Resume => Ok(()),
            Purpose::Abort => may_abort(found, replay),
            Purpose::Rollback => self.may_roll_back(found, replay),
        }
    }

    /// Only what succeeded, stands on top, and can be undone.
    fn may_roll_back(&self, found: &FoundRun, replay: &Replay) -> Result<(), RunError> {
        let run = found.row.run.clone();
        if !replay.is_over()
            && let Some(holder) = self.record_of(&found.row)?
        {
            let next = next_commands(&run, replay.ending(), &replay.saga);
            return Err(RunError::Unsettled { holder: Box::new(holder), next });
        }
        if !lookup::is_success(&found.row) || !replay.is_over() {
            return Err(RunError::NothingToRollBack { run, outcome: found.row.outcome });
        }
        // What a newer run put there would be overwritten by what was there before this one.
        let rows = lookup::rows(&found.store)?;
        let newer = rows.into_iter().take_while(|row| row.run != run).find(|row| row.lock == found.row.lock && lookup::is_success(row));
        match newer {
            Some(newer) => Err(RunError::NewerRun { run, newer: newer.run }),
            None => reversible(found, replay),
        }
    }

    /// Says what became of a step or of a compensation, or answers a step that waits for that: to the process that has the run, where
    /// one has.
    ///
    /// # Errors
    /// There is no such step, or nobody asks about it, or nothing is owed; nothing was touched.
    pub fn answer(&self, found: FoundRun, step: &StepId, word: Word, because: Option<String>) -> Result<Answered, RunError> {
        let asked = loop {
            let running = self.process_of(&found.row)?.is_some();
            let replay = found.replay(&self.registry)?;
            let (answer, waits) = self.answerable(&found, &replay, step, &word, &because, running)?;
            // A step that waits for its answer hears it itself, also when it is asked again: it leaves who gave it, and a no fails it.
            if !waits && !running {
                break None;
            }
            let demand = Demand::Resolve { step: step.clone(), answer };
            match found.store.demand_as_of(&found.row.run, &demand, replay.records.len()) {
                // Whether it is still asked has to be looked at again.
                Err(JournalError::Overtaken(_)) => {}
                asked => break Some((running, asked.map_err(|error| lookup::journal(&found.store, error))?)),
            }
        };
        if let Some((running, asked)) = asked {
            if asked.is_none() {
                return Err(RunError::AlreadyAnswered { run: found.row.run, step: step.clone() });
            }
            tracing::info!(run = %found.row.run, %step, running, "answer handed on");
            return Ok(if running { Answered::Told } else { Answered::Noted });
        }
        let run = found.row.run.clone();
        let mut said = None;
        let may = |found: &FoundRun, replay: &Replay| {
            said = Some(self.answerable(found, replay, step, &word, &because, false)?.0);
            Ok(())
        };
        let mut active = self.claim(found, None, Options::silent(), may)?;
        let answer = said.expect("who has the run looked whether it is asked");
        active.resumed(self)?;
        active.answer(step, answer).map_err(|_| RunError::NotAsked { run, step: step.clone() })?;
        active.save().map(|_| Answered::Noted)
    }

    /// The answer that `word` is about a step, and whether the step waits for that itself. `running`: a process has the run.
    fn answerable(
        &self,
        found: &FoundRun,
        replay: &Replay,
        step: &StepId,
        word: &Word,
        because: &Option<String>,
        running: bool,
    ) -> Result<(Answer, bool), RunError> {
        let unknown = || RunError::UnknownStep { run: found.row.run.clone(), step: step.clone() };
        let i = replay.saga.find(step).ok_or_else(unknown)?;
        let (by, because) = (self.user.clone(), because.clone());
        let owed = |of: fn(DebtAnswer) -> Answer| {
            // What a process that is gone did not come to the end of is owed as well.
            let saga = if running { replay.saga.clone() } else { self.once_taken_over(replay.saga.clone(), Purpose::Resume)? };
            let part = saga.debt(i).ok_or_else(|| RunError::NotOwed { run: found.row.run.clone(), step: step.clone() })?;
            Ok((of(DebtAnswer { part, by: by.clone(), because: because.clone() }), false))
        };
        match word {
            Word::Undone => owed(Answer::Undone),
            Word::GiveUp => owed(Answer::GivenUp),
            Word::Done { outputs } => {
                let waits = if running && replay.saga.can_be_ended(i) { false } else { asked(found, replay, i, running)? };
                Ok((Answer::Done { outputs: outputs.clone(), by, because }, waits))
            }
            Word::NotDone => Ok((Answer::NotDone { by, because }, asked(found, replay, i, running)?)),
        }
    }

    /// The run, as nobody has it now: how it ended.
    ///
    /// # Errors
    /// It is not settled: somebody must go on with it.
    pub fn ended(&self, found: &FoundRun) -> Result<EndedRun, RunError> {
        let replay = found.replay(&self.registry)?;
        match replay.ending() {
            Ending::Settled(_) => Ok(replay.ended(&found.row)),
            Ending::Paused | Ending::Interrupted => {
                let next = next_commands(&found.row.run, replay.ending(), &replay.saga);
                Err(RunError::Unsettled { holder: Box::new(self.left_by(found, &replay)?), next })
            }
        }
    }

    /// What the machine's record tells of a run that a process left, with what goes on with it.
    fn left_by(&self, found: &FoundRun, replay: &Replay) -> Result<LockHolder, RunError> {
        let next = next_commands(&found.row.run, replay.ending(), &replay.saga);
        let next = next.first().map(ToString::to_string).unwrap_or_default();
        let opened = &replay.opened;
        Ok(match self.record_of(&found.row)? {
            Some(holder) => LockHolder { next, ..holder },
            None => LockHolder {
                lock: found.row.lock.clone(),
                run: found.row.run.clone(),
                state_dir: found.store.dir().to_owned(),
                plan: PathBuf::from(&opened.plan_path),
                plan_name: found.row.plan_name.clone(),
                user: opened.user.clone(),
                pid: opened.pid,
                since: opened.started_at,
                next,
            },
        })
    }

    /// Asks the process that has a run to undo it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn ask_to_abort(&self, found: &FoundRun) -> Result<(), RunError> {
        let demand = Demand::Abort { by: self.user.clone() };
        tracing::info!(run = %found.row.run, "asked to undo it");
        found.store.demand(&found.row.run, &demand).map(drop).map_err(|error| lookup::journal(&found.store, error))
    }

    /// Gets hold of a run, if `may` agrees once nobody else can change it any more. Without a `purpose` nothing of it will be executed.
    fn claim(
        &self,
        found: FoundRun,
        purpose: Option<Purpose>,
        options: Options,
        may: impl FnOnce(&FoundRun, &Replay) -> Result<(), RunError>,
    ) -> Result<ActiveRun, RunError> {
        let held = self.acquire(&found.row.lock, Duration::ZERO)?;
        let (store, run) = (found.store, found.row.run);
        let rows = lookup::rows(&store)?;
        let row = rows.iter().find(|row| row.run == run).cloned().ok_or_else(|| RunError::UnknownRun(run.clone()))?;
        let found = FoundRun { store, row };
        let (journal, records) = found.store.resume(&run).map_err(|error| lookup::journal(&found.store, error))?;
        let replay = Replay::of(records, &self.registry)?;
        may(&found, &replay)?;
        if let Some(other) = held.record_of().map_err(|error| self.lock_error(error))?
            && other.run != run
            && let Some(next) = self.next_of_blocking(&other)?
        {
            return Err(self.in_the_way(other, next));
        }
        let plan_edited = encoding::read(&replay.opened.plan_path).is_ok_and(|text| text != replay.opened.plan_text);
        let mut needed = BTreeSet::new();
        if let Some(purpose) = purpose {
            needed = secrets::remaining(&replay.plan, &self.once_taken_over(replay.saga.clone(), purpose)?);
            needed.extend(hidden_secrets(&replay.opened));
        }
        // What the run was started without it goes on without.
        needed.retain(|name| replay.opened.secrets.contains(name));
        let secrets = self.secrets(&replay.plan, Some(&needed))?;
        let retained = retained_paths(&found.store, &rows, &run)?;
        let Replay { plan, opened, saga, records, .. } = replay;
        let parts = Parts { plan, opened, secrets, run };
        let holder = self.holder(&parts, &found.store, found.row.lock);
        held.record(&holder).map_err(|error| self.lock_error(error))?;
        let claim = Claim { held, holder, store: found.store, journal, saga, records, retained };
        let mut active = ActiveRun::new(self, parts, claim, options)?;
        active.plan_edited = plan_edited;
        Ok(active)
    }
}

/// Only a run that is not over can be aborted, and only while there is a way back.
fn may_abort(found: &FoundRun, replay: &Replay) -> Result<(), RunError> {
    if replay.is_over() || !found.is_open() {
        return Err(RunError::AlreadySettled { run: found.row.run.clone(), outcome: replay.saga.outcome() });
    }
    reversible(found, replay)
}

/// While nothing irreversible started there is a way back.
fn reversible(found: &FoundRun, replay: &Replay) -> Result<(), RunError> {
    let saga = &replay.saga;
    if saga.reversible() {
        return Ok(());
    }
    let started = saga.forward().find(|&i| saga.shape().steps[i].irreversible && saga.step(i).attempt > 0);
    Err(RunError::Irreversible { run: found.row.run.clone(), step: started.map(|i| replay.id(i)) })
}

/// Whether the step that is asked about waits for its answer itself. `running`: a process has the run.
fn asked(found: &FoundRun, replay: &Replay, i: Index, running: bool) -> Result<bool, RunError> {
    let (run, step) = (|| found.row.run.clone(), || replay.id(i));
    let saga = &replay.saga;
    let waits = replay.waits_for_answer(i);
    // What is live has no verdict yet: it may wait for the answer, and without a process anything is lost. Other work goes on and tells
    // by itself what becomes of it.
    match saga.step(i).phase {
        _ if saga.unwinding() => Err(RunError::NotAsked { run: run(), step: step() }),
        StepPhase::Started if waits && saga.recorded(i, Part::Action).contains_key(HEARD_FROM) => {
            Err(RunError::AlreadyAnswered { run: run(), step: step() })
        }
        StepPhase::Unknown => Ok(waits),
        StepPhase::Started if waits || !running => Ok(waits),
        _ => Err(RunError::NotAsked { run: run(), step: step() }),
    }
}
