//! What the saga must know of a plan.

use super::{CompensationShape, Shape, StepShape};
use crate::graph::Graph;
use crate::plan::{Action, Plan, PlannedStep};
use crate::step::{Effect, Registry};

impl Shape {
    /// The shape of a checked plan.
    pub fn of(plan: &Plan, graph: &Graph, registry: &Registry) -> Self {
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
        let steps = plan.steps.iter().enumerate().map(|(i, step)| shape(step, graph.needs(i).to_vec(), false));
        let finally = plan.finally.iter().enumerate().map(|(i, step)| {
            let needs = graph.finally_needs(i).iter().map(|needed| count + needed).collect();
            shape(step, needs, true)
        });
        Self { steps: steps.chain(finally).collect() }
    }
}
