//! The saga, proved: a named test for each rule it owns, every small plan with a crash after every append, and random plans in a
//! random world that crashes, reboots, stops, asks and aborts, with the invariants checked after every event.
#![allow(clippy::unwrap_used)]

mod checks;
mod exhaustive;
mod ground;
mod properties;
mod rules;
mod scenario;
mod world;

use super::*;
use crate::event::{AnswerFault, HostId, Leftover, Opened, ProcessIdentity, Release, Standing};

/// The first event of every run.
fn opened(boot: &str) -> Event {
    Event::Run(RunFact::Opened(Box::new(Opened {
        plan_text: String::new(),
        plan_path: "/plan.toml".to_owned(),
        vars: Map::new(),
        secrets: Vec::new(),
        env: Map::new(),
        timestamp: "20260206_141502".to_owned(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        lang: "en".to_owned(),
        host: HostId::local(),
        boot: boot.to_owned(),
        user: "ana".to_owned(),
        pid: 1,
        version: "0".to_owned(),
    })))
}

fn resumed() -> Event {
    Event::Run(RunFact::Resumed { pid: 2, user: "ana".to_owned() })
}

fn rebooted(boot: &str) -> Event {
    Event::Run(RunFact::Rebooted { host: HostId::local(), boot: boot.to_owned() })
}

fn aborted() -> Event {
    Event::Run(RunFact::Aborted { by: "ana".to_owned() })
}

/// A step that changes something and is made up for by one compensation; its probe, pivot and so on are set by the test.
fn step(needs: &[Index]) -> StepShape {
    StepShape {
        id: StepId::new("unnamed"),
        needs: needs.to_vec(),
        attempts: 1,
        continue_on_failure: false,
        on_interrupt: None,
        probe: false,
        waits_for_answer: false,
        pivot: false,
        irreversible: false,
        effect: Effect::Changes,
        compensations: vec![compensation()],
        finally: false,
    }
}

fn compensation() -> CompensationShape {
    CompensationShape { attempts: 1, continue_on_failure: false, effect: Effect::Changes }
}

/// A shape whose steps are called `s0`, `s1`, …
fn shape(steps: impl IntoIterator<Item = StepShape>) -> Shape {
    let named = |(i, step): (usize, StepShape)| StepShape { id: StepId::new(format!("s{i}")), ..step };
    Shape { steps: steps.into_iter().enumerate().map(named).collect() }
}

/// The saga that another process would fold from what the journal keeps.
fn replay(shape: &Shape, events: &[Event]) -> Saga {
    let mut saga = Saga::new(shape.clone());
    for event in events {
        saga.apply(event).unwrap();
    }
    saga
}
