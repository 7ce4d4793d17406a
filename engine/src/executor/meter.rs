//! Watches whether the measured service answers, through the whole run, and asks it once more before the run is settled or left.
//!
//! ```text
//!  up ────┐last good probe            ┌──── up          the run is settled:
//!         └── down ───────────────────┘first good probe   what was asked last is what is told (rule 21)
//!            Unreachable            Reachable(downtime)  Asked(what it did, the outage that goes on)
//! ```
//!
//! The figure that is noted before the run is settled is the one that everybody tells: what happens while `finally` steps write it
//! down counts no more, unless the service answers otherwise in the end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Executor, Order};
use crate::event::{Downtime, Event, RunFact, ServiceState, WrongAnswer};
use crate::host::{Host, ServiceCheck};
use crate::journal::Journal;
use crate::plan::{Plan, Scope, Templates};
use crate::update::Update;

/// Between probes while the service answers: what its absence may be overestimated by.
const WHILE_UP: Duration = Duration::from_millis(50);
/// Between probes while it does not.
const WHILE_DOWN: Duration = Duration::from_millis(5);
/// How long a service may take to answer before it is told that it does not: it may be starting still.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The measured service changed.
#[derive(Debug)]
pub(super) enum Pulse {
    /// It stopped answering; `since` is when it last did.
    Down {
        /// When the last good probe ended.
        since: Instant,
    },
    /// It answers, for the first time or again.
    Up {
        /// When the first good probe ended.
        at: Instant,
    },
}

/// What `plan` measures, with the values of a run; none where nothing is measured, or where a value is missing.
pub fn service_checks(plan: &Plan, templates: &Templates) -> Vec<ServiceCheck> {
    let text = |template: &String| templates.text(template, &Scope::NO_OUTPUTS).ok();
    let check = |check: &crate::plan::MeasureCheck| {
        let contains = match &check.contains {
            Some(template) => Some(text(template)?),
            None => None,
        };
        Some(ServiceCheck { url: text(&check.url)?, status: check.status.clone(), contains })
    };
    plan.measure.iter().map(check).collect::<Option<_>>().unwrap_or_default()
}

/// Tells every change. A service that never answered since the beginning is not down: there is nothing to measure yet.
pub(super) async fn run(host: Arc<dyn Host>, checks: Arc<[ServiceCheck]>, mut up: Option<bool>, pulses: mpsc::UnboundedSender<Pulse>) {
    let mut last_up = Instant::now();
    loop {
        let answers = host.wrong_answer(&checks).await.is_none();
        let now = Instant::now();
        let pulse = match (up, answers) {
            (Some(true), false) => Some(Pulse::Down { since: last_up }),
            (None | Some(false), true) => Some(Pulse::Up { at: now }),
            (None | Some(false), false) | (Some(true), true) => None,
        };
        if answers {
            last_up = now;
        }
        if answers || up.is_some() {
            up = Some(answers);
        }
        if pulse.is_some_and(|pulse| pulses.send(pulse).is_err()) {
            return;
        }
        tokio::time::sleep(if up == Some(false) { WHILE_DOWN } else { WHILE_UP }).await;
    }
}

impl<J: Journal> Executor<J> {
    pub(super) fn start_meter(&self, pulses: mpsc::UnboundedSender<Pulse>) -> Option<tokio::task::JoinHandle<()>> {
        if self.checks.is_empty() {
            return None;
        }
        let up = match self.saga.answers() {
            Some(true) => Some(true),
            _ if self.saga.outage() => Some(false),
            _ => None,
        };
        Some(tokio::spawn(run(Arc::clone(&self.spec.host), Arc::clone(&self.checks), up, pulses)))
    }

    pub(super) fn measured(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Down { since } if !self.saga.outage() => {
                self.down_since = Some(since);
                self.happened(Event::Run(RunFact::Unreachable));
                self.shown.push(Update::Reachable(false));
            }
            Pulse::Up { at } if self.saga.outage() => {
                let outage = self.outage(at);
                self.down_since = None;
                self.happened(Event::Run(RunFact::Reachable(outage)));
                self.shown.push(Update::Reachable(true));
            }
            Pulse::Up { .. } if self.saga.answers() != Some(true) => self.asked(ServiceState::default()),
            Pulse::Down { .. } | Pulse::Up { .. } => {}
        }
    }

    /// How long the outage that goes on lasted by `at`.
    fn outage(&self, at: Instant) -> Downtime {
        match (self.down_since, self.unreachable_at) {
            // Rule 15: by the monotonic clock, where this process saw both ends.
            (Some(since), _) => Downtime { ms: millis(at.saturating_duration_since(since)), approximate: false },
            (None, Some(since)) => {
                let ms = Timestamp::now().as_millisecond().saturating_sub(since.as_millisecond());
                Downtime { ms: u64::try_from(ms).unwrap_or(0), approximate: true }
            }
            (None, None) => Downtime { ms: 0, approximate: true },
        }
    }

    fn asked(&mut self, state: ServiceState) {
        self.happened(Event::Run(RunFact::Asked(state)));
    }

    /// Before it is told that the run is live, the measured service is looked at once more (rule 21): the meter may not have seen yet
    /// that it came back.
    pub(super) async fn look_once(&mut self) {
        if self.checks.is_empty() || self.saga.answers() == Some(true) {
            return;
        }
        let wrong = self.spec.host.wrong_answer(&self.checks).await;
        self.answered_once_more(wrong);
    }

    /// Before the run is settled or left, the measured service is asked once more (rule 21). One that may still be starting gets a
    /// while; an order of the operator ends the wait.
    pub(super) async fn ask_once_more(&mut self, orders: &mut mpsc::Receiver<Order>) {
        if self.checks.is_empty() || self.journal_error.is_some() || self.kill.is_cancelled() {
            return;
        }
        let settled = self.saga.outcome().is_some();
        let may_come = match settled {
            true => self.saga.answers() == Some(true),
            false => self.saga.changed() || self.saga.answers().is_some(),
        };
        let until = Instant::now() + if may_come && !self.halted { PATIENCE } else { Duration::ZERO };
        let wrong = loop {
            let wrong = self.spec.host.wrong_answer(&self.checks).await;
            if wrong.is_none() || Instant::now() >= until {
                break wrong;
            }
            tokio::select! {
                biased;
                Some(order) = orders.recv() => {
                    self.obey(order);
                    break wrong;
                }
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
        };
        // What was told stands, with its figure, as long as it is true.
        if !settled || self.saga.answers() != Some(wrong.is_none()) {
            self.answered_once_more(wrong);
        }
    }

    fn answered_once_more(&mut self, wrong: Option<WrongAnswer>) {
        let now = Instant::now();
        match &wrong {
            None => self.measured(Pulse::Up { at: now }),
            Some(_) if self.saga.answers() == Some(true) => self.measured(Pulse::Down { since: now }),
            Some(_) => {}
        }
        let outage = self.saga.outage().then(|| self.outage(now));
        self.asked(ServiceState { wrong, outage });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
