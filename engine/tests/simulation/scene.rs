//! What a run happens to: its journal, the world it changes, and the rules that are held against both.
//!
//! Each run has its thread to itself, so the scene is the thread's own, and kinds, host and journal find it there.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use almaplan_engine::event::{Event, Fact, Failure, Part, ProcessIdentity, WrongAnswer};
use almaplan_engine::host::{BoxFuture, Host, ServiceCheck};
use almaplan_engine::journal::{Demand, Journal, JournalError, Record};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::drawn::Drawn;
use crate::ground::Ground;
use crate::rules::{Checked, Rules};

thread_local! {
    static SCENE: RefCell<Option<Scene>> = const { RefCell::new(None) };
}

pub struct Scene {
    pub drawn: Rc<Drawn>,
    pub rules: Rules,
    pub ground: Ground,
    pub records: Vec<Record>,
    pub dice: Dice,
    /// How often each part ran.
    pub runs: BTreeMap<(usize, Part), u32>,
    /// Steps that wait for a person's answer.
    pub waiting: Vec<usize>,
    pub demands: VecDeque<Demand>,
    /// Of this process.
    pub life: Life,
    /// Every combination of states that was seen.
    pub seen: HashSet<u64>,
    /// What went wrong first.
    pub wrong: Option<String>,
    /// Everything that happened, for people; kept where somebody reads it.
    pub log: Option<Vec<String>>,
}

/// What happened to one process.
#[derive(Debug, Default)]
pub struct Life {
    pub appends: u64,
    /// At which append what goes wrong.
    pub fault: Option<(u64, Tear)>,
    /// When an append failed, and how many events were durable before it.
    pub failed: Option<(Instant, usize)>,
    /// The process is gone.
    pub died: bool,
    /// When the operator said stop.
    pub stopped: Option<Instant>,
    /// An attempt did not stop when it was asked to.
    pub hung: bool,
}

/// How an append goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tear {
    /// All of it is durable, although nobody was told; otherwise none of it is.
    pub kept: bool,
    /// The process dies of it.
    pub dies: bool,
}

/// Does something to the scene of this thread.
pub fn with<R>(act: impl FnOnce(&mut Scene) -> R) -> R {
    SCENE.with_borrow_mut(|scene| act(scene.as_mut().expect("a run has begun on this thread")))
}

/// Sets the scene for another run; gives back what the one before came to.
pub fn set(scene: Option<Scene>) -> Option<Scene> {
    SCENE.replace(scene)
}

impl Scene {
    pub fn new(drawn: Rc<Drawn>, dice: Dice, loud: bool) -> Self {
        Self {
            rules: Rules::new(Rc::clone(&drawn)),
            ground: Ground::new(&drawn),
            records: Vec::new(),
            dice,
            runs: BTreeMap::new(),
            waiting: Vec::new(),
            demands: VecDeque::new(),
            life: Life::default(),
            seen: HashSet::new(),
            wrong: None,
            log: loud.then(Vec::new),
            drawn,
        }
    }

    /// What went wrong first is what is told.
    pub fn check(&mut self, checked: Checked) {
        if let Err(why) = checked {
            self.say(|| format!("WRONG: {why}"));
            self.wrong.get_or_insert(why);
        }
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(line());
        }
    }

    /// Makes events durable, one after the other.
    pub fn keep(&mut self, events: &[Event]) {
        for event in events {
            let seq = self.records.len() as u64 + 1;
            self.say(|| format!("{seq:>4} {}", told(event)));
            self.records.push(Record { seq, at: Timestamp::UNIX_EPOCH, event: event.clone() });
            let checked = self.rules.event(event, &mut self.ground);
            self.check(checked);
            let combination = self.rules.combination();
            self.seen.insert(combination);
        }
    }

    /// Rules 1 and 14: nothing begins after the operator said stop (but what is spawned at that very moment), and after a failed append
    /// only what began durably before, and had to wait until what an earlier attempt left running was ended.
    pub fn may_begin(&self, step: usize, part: Part) -> Checked {
        let now = Instant::now();
        if self.life.stopped.is_some_and(|at| at < now) {
            return Err("began after the order to stop".to_owned());
        }
        let Some((at, durable)) = self.life.failed else { return Ok(()) };
        let id = self.drawn.name(step);
        let starts = |event: &Event| match event {
            Event::Step(of, Fact::Started { .. } | Fact::UndoStarted { .. }) => of.as_str() == id,
            _ => false,
        };
        let late = match part {
            Part::Probe => now > at + Duration::from_millis(500),
            _ => self.records[durable..].iter().any(|record| starts(&record.event)),
        };
        if late { Err("began after an append failed".to_owned()) } else { Ok(()) }
    }

    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        if self.life.failed.is_some() {
            self.check(Err("something was appended after a failed append".to_owned()));
        }
        self.life.appends += 1;
        let Some((_, tear)) = self.life.fault.filter(|&(at, _)| at == self.life.appends) else {
            self.keep(events);
            return Ok(());
        };
        (self.life.failed, self.life.died) = (Some((Instant::now(), self.records.len())), tear.dies);
        if tear.kept {
            self.keep(events);
        }
        self.say(|| format!("     -- the append fails: {tear:?}"));
        Err(JournalError::Poisoned)
    }

    pub fn boot(&self) -> String {
        format!("boot-{}", self.ground.boot)
    }
}

/// An event in a line.
pub fn told(event: &Event) -> String {
    match event {
        Event::Run(fact) => format!("{fact:?}"),
        Event::Step(id, fact) => format!("{id} {fact:?}"),
    }
}

/// The journal of the scene.
pub struct Tape;

impl Journal for Tape {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        with(|scene| scene.append(events))
    }

    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        Ok(with(|scene| scene.demands.drain(..).collect()))
    }
}

/// The machine of the scene.
pub struct Machine;

impl Host for Machine {
    fn boot(&self) -> String {
        with(|scene| scene.boot())
    }

    fn is_alive(&self, _: u32) -> bool {
        true
    }

    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            with(|scene| {
                if !scene.drawn.steady && scene.dice.falls(5) {
                    return Err(Failure::clean("it may not be ended"));
                }
                scene.ground.processes.remove(&process.pid);
                scene.say(|| format!("     process {} is ended", process.pid));
                Ok(())
            })
        })
    }

    fn wrong_answer<'a>(&'a self, _: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>> {
        Box::pin(std::future::ready(None))
    }
}
