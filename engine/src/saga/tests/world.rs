//! A small deterministic executor in a small world: takes what the saga wants, appends, works, is interrupted, recovers.
//!
//! One move appends at most one event, so that an interruption can come after any of them, those of a recovery included.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::checks::Checks;
use super::ground::Ground;
use super::scenario::*;
use super::*;

#[derive(Clone)]
pub struct World {
    scenario: Scenario,
    pub saga: Saga,
    pub events: Vec<Event>,
    pub ground: Ground,
    /// What this process is doing.
    live: Vec<Task>,
    checks: Checks,
    breaks: VecDeque<Break>,
    appended: u8,
    choices: std::vec::IntoIter<u8>,
    /// A process that has not yet appended `resumed`.
    fresh: bool,
    stopping: bool,
    abort: bool,
    boot: u32,
    verdicts: BTreeMap<Index, usize>,
    undo_failures: BTreeMap<(Index, usize), u8>,
    pub written_off: BTreeSet<(Index, usize)>,
}

/// How a run came to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    Finished(Outcome),
    Asked,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Begin(Task),
    Record(Index),
    End(Task),
    Answer(Index),
    AnswerDebt(Index, bool),
    Settle(Outcome),
}

impl World {
    pub fn new(scenario: Scenario) -> Self {
        let mut world = Self {
            saga: Saga::new(scenario.shape.clone()),
            events: Vec::new(),
            ground: Ground::new(&scenario.shape),
            live: Vec::new(),
            checks: Checks::new(&scenario.shape),
            breaks: scenario.breaks.iter().copied().collect(),
            appended: 0,
            choices: scenario.choices.clone().into_iter(),
            fresh: false,
            stopping: false,
            abort: false,
            boot: 0,
            verdicts: BTreeMap::new(),
            undo_failures: BTreeMap::new(),
            written_off: BTreeSet::new(),
            scenario,
        };
        world.append(opened("0"));
        world
    }

    /// Plays until the run rests and no interruption is left.
    pub fn play(&mut self) -> Rest {
        loop {
            if let Some(rest) = self.play_on() {
                self.rests(rest);
                match self.breaks.pop_front() {
                    Some(next) => self.interrupt(next.how),
                    None => return rest,
                }
            }
        }
    }

    /// Appends one more event; or says how the run rests.
    pub fn play_on(&mut self) -> Option<Rest> {
        assert!(self.events.len() < 2000, "this run never ends{}", self.story());
        if let Some(&next) = self.breaks.front()
            && self.appended >= next.after
        {
            self.breaks.pop_front();
            self.interrupt(next.how);
        } else if self.fresh {
            self.fresh = false;
            self.append(resumed());
        } else if self.saga.boot(&HostId::local()) != Some(&*self.boot.to_string()) {
            let boot = self.boot.to_string();
            self.append(rebooted(&boot));
        } else if std::mem::take(&mut self.abort) {
            self.abort_run();
        } else {
            let moves = self.moves();
            match self.choose(moves.len()).map(|at| moves[at]) {
                Some(next) => self.make(next),
                None if self.stopping => self.end_process(),
                None => return Some(self.rest()),
            }
        }
        None
    }

    /// What ends the process comes now.
    pub fn interrupt(&mut self, how: Interruption) {
        self.appended = 0;
        match how {
            Interruption::Stop => self.stopping = true,
            Interruption::Lose => self.lose(),
            Interruption::Crash => self.end_process(),
            Interruption::Reboot => {
                self.end_process();
                self.boot += 1;
                self.ground.reboot(&self.scenario.shape);
            }
            Interruption::Abort => {
                self.end_process();
                self.abort = true;
            }
        }
    }

    /// The process is gone, with what it was doing in the middle of it; another one folds what the journal keeps.
    fn end_process(&mut self) {
        for task in std::mem::take(&mut self.live) {
            self.leave_half_done(task);
        }
        let folded = replay(&self.scenario.shape, &self.events);
        assert!(folded == self.saga, "another process sees another run{}", self.story());
        (self.saga, self.fresh, self.stopping) = (folded, true, false);
    }

    /// Whoever did one of the live works is gone, and the run goes on.
    fn lose(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let at = self.pick(self.live.len());
        let task = self.live.remove(at);
        self.leave_half_done(task);
        let (i, part) = match task {
            Task::Undo(i) => (i, Part::Compensation(self.saga.undo_part(i))),
            Task::Run(i) | Task::Probe(i) | Task::Drop(i) => (i, self.saga.action_part(i)),
        };
        self.happens(i, Fact::Lost { part });
    }

    fn leave_half_done(&mut self, task: Task) {
        let extent = self.pick(3);
        match (task, extent) {
            (Task::Run(i), 1) if self.next_verdict(i) == Verdict::Succeeds => self.ground.act(i),
            (Task::Run(i), 0 | 1) => self.ground.act_partly(i),
            (Task::Undo(i), 1) => self.ground.make_up(i, self.saga.undo_part(i)),
            _ => {}
        }
    }

    fn abort_run(&mut self) {
        if self.saga.reversible() {
            return self.append(aborted());
        }
        let before = self.saga.clone();
        assert!(self.saga.apply(&aborted()).is_err(), "something irreversible started{}", self.story());
        assert!(self.saga == before, "a refused event leaves no trace{}", self.story());
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if let Some(outcome) = self.saga.verdict().filter(|_| !self.stopping) {
            moves.push(Move::Settle(outcome));
        }
        if !self.stopping && self.live.len() < self.scenario.max_parallel {
            moves.extend(self.saga.wanted().filter(|task| !self.live.contains(task)).map(Move::Begin));
        }
        moves.extend(self.live.iter().map(|&task| Move::End(task)));
        moves.extend(self.live.iter().filter_map(|&task| match task {
            Task::Run(i) if self.saga.recorded(i, self.saga.action_part(i)).len() < 2 => Some(Move::Record(i)),
            _ => None,
        }));
        if !self.stopping && !self.scenario.nobody_answers {
            moves.extend(self.saga.questions().map(Move::Answer));
        }
        if !self.stopping && self.scenario.debts_are_answered {
            let at_rest = |i: &Index| !self.live.contains(&Task::Undo(*i)) && self.saga.debt(*i).is_some();
            moves.extend(self.saga.forward().filter(at_rest).flat_map(|i| [true, false].map(|by_hand| Move::AnswerDebt(i, by_hand))));
        }
        moves
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Begin(Task::Drop(i)) => self.happens(i, Fact::NotRun),
            Move::Begin(Task::Probe(i)) | Move::Answer(i) => self.answer(i),
            Move::AnswerDebt(i, by_hand) => self.answer_debt(i, by_hand),
            Move::Begin(Task::Run(i)) => self.begin(i),
            Move::Begin(Task::Undo(i)) => self.begin_undo(i),
            Move::Record(i) => self.record(i),
            Move::End(Task::Run(i)) => self.end(i),
            Move::End(Task::Undo(i)) => self.end_undo(i),
            Move::End(Task::Drop(_) | Task::Probe(_)) => unreachable!("these are never live here"),
            Move::Settle(outcome) => self.append(Event::Run(RunFact::Settled(outcome))),
        }
    }

    fn begin(&mut self, i: Index) {
        let work = &self.scenario.work[i];
        let kind = work.kind_on_interrupt.unwrap_or(OnInterrupt::Rerun);
        let state = self.saga.step(i);
        if work.when_is_false && state.phase == StepPhase::Pending {
            return self.happens(i, Fact::Skipped);
        }
        if work.unrenderable {
            return self.happens(i, Fact::Failed(Failure::clean("no such variable")));
        }
        let attempt = state.attempt + 1;
        self.live.push(Task::Run(i));
        self.happens(i, Fact::Started { attempt, on_interrupt: kind, host: HostId::local() });
    }

    fn record(&mut self, i: Index) {
        let part = self.saga.action_part(i);
        let count = self.saga.recorded(i, part).len();
        // One of the names again and again: only the first value of it may ever be seen.
        let name = if count == 0 || self.pick(2) == 0 { "first" } else { "second" };
        let value = self.saga.step(i).attempt.into();
        self.happens(i, Fact::Recorded { part, name: name.to_owned(), value });
    }

    fn end(&mut self, i: Index) {
        let finally = self.scenario.shape.steps[i].finally;
        let stopped = self.stopping || self.saga.unwinding() || self.saga.questions().next().is_some();
        self.live.retain(|&task| task != Task::Run(i));
        if stopped && !finally && self.pick(2) == 1 {
            self.leave_half_done(Task::Run(i));
            return self.happens(i, Fact::Unknown);
        }
        let verdict = self.next_verdict(i);
        *self.verdicts.entry(i).or_default() += 1;
        match verdict {
            Verdict::Succeeds => {
                self.ground.act(i);
                self.happens(i, Fact::Succeeded(Value::Null));
            }
            Verdict::FailsClean => self.happens(i, Fact::Failed(Failure::clean("refused"))),
            Verdict::FailsDirty => {
                self.ground.act_partly(i);
                self.happens(i, Fact::Failed(Failure::dirty("broke")));
            }
        }
    }

    fn next_verdict(&self, i: Index) -> Verdict {
        let count = self.verdicts.get(&i).copied().unwrap_or(0);
        self.scenario.work[i].verdicts.get(count).copied().unwrap_or(Verdict::Succeeds)
    }

    fn begin_undo(&mut self, i: Index) {
        let part = self.saga.undo_part(i);
        let work = &self.scenario.work[i].undo[part];
        if work.when_is_false {
            self.ground.needless(i, part);
            return self.happens(i, Fact::Undone { part });
        }
        if work.unrenderable {
            return self.happens(i, Fact::UndoFailed { part, failure: Failure::clean("no such variable") });
        }
        let attempt = self.saga.step(i).undo_attempt + 1;
        self.live.push(Task::Undo(i));
        self.happens(i, Fact::UndoStarted { part, attempt, host: HostId::local() });
    }

    fn end_undo(&mut self, i: Index) {
        let part = self.saga.undo_part(i);
        self.live.retain(|&task| task != Task::Undo(i));
        let failures = self.undo_failures.entry((i, part)).or_default();
        if *failures < self.scenario.work[i].undo[part].failures {
            *failures = (*failures + 1).min(ALWAYS - 1);
            return self.happens(i, Fact::UndoFailed { part, failure: Failure::dirty("broke") });
        }
        self.ground.make_up(i, part);
        self.happens(i, Fact::Undone { part });
    }

    /// A probe or a person says the truth. To have looked is never done: what was seen is lost.
    fn answer(&mut self, i: Index) {
        let done = self.ground.steps[i].present.is_some() && self.scenario.shape.steps[i].effect != Effect::Observes;
        let by = "probe".to_owned();
        let answer = if done { Answer::Done { outputs: Map::new(), by, because: None } } else { Answer::NotDone { by, because: None } };
        self.happens(i, Fact::Resolved(answer));
    }

    /// A person does what a step owes, or leaves it as it is for good.
    fn answer_debt(&mut self, i: Index, by_hand: bool) {
        let part = self.saga.debt(i).unwrap();
        let answer = DebtAnswer { part, by: "ana".to_owned(), because: None };
        if by_hand {
            self.ground.needless(i, part);
        }
        self.happens(i, Fact::Resolved(if by_hand { Answer::Undone(answer) } else { Answer::GivenUp(answer) }));
    }

    /// Rule 20: from where the run rests, people lead it on to where it is settled, and nothing is owed.
    pub fn is_led_on(&mut self, mut rest: Rest) -> Outcome {
        for _ in 0..100 {
            match rest {
                Rest::Finished(Outcome::Stuck) => {
                    self.end_process();
                    self.make_one_move();
                    let failed = |i: &Index| self.saga.step(*i).undo_failure.is_some() && self.saga.debt(*i).is_some();
                    let i = self.saga.forward().find(failed).unwrap_or_else(|| panic!("stuck on nothing{}", self.story()));
                    let by_hand = self.pick(2) == 0;
                    self.answer_debt(i, by_hand);
                }
                Rest::Finished(outcome) => return outcome,
                Rest::Asked => {
                    let i = self.saga.questions().next().unwrap();
                    self.answer(i);
                }
            }
            rest = loop {
                if let Some(rest) = self.play_on() {
                    break rest;
                }
            };
        }
        panic!("nothing leads on from here{}", self.story());
    }

    /// What comes next, whatever it is: the process that takes over says so.
    fn make_one_move(&mut self) {
        assert_eq!(self.play_on(), None, "{}", self.story());
    }

    fn happens(&mut self, i: Index, fact: Fact) {
        self.append(Event::Step(self.scenario.shape.steps[i].id.clone(), fact));
    }

    fn append(&mut self, event: Event) {
        let before = self.checks.before(&self.saga);
        if let Err(illegal) = self.saga.apply(&event) {
            panic!("{illegal}{}", self.story());
        }
        self.events.push(event);
        self.appended = self.appended.saturating_add(1);
        self.note_written_off();
        let event = self.events.last().unwrap();
        if let Err(wrong) = self.checks.after(&before, event, &mut self.saga) {
            panic!("{wrong}{}", self.story());
        }
        if let Some(Event::Run(RunFact::Settled(outcome))) = self.events.last()
            && let Err(wrong) = self.checks.settled(*outcome, &self.saga, &self.ground, &self.written_off)
        {
            panic!("{wrong}{}", self.story());
        }
    }

    fn note_written_off(&mut self) {
        let Some(Event::Step(id, fact)) = self.events.last() else { return };
        let i = self.saga.find(id).unwrap();
        match fact {
            Fact::Resolved(Answer::GivenUp(answer)) => {
                self.written_off.insert((i, answer.part));
            }
            Fact::UndoFailed { part, .. } if !matches!(self.saga.step(i).phase, StepPhase::UndoDue(p) | StepPhase::UndoFailed(p) if p == *part) =>
            {
                self.written_off.insert((i, *part));
            }
            Fact::Undone { part } | Fact::Resolved(Answer::Undone(DebtAnswer { part, .. })) => {
                self.written_off.remove(&(i, *part));
            }
            _ => {}
        }
    }

    fn rest(&self) -> Rest {
        match self.saga.outcome() {
            Some(outcome) if self.saga.finished() => Rest::Finished(outcome),
            _ if self.saga.questions().next().is_some() => Rest::Asked,
            _ => panic!("nothing is wanted, live or asked, and the run is not finished{}", self.story()),
        }
    }

    fn rests(&self, rest: Rest) {
        let asks = self.scenario.work.iter().zip(&self.scenario.shape.steps);
        let may_ask = asks.into_iter().any(|(work, step)| step.on_interrupt.or(work.kind_on_interrupt) == Some(OnInterrupt::Ask));
        assert!(rest != Rest::Asked || may_ask && self.scenario.nobody_answers, "a question nobody had to ask{}", self.story());
        assert!(replay(&self.scenario.shape, &self.events) == self.saga, "another process sees another run{}", self.story());
    }

    fn choose(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.pick(count))
    }

    fn pick(&mut self, count: usize) -> usize {
        if count < 2 { 0 } else { usize::from(self.choices.next().unwrap_or(0)) % count }
    }

    /// What happened, for whoever has to find out why.
    pub fn story(&self) -> String {
        let mut story = "; what happened:\n".to_owned();
        for event in self.events.iter().skip(1) {
            match event {
                Event::Run(fact) => story += &format!("  {fact:?}\n"),
                Event::Step(id, fact) => story += &format!("  {id} {fact:?}\n"),
            }
        }
        for (i, step) in self.scenario.shape.steps.iter().enumerate() {
            story += &format!("  = {} needs {:?}: {:?}\n", step.id, step.needs, self.saga.step(i).phase);
        }
        story
    }
}
