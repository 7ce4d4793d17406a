//! What is really there, step by step, whatever the journal knows of it.

use super::*;

/// The effects of a run's steps on the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    pub steps: Vec<StepGround>,
    clock: u32,
}

/// The effects of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepGround {
    /// Its whole effect is there since then.
    pub present: Option<u32>,
    /// For each compensation: there is something that it has to make up for.
    pub dirt: Vec<bool>,
    /// For each compensation: its effect is there since then.
    pub made_up: Vec<Option<u32>>,
}

impl Ground {
    pub fn new(shape: &Shape) -> Self {
        let steps = shape.steps.iter().map(|step| {
            let count = step.compensations.len();
            StepGround { present: None, dirt: vec![false; count], made_up: vec![None; count] }
        });
        Self { steps: steps.collect(), clock: 0 }
    }

    /// An action did its whole work.
    pub fn act(&mut self, i: Index) {
        self.act_partly(i);
        self.steps[i].present = Some(self.clock);
    }

    /// An action left half of its work.
    pub fn act_partly(&mut self, i: Index) {
        self.clock += 1;
        self.steps[i].present = None;
        self.steps[i].dirt.fill(true);
    }

    /// A compensation did its work.
    pub fn make_up(&mut self, i: Index, part: usize) {
        self.clock += 1;
        let step = &mut self.steps[i];
        step.present = None;
        step.dirt[part] = false;
        step.made_up[part] = Some(self.clock);
    }

    /// A compensation had nothing to make up for.
    pub fn needless(&mut self, i: Index, part: usize) {
        self.steps[i].present = None;
        self.steps[i].dirt[part] = false;
    }

    /// The machine went down: what is volatile is gone.
    pub fn reboot(&mut self, shape: &Shape) {
        for (ground, step) in self.steps.iter_mut().zip(&shape.steps) {
            if step.effect == Effect::Volatile {
                ground.present = None;
            }
            for (part, compensation) in step.compensations.iter().enumerate() {
                if compensation.effect == Effect::Volatile && ground.made_up[part].take().is_some() {
                    ground.dirt[part] = true;
                }
            }
        }
    }
}
