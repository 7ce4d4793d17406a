//! What the saga must know of a plan.

use super::{CompensationShape, Shape, StepShape};
use crate::event::Effect;
use crate::plan::{Action, Plan, PlannedStep};
use crate::registry::Registry;

impl Shape {
    /// The shape of a checked plan.
    pub fn of(plan: &Plan, registry: &Registry) -> Self {
        let effect = |action: &Action| registry.get(&action.uses).map_or(Effect::Changes, |kind| kind.traits.effect);
        let shape = |step: &PlannedStep, needs: Vec<usize>, finally: bool| StepShape {
            id: step.id.clone(),
            needs,
            attempts: step.retry.attempts,
            continue_on_failure: step.continue_on_failure,
            on_interrupt: step.on_interrupt,
            probe: step.probe.is_some(),
            pivot: step.pivot,
            irreversible: step.irreversible,
            effect: effect(&step.action),
            waits_for_answer: registry.get(&step.action.uses).is_some_and(|kind| kind.traits.waits_for_answer),
            compensations: step
                .compensate
                .iter()
                .map(|compensation| CompensationShape {
                    attempts: compensation.retry.attempts,
                    continue_on_failure: compensation.continue_on_failure,
                    effect: effect(&compensation.action),
                })
                .collect(),
            finally,
        };
        let count = plan.steps.len();
        let steps = plan.steps.iter().enumerate().map(|(i, step)| shape(step, plan.graph.needs(i).collect(), false));
        let finally = plan.finally.iter().enumerate().map(|(i, step)| {
            let needs = plan.finally_graph.needs(i).map(|needed| count + needed).collect();
            shape(step, needs, true)
        });
        Self { steps: steps.chain(finally).collect() }
    }
}
