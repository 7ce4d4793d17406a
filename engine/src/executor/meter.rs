//! Watches whether the measured service answers, through the whole run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Executor;
use crate::event::{Downtime, Event, RunFact};
use crate::journal::Journal;
use crate::plan::Scope;
use crate::step::Host;
use crate::update::Update;

/// Between probes while the service answers: what its absence may be overestimated by.
const WHILE_UP: Duration = Duration::from_millis(50);
/// Between probes while it does not.
const WHILE_DOWN: Duration = Duration::from_millis(5);

/// The measured service changed.
#[derive(Debug)]
pub(super) enum Pulse {
    /// It stopped answering; `since` is when it last did.
    Down {
        /// When the last good probe ended.
        since: Instant,
    },
    /// It answers again.
    Up {
        /// When the first good probe ended.
        at: Instant,
    },
}

/// Tells every change. A service that never answered since the beginning is not down: there is nothing to measure yet.
pub(super) async fn run(host: Arc<dyn Host>, url: String, down: bool, pulses: mpsc::UnboundedSender<Pulse>) {
    let mut up = down.then_some(false);
    let mut last_up = Instant::now();
    loop {
        let answers = host.answers(&url).await;
        let now = Instant::now();
        let pulse = match (up, answers) {
            (Some(true), false) => Some(Pulse::Down { since: last_up }),
            (Some(false), true) => Some(Pulse::Up { at: now }),
            _ => None,
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
        let url = self.measured_url()?;
        let host = Arc::clone(&self.job.host);
        Some(tokio::spawn(run(host, url, self.saga.down(), pulses)))
    }

    fn measured_url(&self) -> Option<String> {
        let scope = Scope { outputs: &|_| Value::Null, outcome: None };
        self.job.templates.text(self.job.plan.measure.as_ref()?, &scope).ok()
    }

    pub(super) fn measured(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Down { since } if !self.saga.down() => {
                self.down_since = Some(since);
                self.happened(Event::Run(RunFact::Unreachable));
                self.shown.push(Update::Reachable(false));
            }
            Pulse::Up { at } if self.saga.down() => {
                let downtime = match (self.down_since.take(), self.unreachable_at) {
                    (Some(since), _) => Downtime { ms: millis(at.saturating_duration_since(since)), approximate: false },
                    (None, Some(since)) => {
                        let ms = Timestamp::now().as_millisecond().saturating_sub(since.as_millisecond());
                        Downtime { ms: u64::try_from(ms).unwrap_or(0), approximate: true }
                    }
                    (None, None) => Downtime { ms: 0, approximate: true },
                };
                self.happened(Event::Run(RunFact::Reachable(downtime)));
                self.shown.push(Update::Reachable(true));
            }
            Pulse::Down { .. } | Pulse::Up { .. } => {}
        }
    }

    /// Before the downtime is reported, the measured service is looked at once more: the meter may not have seen it come back yet.
    pub(super) async fn look_once(&mut self) {
        if !self.saga.down() {
            return;
        }
        if let Some(url) = self.measured_url()
            && self.job.host.answers(&url).await
        {
            self.measured(Pulse::Up { at: Instant::now() });
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
