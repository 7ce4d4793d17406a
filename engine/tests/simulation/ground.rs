//! What is really there, step by step, whatever the journal knows of it.

use std::collections::BTreeMap;

use almaplan_engine::event::Effect;

use crate::drawn::{Drawn, DrawnKind};

/// The effects of a run's steps on the world, and the processes that live in it.
#[derive(Debug)]
pub struct Ground {
    pub steps: Vec<Traces>,
    /// Of each process that lives: whose it is.
    pub processes: BTreeMap<u32, Owner>,
    pub boot: u32,
    clock: u32,
    pids: u32,
}

/// The effects of one step.
#[derive(Debug, Clone)]
pub struct Traces {
    /// Its whole effect is there since then.
    pub present: Option<u32>,
    /// For each compensation: there is something that it has to make up for.
    pub dirt: Vec<bool>,
    /// For each compensation: its effect is there.
    made_up: Vec<bool>,
}

/// Which part of which step started a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub step: usize,
    /// `None` is not a compensation.
    pub compensation: Option<usize>,
    /// A further attempt goes on with it.
    pub adopted: bool,
}

impl Ground {
    pub fn new(drawn: &Drawn) -> Self {
        let traces = |step: &crate::drawn::Step| {
            let count = step.compensations.len();
            Traces { present: None, dirt: vec![false; count], made_up: vec![false; count] }
        };
        Self { steps: drawn.steps.iter().map(traces).collect(), processes: BTreeMap::new(), boot: 1, clock: 0, pids: 100 }
    }

    /// An action did its whole work.
    pub fn act(&mut self, i: usize) {
        self.act_partly(i);
        self.steps[i].present = Some(self.clock);
    }

    /// An action left half of its work.
    pub fn act_partly(&mut self, i: usize) {
        self.clock += 1;
        self.steps[i].present = None;
        self.steps[i].dirt.fill(true);
    }

    /// Whether who looks finds the work of an action done. To have looked is never done: what was seen is lost.
    pub fn is_done(&self, i: usize, drawn: &Drawn) -> bool {
        drawn.steps[i].kind != DrawnKind::Looking && self.steps[i].present.is_some()
    }

    /// A compensation did its work.
    pub fn make_up(&mut self, i: usize, part: usize) {
        let traces = &mut self.steps[i];
        traces.present = None;
        traces.dirt[part] = false;
        traces.made_up[part] = true;
    }

    /// A compensation had nothing to make up for.
    pub fn needless(&mut self, i: usize, part: usize) {
        self.steps[i].present = None;
        self.steps[i].dirt[part] = false;
    }

    /// A person does by hand what was not done, or takes away what was.
    pub fn is_seen_to(&mut self, i: usize) {
        match self.steps[i].present {
            Some(_) => self.steps[i].present = None,
            None => self.act(i),
        }
    }

    pub fn next_pid(&mut self) -> u32 {
        self.pids += 1;
        self.pids
    }

    /// The machine went down: what is volatile is gone.
    pub fn reboot(&mut self, drawn: &Drawn) {
        self.boot += 1;
        self.processes.clear();
        for (traces, step) in self.steps.iter_mut().zip(&drawn.steps) {
            if step.kind == DrawnKind::Volatile {
                traces.present = None;
            }
            for (part, compensation) in step.compensations.iter().enumerate() {
                if compensation.kind.effect() == Effect::Volatile && std::mem::take(&mut traces.made_up[part]) {
                    traces.dirt[part] = true;
                }
            }
        }
    }
}
