//! What a run came to, as people are told it: what is there now, and who decided that (rule 21).

use super::{Index, Saga, StepPhase};
use crate::event::{Outcome, Release, Standing};

impl Saga {
    /// What the run came to.
    pub fn standing(&self) -> Standing {
        match self.settled {
            None | Some(Outcome::Stuck) => Standing::Open,
            Some(Outcome::Succeeded | Outcome::Warned) => {
                let skipped = |i: Index| self.shape.steps[i].pivot && self.states[i].phase == StepPhase::Skipped;
                if self.forward().any(skipped) { Standing::Unchanged } else { Standing::Done }
            }
            Some(Outcome::Compensated) if self.rolled_back => Standing::RolledBack,
            Some(Outcome::Compensated) if self.aborted => Standing::Aborted,
            Some(Outcome::Compensated) if !self.changed() => Standing::NothingChanged,
            Some(Outcome::Compensated) if !self.unwound() => Standing::NothingOwed,
            Some(Outcome::Compensated) => Standing::Undone,
        }
    }

    /// Which version is in place, as far as that is certain: not while the run is open and has changed something, nor where a
    /// compensation was written off.
    pub fn release(&self) -> Option<Release> {
        let written_off = || self.forward().any(|i| !self.states[i].written_off.is_empty());
        match self.standing() {
            Standing::Open => (!self.changed()).then_some(Release::Old),
            Standing::Done => Some(Release::New),
            Standing::Undone | Standing::Aborted | Standing::RolledBack if written_off() => None,
            Standing::Unchanged
            | Standing::NothingChanged
            | Standing::NothingOwed
            | Standing::Undone
            | Standing::Aborted
            | Standing::RolledBack => Some(Release::Old),
        }
    }
}
