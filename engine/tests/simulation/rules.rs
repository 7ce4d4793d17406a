//! The invariants. Everything here is told by the plan, the events as they become durable, and what begins and ends in the world: never
//! by the saga, whose conclusions are drawn here a second time, slowly and from the whole.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use almaplan_engine::event::{Answer, Effect, Event, Fact, Failure, OnInterrupt, Outcome, Part, RunFact};
use serde_json::{Map, Value};

use crate::drawn::{Drawn, DrawnKind, Step, Work, bits};
use crate::ground::Ground;

pub type Checked = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

/// Where a step is, as its history tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Pending,
    Started,
    Retrying,
    Succeeded,
    Failed,
    Unknown,
    Skipped,
    NotRun,
    UndoDue,
    Undoing,
    Undone,
    UndoFailed,
}

/// What the events so far tell of a step.
#[derive(Debug, Clone)]
struct Tale {
    phase: Phase,
    attempt: u32,
    undo_attempt: u32,
    failures: u32,
    undo_failures: u32,
    /// Its next compensation.
    part: usize,
    /// An attempt ended otherwise than by failing cleanly (rule 3).
    touched: bool,
    recorded: Map<String, Value>,
    pid: Option<u32>,
    outputs: Option<Map<String, Value>>,
    /// A compensation of it was ever written off.
    written_off: bool,
    /// What became of it was said, by a probe or a person, since it began.
    resolved: bool,
    went: Went,
    /// What a `finally` step was told when it started: how the run was settled, and what is owed or was written off.
    told: (Option<Outcome>, Vec<usize>),
}

/// How the newest attempt of a step went in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    NotBegun,
    On,
    Done,
    FailedClean,
    FailedDirty,
    TimedOut,
    Stopped,
    Dropped,
}

/// The invariants of one run.
#[derive(Debug)]
pub struct Rules {
    drawn: Rc<Drawn>,
    tales: Vec<Tale>,
    /// What is live in the world.
    live: Vec<(usize, Part)>,
    unwinding: bool,
    passed: bool,
    irreversible: bool,
    settled: Option<Outcome>,
}

impl Rules {
    pub fn new(drawn: Rc<Drawn>) -> Self {
        let tale = Tale {
            phase: Phase::Pending,
            attempt: 0,
            undo_attempt: 0,
            failures: 0,
            undo_failures: 0,
            part: 0,
            touched: false,
            recorded: Map::new(),
            pid: None,
            outputs: None,
            written_off: false,
            resolved: false,
            went: Went::NotBegun,
            told: (None, Vec::new()),
        };
        let tales = vec![tale; drawn.steps.len()];
        Self { drawn, tales, live: Vec::new(), unwinding: false, passed: false, irreversible: false, settled: None }
    }

    pub fn settled(&self) -> Option<Outcome> {
        self.settled
    }

    pub fn reversible(&self) -> bool {
        !self.irreversible
    }

    /// Settled, and the `finally` steps ended since.
    pub fn finished(&self) -> bool {
        let ended = |i: usize| matches!(self.tales[i].phase, Phase::Succeeded | Phase::Failed | Phase::Skipped);
        self.settled.is_some() && (self.drawn.forward..self.tales.len()).all(ended)
    }

    /// Steps of which a person could say what became of them.
    pub fn unknown(&self) -> Vec<usize> {
        let unknown = |i: &usize| !self.unwinding && self.tales[*i].phase == Phase::Unknown;
        (0..self.drawn.forward).filter(unknown).collect()
    }

    /// Which steps are where, whichever they are, and where the run is.
    pub fn combination(&self) -> u64 {
        let mut counts = [[0u8; 12]; 2];
        for (i, tale) in self.tales.iter().enumerate() {
            counts[usize::from(self.drawn.is_finally(i))][tale.phase as usize] += 1;
        }
        let mut hash = DefaultHasher::new();
        (counts, self.unwinding, self.passed, self.irreversible, self.settled.map(Outcome::as_str)).hash(&mut hash);
        hash.finish()
    }

    /// Folds an event that became durable.
    pub fn event(&mut self, event: &Event, ground: &mut Ground) -> Checked {
        match event {
            Event::Run(fact) => self.run_fact(fact, ground),
            Event::Step(id, fact) => {
                let i = self.drawn.number(id.as_str());
                self.step_fact(i, fact, ground).map_err(|why| format!("{id}: {why}"))
            }
        }
    }

    fn run_fact(&mut self, fact: &RunFact, ground: &Ground) -> Checked {
        match fact {
            RunFact::Opened(_) => {}
            RunFact::Resumed { .. } => self.resumed(),
            RunFact::Rebooted { .. } if self.unwinding => self.undone_volatile_again(),
            RunFact::Rebooted { .. } => self.done_volatile_again(),
            RunFact::Aborted { .. } => {
                ensure!(!self.irreversible, "aborted, although something irreversible started");
                self.settled = None;
                self.unwind();
            }
            RunFact::Settled(outcome) => {
                self.settles(*outcome, ground)?;
                self.settled = Some(*outcome);
                for tale in &mut self.tales[self.drawn.forward..] {
                    (tale.phase, tale.failures, tale.outputs) = (Phase::Pending, 0, None);
                    tale.recorded.clear();
                }
            }
            RunFact::Unreachable | RunFact::Reachable(_) | RunFact::Asked(_) => return Err("nothing is measured here".to_owned()),
        }
        Ok(())
    }

    fn resumed(&mut self) {
        for i in 0..self.tales.len() {
            let finally = self.drawn.is_finally(i);
            let tale = &mut self.tales[i];
            tale.went = Went::NotBegun;
            match tale.phase {
                Phase::Started if finally => tale.phase = Phase::Pending,
                Phase::Started => self.loses_sight_of(i),
                Phase::Undoing => tale.phase = Phase::UndoDue,
                Phase::UndoFailed => {
                    (tale.phase, tale.undo_failures) = (Phase::UndoDue, 0);
                    self.settled = None;
                }
                _ => {}
            }
        }
    }

    /// Rule 19, forward: what is volatile, and whoever looks after it.
    fn done_volatile_again(&mut self) {
        let mut again = 0u64;
        for i in 0..self.drawn.forward {
            let kind = self.drawn.steps[i].kind;
            let looks_again = kind == DrawnKind::Looking && self.drawn.ancestors[i] & again != 0;
            let tale = &mut self.tales[i];
            if tale.phase == Phase::Succeeded && (kind == DrawnKind::Volatile || looks_again) {
                again |= 1 << i;
                (tale.phase, tale.failures) = (Phase::Pending, 0);
                self.settled = None;
            }
        }
    }

    /// Rule 19, as compensations: from the first one whose effect is gone.
    fn undone_volatile_again(&mut self) {
        let mut again = 0u64;
        for i in (0..self.drawn.forward).rev() {
            let after_one = self.drawn.descendants[i] & again != 0;
            let gone = |effect| effect == Effect::Volatile || after_one && effect == Effect::Observes;
            let first = self.drawn.steps[i].compensations.iter().position(|compensation| gone(compensation.kind.effect()));
            let tale = &mut self.tales[i];
            let undoing = matches!(tale.phase, Phase::UndoDue | Phase::UndoFailed | Phase::Undone);
            if let Some(first) = first.filter(|&first| undoing && first < tale.part) {
                again |= 1 << i;
                (tale.phase, tale.part, tale.undo_failures) = (Phase::UndoDue, first, 0);
                self.settled = None;
            }
        }
    }

    fn step_fact(&mut self, i: usize, fact: &Fact, ground: &mut Ground) -> Checked {
        let drawn = Rc::clone(&self.drawn);
        let step = &drawn.steps[i];
        match fact {
            Fact::Started { attempt, .. } => self.starts(i, step, *attempt),
            Fact::Succeeded(outputs) => {
                self.ends(i, Phase::Started, |went| went == Went::Done)?;
                let tale = &mut self.tales[i];
                (tale.phase, tale.touched, tale.outputs) = (Phase::Succeeded, true, outputs.as_object().cloned());
                self.passed |= step.pivot;
                Ok(())
            }
            Fact::Failed(failure) => self.fails(i, step, failure),
            Fact::Skipped => {
                ensure!(step.work.skipped && self.may_go_forward(i), "skipped out of place");
                ensure!(drawn.is_finally(i) || self.tales[i].attempt == 0, "skipped after it began");
                self.tales[i].phase = Phase::Skipped;
                self.passed |= step.pivot;
                Ok(())
            }
            Fact::NotRun => self.is_not_run(i),
            Fact::Unknown => {
                ensure!(!drawn.is_finally(i), "a `finally` step is simply run again");
                self.ends(i, Phase::Started, |went| went != Went::Done)?;
                self.loses_sight_of(i);
                Ok(())
            }
            Fact::Lost { part } => {
                // A `finally` step that an abort stopped is gone, too, however it ended but well: the run is settled anew after that.
                let tale = &self.tales[i];
                let unwell = !matches!(tale.went, Went::NotBegun | Went::On | Went::Done);
                let stopped = *part == Part::Finally && tale.phase == Phase::Started && unwell;
                ensure!(stopped || self.live.contains(&(i, *part)), "{part:?} is lost, and was not live");
                match part {
                    Part::Action => self.loses_sight_of(i),
                    Part::Finally => self.tales[i].phase = Phase::Pending,
                    Part::Compensation(_) => self.tales[i].phase = Phase::UndoDue,
                    Part::Probe => {}
                }
                Ok(())
            }
            Fact::Resolved(answer) => self.is_resolved(i, answer, ground),
            Fact::Recorded { part, name, value } => self.records(i, *part, name, value),
            Fact::Spawned { part, process, .. } => {
                ensure!(self.live.contains(&(i, *part)), "a process of {part:?}, which is not live");
                if matches!(part, Part::Action | Part::Finally) {
                    self.tales[i].pid = Some(process.pid);
                }
                Ok(())
            }
            Fact::UndoStarted { part, attempt, .. } => {
                self.may_be_undone(i, *part)?;
                let tale = &mut self.tales[i];
                ensure!(*attempt == tale.undo_attempt + 1, "compensation attempt {attempt} after {}", tale.undo_attempt);
                (tale.phase, tale.undo_attempt, tale.went) = (Phase::Undoing, *attempt, Went::NotBegun);
                Ok(())
            }
            Fact::Undone { part } => {
                if self.tales[i].phase == Phase::Undoing {
                    self.ends(i, Phase::Undoing, |went| went == Went::Done)?;
                } else {
                    ensure!(step.compensations[*part].work.skipped, "compensation {part} is done without having begun");
                    self.may_be_undone(i, *part)?;
                    ground.needless(i, *part);
                }
                self.tales[i].undo_attempt = self.tales[i].undo_attempt.max(1);
                self.part_is_over(i, *part)
            }
            Fact::UndoFailed { part, .. } => self.undo_fails(i, step, *part),
        }
    }

    fn starts(&mut self, i: usize, step: &Step, attempt: u32) -> Checked {
        ensure!(self.may_go_forward(i), "it starts out of turn, {:?}", self.tales[i].phase);
        ensure!(!step.work.skipped || self.tales[i].attempt > 0, "it starts, although its `when` is false");
        ensure!(!step.work.unfit, "it starts with inputs that do not fit");
        let asked = self.unknown().into_iter().find(|&other| self.is_asked(other));
        ensure!(asked.is_none() || self.drawn.is_finally(i), "it starts while a person is asked about step {asked:?}");
        // A person may answer for a compensation before it begins: it is told of where it was when it started.
        let told = (self.settled, self.listed());
        let tale = &mut self.tales[i];
        tale.told = told;
        ensure!(attempt == tale.attempt + 1, "attempt {attempt} after {}", tale.attempt);
        ensure!(tale.failures < step.work.attempts, "attempt {attempt}, although it failed {} times", tale.failures);
        (tale.phase, tale.attempt, tale.resolved, tale.went) = (Phase::Started, attempt, false, Went::NotBegun);
        self.irreversible |= step.irreversible;
        self.passed |= step.irreversible;
        Ok(())
    }

    /// Whether its action may begin: its turn has come, and all that it needs is satisfied.
    fn may_go_forward(&self, i: usize) -> bool {
        let (step, finally) = (&self.drawn.steps[i], self.drawn.is_finally(i));
        let its_time = if finally { self.settled.is_some() } else { !self.unwinding && self.settled.is_none() };
        let waits = match self.tales[i].phase {
            Phase::Pending | Phase::Retrying => true,
            Phase::Unknown => step.probe.is_none() && step.on_interrupt() == OnInterrupt::Rerun,
            _ => false,
        };
        let all = self.drawn.ancestors[i];
        its_time && waits && (0..self.tales.len()).all(|other| all >> other & 1 == 0 || self.is_satisfied(other))
    }

    fn is_satisfied(&self, i: usize) -> bool {
        match self.tales[i].phase {
            Phase::Succeeded | Phase::Skipped => true,
            Phase::Failed => self.drawn.steps[i].continues || self.drawn.is_finally(i),
            _ => false,
        }
    }

    fn is_asked(&self, i: usize) -> bool {
        let step = &self.drawn.steps[i];
        step.probe.is_none() && step.on_interrupt() == OnInterrupt::Ask
    }

    /// A live part has a verdict, which must be the one that the world gave.
    fn ends(&self, i: usize, phase: Phase, fits: impl Fn(Went) -> bool) -> Checked {
        let tale = &self.tales[i];
        ensure!(tale.phase == phase, "a verdict of what is {:?}", tale.phase);
        ensure!(fits(tale.went), "in the world it was {:?}", tale.went);
        Ok(())
    }

    fn fails(&mut self, i: usize, step: &Step, failure: &Failure) -> Checked {
        let began = self.tales[i].phase == Phase::Started;
        if began {
            // Rule 14: what was stopped did not fail. What never began could not: what was left running could not be ended.
            let fits = |went| match failure.clean {
                true => went == Went::FailedClean,
                false => matches!(went, Went::FailedDirty | Went::TimedOut | Went::NotBegun),
            };
            self.ends(i, Phase::Started, fits)?;
        } else {
            ensure!(step.work.unfit && failure.clean && self.may_go_forward(i), "it failed without having begun");
        }
        let unwinding = self.unwinding;
        let tale = &mut self.tales[i];
        tale.failures += 1;
        tale.touched |= !failure.clean;
        if began && tale.failures < step.work.attempts && !unwinding {
            tale.phase = Phase::Retrying;
        } else {
            self.failed_for_good(i);
        }
        Ok(())
    }

    fn failed_for_good(&mut self, i: usize) {
        self.tales[i].phase = Phase::Failed;
        let step = &self.drawn.steps[i];
        if step.continues {
            self.passed |= step.pivot;
        } else if !self.drawn.is_finally(i) && !self.passed {
            self.unwind();
        }
    }

    fn loses_sight_of(&mut self, i: usize) {
        let step = &self.drawn.steps[i];
        let counts_as_failed = step.probe.is_none() && step.on_interrupt() == OnInterrupt::Compensate;
        self.tales[i].touched = true;
        self.tales[i].phase = Phase::Unknown;
        if counts_as_failed {
            self.failed_for_good(i);
        }
    }

    fn unwind(&mut self) {
        self.unwinding = true;
        for tale in &mut self.tales[..self.drawn.forward] {
            if tale.phase == Phase::Retrying {
                tale.phase = Phase::Failed;
            }
        }
    }

    fn is_not_run(&mut self, i: usize) -> Checked {
        ensure!(!self.drawn.is_finally(i) && self.settled.is_none(), "it is dropped out of place");
        let lost = |other: usize| {
            let (step, phase) = (&self.drawn.steps[other], self.tales[other].phase);
            phase == Phase::NotRun || phase == Phase::Failed && !step.continues
        };
        let waits = matches!(self.tales[i].phase, Phase::Pending | Phase::Retrying | Phase::Unknown);
        let never = self.drawn.ancestors[i] & bits(self.drawn.forward, lost) != 0;
        let unwound = self.unwinding && self.tales[i].phase == Phase::Pending && !self.owes(i);
        ensure!(unwound || !self.unwinding && waits && never, "it is dropped for no reason");
        self.tales[i].phase = Phase::NotRun;
        Ok(())
    }

    fn is_resolved(&mut self, i: usize, answer: &Answer, ground: &mut Ground) -> Checked {
        if let Some(part) = answer.debt() {
            return self.is_answered_for(i, part, answer, ground);
        }
        ensure!(!self.unwinding && self.tales[i].phase == Phase::Unknown, "an answer that nobody asked for");
        let step = &self.drawn.steps[i];
        if step.work.waits && matches!(answer, Answer::Done { .. }) {
            // What is asked for is the answer itself, which another question kept from the work until the process died.
            ground.act(i);
        }
        let done = ground.is_done(i, &self.drawn) || step.work.waits;
        let tale = &mut self.tales[i];
        tale.resolved = true;
        match answer {
            Answer::Done { outputs, .. } => {
                ensure!(done, "it is taken for done, and is not");
                let mut all = tale.recorded.clone();
                all.extend(outputs.clone());
                (tale.phase, tale.outputs) = (Phase::Succeeded, Some(all));
                self.passed |= step.pivot;
            }
            Answer::NotDone { .. } => {
                ensure!(!done || step.work.waits, "it is taken for not done, and is");
                tale.phase = Phase::Pending;
            }
            Answer::Undone(_) | Answer::GivenUp(_) => return Err("an answer about a compensation".to_owned()),
        }
        Ok(())
    }

    /// Rule 20: a person did a compensation, or writes it off.
    fn is_answered_for(&mut self, i: usize, part: usize, answer: &Answer, ground: &mut Ground) -> Checked {
        ensure!(self.unwinding && self.owes(i), "answered for although it owes nothing");
        ensure!(self.tales[i].phase != Phase::Started, "answered for although its action is live");
        let live = self.live.iter().find(|&&(step, _)| step == i);
        ensure!(live.is_none(), "answered for beside {live:?}, which is live");
        self.settled = None;
        match answer {
            Answer::Undone(_) => ground.needless(i, part),
            _ => self.tales[i].written_off = true,
        }
        self.part_is_over(i, part)
    }

    /// The compensations that a person could answer for.
    pub fn debts(&self) -> Vec<(usize, usize)> {
        let owes = |i: &usize| self.unwinding && self.owes(*i) && self.tales[*i].phase != Phase::Started;
        (0..self.drawn.forward).filter(owes).map(|i| (i, self.tales[i].part)).collect()
    }

    fn records(&mut self, i: usize, part: Part, name: &str, value: &Value) -> Checked {
        ensure!(self.live.contains(&(i, part)), "a record of {part:?}, which is not live");
        if matches!(part, Part::Action | Part::Finally) {
            // Rule 16: the first record of a name stands.
            self.tales[i].recorded.entry(name).or_insert_with(|| value.clone());
        }
        Ok(())
    }

    /// Rules 4 and 5.
    fn may_be_undone(&self, i: usize, part: usize) -> Checked {
        ensure!(!self.drawn.is_finally(i), "a `finally` step owes nothing");
        ensure!(self.unwinding && self.settled.is_none(), "undone although the run does not unwind");
        let live = (0..self.drawn.forward).find(|&other| self.tales[other].phase == Phase::Started);
        ensure!(live.is_none(), "undone beside step {live:?}, which is live");
        ensure!(self.owes(i), "undone although it owes nothing");
        let tale = &self.tales[i];
        ensure!(!matches!(tale.phase, Phase::Undoing | Phase::UndoFailed), "undone although it is {:?}", tale.phase);
        ensure!(part == tale.part, "compensation {part}, where {} is due", tale.part);
        let before = (0..self.drawn.forward).find(|&other| self.drawn.descendants[i] >> other & 1 == 1 && self.owes(other));
        ensure!(before.is_none(), "undone before step {before:?}, which needs it");
        Ok(())
    }

    /// Rule 3.
    fn owes(&self, i: usize) -> bool {
        let (step, tale) = (&self.drawn.steps[i], &self.tales[i]);
        (tale.touched || tale.phase == Phase::Started) && !step.compensations.is_empty() && tale.phase != Phase::Undone
    }

    fn part_is_over(&mut self, i: usize, part: usize) -> Checked {
        let count = self.drawn.steps[i].compensations.len();
        let tale = &mut self.tales[i];
        ensure!(part == tale.part, "compensation {part}, where {} is due", tale.part);
        tale.part += 1;
        tale.undo_failures = 0;
        tale.phase = if tale.part < count { Phase::UndoDue } else { Phase::Undone };
        Ok(())
    }

    fn undo_fails(&mut self, i: usize, step: &Step, part: usize) -> Checked {
        let compensation = &step.compensations[part];
        if self.tales[i].phase == Phase::Undoing {
            self.ends(i, Phase::Undoing, |went| matches!(went, Went::FailedClean | Went::FailedDirty | Went::TimedOut | Went::NotBegun))?;
        } else {
            ensure!(compensation.work.unfit, "compensation {part} failed without having begun");
            self.may_be_undone(i, part)?;
        }
        let tale = &mut self.tales[i];
        tale.undo_attempt = tale.undo_attempt.max(1);
        tale.undo_failures += 1;
        if tale.undo_failures < compensation.work.attempts {
            tale.phase = Phase::UndoDue;
        } else if compensation.continues {
            tale.written_off = true;
            return self.part_is_over(i, part);
        } else {
            tale.phase = Phase::UndoFailed;
        }
        Ok(())
    }

    fn settles(&self, outcome: Outcome, ground: &Ground) -> Checked {
        ensure!(self.settled.is_none(), "settled twice");
        let forward = || 0..self.drawn.forward;
        let phase = |i: usize| self.tales[i].phase;
        let open = |i: &usize| matches!(phase(*i), Phase::Started | Phase::Undoing | Phase::Retrying);
        ensure!(!forward().any(|i| open(&i)), "settled while step {:?} is not over", forward().find(open));
        let expected = match self.unwinding {
            true if forward().any(|i| self.owes(i)) => Outcome::Stuck,
            true => Outcome::Compensated,
            false if forward().any(|i| phase(i) == Phase::Failed) => Outcome::Warned,
            false => Outcome::Succeeded,
        };
        ensure!(outcome == expected, "settled as {outcome:?}, which is {expected:?}");
        for i in forward() {
            let settled = if self.unwinding { self.is_made_up_for(i, ground) } else { self.is_done(i, ground) };
            settled.map_err(|why| format!("settled as {outcome:?}: step {i} {why}"))?;
        }
        Ok(())
    }

    fn is_done(&self, i: usize, ground: &Ground) -> Checked {
        let (step, phase) = (&self.drawn.steps[i], self.tales[i].phase);
        ensure!(matches!(phase, Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::NotRun), "is {phase:?}");
        let present = ground.steps[i].present;
        ensure!(phase != Phase::Succeeded || present.is_some(), "succeeded, and its effect is gone");
        if step.kind == DrawnKind::Looking && phase == Phase::Succeeded {
            let unseen = (0..i).find(|&other| {
                let needed = self.drawn.ancestors[i] >> other & 1 == 1 && self.tales[other].phase == Phase::Succeeded;
                needed && self.drawn.steps[other].kind == DrawnKind::Volatile && ground.steps[other].present > present
            });
            ensure!(unseen.is_none(), "has not looked since step {unseen:?}, which it needs, was done again");
        }
        Ok(())
    }

    fn is_made_up_for(&self, i: usize, ground: &Ground) -> Checked {
        let tale = &self.tales[i];
        if !self.owes(i) {
            ensure!(tale.phase != Phase::Pending, "is neither run nor dropped");
            let left = ground.steps[i].dirt.iter().position(|&dirt| dirt);
            ensure!(left.is_none() || tale.written_off, "left what compensation {left:?} makes up for");
            return Ok(());
        }
        let stuck = |other: usize| self.tales[other].phase == Phase::UndoFailed;
        let below = self.drawn.descendants[i] & bits(self.drawn.forward, stuck) != 0;
        ensure!(stuck(i) || below, "owes, and could be made up for");
        Ok(())
    }
}

/// What begins and ends in the world.
impl Rules {
    /// A part of a step begins to have effects.
    pub fn begins(&mut self, i: usize, part: Part, attempt: u32, ground: &Ground) -> Checked {
        let tale = &self.tales[i];
        let durable = match part {
            Part::Action | Part::Finally => tale.phase == Phase::Started && tale.attempt == attempt,
            Part::Compensation(at) => tale.phase == Phase::Undoing && tale.undo_attempt == attempt && tale.part == at,
            // A person may say it while the probe is on its way: then nobody hears what it tells.
            Part::Probe => (tale.phase == Phase::Unknown || tale.resolved) && self.drawn.steps[i].probe.is_some(),
        };
        ensure!(durable, "attempt {attempt} of {part:?} began before that was durable ({:?})", tale.phase);
        ensure!(self.live.iter().all(|&(other, _)| other != i), "{part:?} began beside another attempt of the same step");
        ensure!(self.live.len() < self.drawn.max_parallel, "{part:?} began beside {:?}", self.live);
        let forward = self.live.iter().any(|&(_, part)| !matches!(part, Part::Compensation(_)));
        ensure!(!matches!(part, Part::Compensation(_)) || !forward, "{part:?} began beside {:?}", self.live);
        ensure!(!matches!(part, Part::Action | Part::Probe) || !self.unwinding, "{part:?} began while the run unwinds");
        self.nothing_is_left_running(i, part, ground)?;
        self.tales[i].went = Went::On;
        self.live.push((i, part));
        Ok(())
    }

    /// Rule 18. What a compensation started belongs to those after it.
    fn nothing_is_left_running(&self, i: usize, part: Part, ground: &Ground) -> Checked {
        let at = if let Part::Compensation(at) = part { Some(at) } else { None };
        let left = ground.processes.iter().find(|(_, owner)| {
            let ended = owner.compensation.is_none() || owner.compensation == at;
            owner.step == i && !owner.adopted && ended
        });
        ensure!(left.is_none(), "{part:?} began while process {left:?} of it runs");
        Ok(())
    }

    pub fn ended(&mut self, i: usize, part: Part, went: Went) {
        self.live.retain(|&live| live != (i, part));
        if part != Part::Probe {
            self.tales[i].went = went;
        }
    }

    pub fn is_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// The values that a part takes in (rules 10 and 16).
    pub fn sees(&self, i: usize, part: Part) -> Vec<Value> {
        let step = &self.drawn.steps[i];
        match part {
            Part::Action => step.takes.iter().flat_map(|&other| ["x", "before"].map(|name| self.output(other, name))).collect(),
            Part::Finally => {
                let outcome = self.tales[i].told.0.map_or(Value::Null, |outcome| outcome.as_str().into());
                step.takes.iter().flat_map(|&other| [outcome.clone(), self.known(other, "x")]).collect()
            }
            Part::Compensation(at) => {
                let other = step.compensations[at].takes;
                vec![self.known(i, "x"), self.known(i, "before"), self.known(i, "pid"), self.known(other, "x")]
            }
            Part::Probe => Vec::new(),
        }
    }

    /// An output of a step as the action of another one sees it.
    fn output(&self, i: usize, name: &str) -> Value {
        if self.tales[i].phase == Phase::Succeeded { self.known(i, name) } else { Value::Null }
    }

    /// An output of a step as its own compensations, those of the steps after it, and `finally` steps see it.
    fn known(&self, i: usize, name: &str) -> Value {
        let tale = &self.tales[i];
        let output = tale.outputs.as_ref().and_then(|outputs| outputs.get(name)).or_else(|| tale.recorded.get(name)).cloned();
        let pid = tale.pid.filter(|_| name == "pid").map(Value::from);
        output.or(pid).unwrap_or_default()
    }

    /// What stands of what the action of a step recorded.
    pub fn recorded(&self, i: usize, name: &str) -> Option<&Value> {
        self.tales[i].recorded.get(name)
    }

    /// The steps of which a `finally` step was told that they are owed or were written off.
    pub fn told_of(&self, i: usize) -> &[usize] {
        &self.tales[i].told.1
    }

    /// The steps that a settled run says are owed or were written off (rule 7).
    fn listed(&self) -> Vec<usize> {
        let listed = |i: &usize| self.unwinding && (self.owes(*i) || self.tales[*i].written_off);
        (0..self.drawn.forward).filter(listed).collect()
    }

    /// How a process may leave the run that it had.
    pub fn rests(&self, paused: bool) -> Checked {
        let asked = self.unknown();
        ensure!(!paused || !asked.is_empty(), "a person is asked, but there is no question");
        ensure!(!paused || self.settled.is_none(), "a settled run is paused");
        let probed = |i: &usize| self.drawn.steps[*i].probe.is_some() || self.is_asked(*i);
        ensure!(!paused || asked.iter().any(probed), "a person is asked about what is simply run again");
        ensure!(self.live.is_empty(), "{:?} is live in the world", self.live);
        Ok(())
    }
}

/// How work that a part does was drawn.
pub fn work_of(drawn: &Drawn, i: usize, part: Part) -> &Work {
    let step = &drawn.steps[i];
    match part {
        Part::Action | Part::Finally => &step.work,
        Part::Probe => step.probe.as_ref().expect("only a step with a probe is probed"),
        Part::Compensation(at) => &step.compensations[at].work,
    }
}
