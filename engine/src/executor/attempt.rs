//! One attempt: what earlier ones left running is ended, then the work is done, within its time and until it is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::event::{Failure, Leftover};
use crate::host::Host;
use crate::registry::Prepared;

/// How often a timeout looks whether this process was suspended.
const LOOK: Duration = Duration::from_secs(1);
/// Who wakes up so much later was suspended.
const LATE: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// By itself.
    Ended(Result<Value, Failure>),
    /// It did not come to an end of its own (its timeout, a panic), or could not begin: what it was to find out is not known.
    Broken(Failure),
    /// It was asked to stop, and did, without having done its work.
    Cancelled,
    /// It was asked to stop and did not.
    Hung,
    /// It is gone, and nobody can say how it ended.
    Lost,
}

/// What goes wrong with an attempt, whatever its kind.
#[derive(Debug, Serialize, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("what an earlier attempt left running could not be ended: {failure}")]
    LeftRunning {
        #[serde(serialize_with = "Failure::said")]
        failure: Failure,
    },
    #[error("it took longer than its timeout of {timeout}")]
    TimedOut { timeout: String },
    #[error("it did not stop when asked, so the run is left as it is")]
    DidNotStop,
    #[error("its probe cannot be asked: {failure}")]
    ProbeCannotBeAsked {
        #[serde(serialize_with = "Failure::said")]
        failure: Failure,
    },
    #[error("almaplan has a bug: the work panicked ({})", panic.as_deref().unwrap_or("without a word"))]
    Panicked { panic: Option<String> },
}

impl Verdict {
    /// For those who debug: without what the work said, which may be anything.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ended(Ok(_)) => "succeeded",
            Self::Ended(Err(_)) => "failed",
            Self::Broken(_) => "broken",
            Self::Cancelled => "cancelled",
            Self::Hung => "hung",
            Self::Lost => "lost",
        }
    }
}

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until it is asked to stop; `None` is without limit.
    pub(super) timeout: Option<Duration>,
    /// From then on.
    pub(super) grace: Duration,
}

/// How an attempt is ended from outside.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// It is asked to stop.
    pub(super) stop: CancellationToken,
    /// Where its work has not begun, it does not begin.
    pub(super) begin_nothing: CancellationToken,
    /// It is dropped.
    pub(super) kill: CancellationToken,
}

pub(super) async fn run(
    work: Box<dyn Prepared>,
    cx: Context,
    limits: Limits,
    leftovers: Vec<Leftover>,
    host: Arc<dyn Host>,
    orders: Orders,
) -> Verdict {
    tokio::select! {
        biased;
        // Dropping the work ends its children.
        () = orders.kill.cancelled() => Verdict::Cancelled,
        verdict = begun(work, &cx, limits, &leftovers, &*host, &orders) => verdict,
    }
}

async fn begun(work: Box<dyn Prepared>, cx: &Context, limits: Limits, leftovers: &[Leftover], host: &dyn Host, orders: &Orders) -> Verdict {
    for left in leftovers {
        if let Err(failure) = host.end(&left.process).await {
            return Verdict::Broken(Failure::dirty(AttemptError::LeftRunning { failure }));
        }
    }
    // It may have been asked to stop before it began (rule 14).
    if orders.stop.is_cancelled() || orders.begin_nothing.is_cancelled() {
        return Verdict::Cancelled;
    }
    stoppable(work, cx, limits, &orders.stop).await
}

async fn stoppable(work: Box<dyn Prepared>, cx: &Context, limits: Limits, stop: &CancellationToken) -> Verdict {
    let mut running = work.run(cx);
    let timed_out = tokio::select! {
        // Work that is done counts, also at the very moment when it is told to stop.
        biased;
        result = &mut running => return match result {
            // It noticed the order before we did.
            Err(_) if stop.is_cancelled() => Verdict::Cancelled,
            result => Verdict::Ended(result),
        },
        () = stop.cancelled() => None,
        timeout = elapsed(limits.timeout) => {
            stop.cancel();
            Some(timeout)
        }
    };
    match (tokio::time::timeout(limits.grace, running).await, timed_out) {
        // It was done before it noticed: work that is done counts.
        (Ok(Ok(outputs)), _) => Verdict::Ended(Ok(outputs)),
        (Ok(Err(_)), None) => Verdict::Cancelled,
        (Ok(Err(failure)), Some(timeout)) => {
            let timeout = humantime::format_duration(timeout).to_string();
            Verdict::Broken(Failure::dirty(AttemptError::TimedOut { timeout }).with_tail(failure.tail))
        }
        (Err(_), _) => Verdict::Hung,
    }
}

/// Waits for `timeout`, as far as this process was there to see it: while it is suspended (Ctrl-Z, a frozen machine) work may end well,
/// and nobody sees it before the time is over (rule 14).
async fn elapsed(timeout: Option<Duration>) -> Duration {
    let Some(timeout) = timeout else { return std::future::pending().await };
    let mut left = timeout;
    while !left.is_zero() {
        let (step, began) = (left.min(LOOK), tokio::time::Instant::now());
        tokio::time::sleep(step).await;
        if began.elapsed() < step + LATE {
            left -= step;
        }
    }
    timeout
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::time::Instant;

    // Suspended for longer than a step's timeout, while its program ended well in time: it was said to have timed out.
    #[tokio::test(start_paused = true)]
    async fn a_timeout_counts_only_what_this_process_was_there_to_see() {
        let began = Instant::now();
        let timeout = tokio::spawn(elapsed(Some(Duration::from_secs(5))));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(timeout.await.unwrap(), Duration::from_secs(5));
        assert_eq!(began.elapsed().as_secs(), 65);
    }
}
