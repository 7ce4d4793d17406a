//! Watches whether the measured service answers, through the whole run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::step::Host;

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
