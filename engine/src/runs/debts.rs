//! The compensations of a run that it did not do itself: a person did them, or they were written off. They are told of for ever after
//! (rules 7 and 20).

use crate::event::{Failure, StepId};
use crate::saga::{Index, Saga};

/// A compensation that is owed no more, although the run did not do it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedDebt {
    /// The step.
    pub step: StepId,
    /// Which compensation of its list; counts from 0.
    pub part: usize,
    /// Whether somebody did it; else it is left as it is.
    pub by_hand: bool,
    /// Who says so; `None`: the plan, with `on_failure = "continue"`.
    pub by: Option<String>,
    /// Why, where they say.
    pub because: Option<String>,
    /// Why it failed last, where it did and was left as it is.
    pub failure: Option<Failure>,
}

/// All of a run, in the order of the plan.
pub fn closed_debts(saga: &Saga) -> Vec<ClosedDebt> {
    let of_step = |i: Index| {
        let (step, state) = (saga.shape().steps[i].id.clone(), saga.step(i));
        let by_hand = state.by_hand.iter().map(|answer| ClosedDebt {
            step: step.clone(),
            part: answer.part,
            by_hand: true,
            by: Some(answer.by.clone()),
            because: answer.because.clone(),
            failure: None,
        });
        let written_off = state.written_off.iter().map(|off| ClosedDebt {
            step: step.clone(),
            part: off.part,
            by_hand: false,
            by: off.answer.as_ref().map(|answer| answer.by.clone()),
            because: off.answer.as_ref().and_then(|answer| answer.because.clone()),
            failure: off.failure.clone(),
        });
        by_hand.chain(written_off).collect::<Vec<_>>()
    };
    saga.forward().flat_map(of_step).collect()
}
