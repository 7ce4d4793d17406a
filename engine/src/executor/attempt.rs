//! One attempt: what earlier ones left running is ended, then the work is done, within its time and until it is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::step::{Context, Failure, Host, Prepared, ProcessIdentity};

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
}

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until it is asked to stop; `None` is without limit.
    pub(super) timeout: Option<Duration>,
    /// From then on.
    pub(super) grace: Duration,
}

pub(super) async fn run(
    work: Box<dyn Prepared>,
    cx: Context,
    limits: Limits,
    leftovers: Vec<ProcessIdentity>,
    host: Arc<dyn Host>,
    stop: CancellationToken,
    kill: CancellationToken,
) -> Verdict {
    tokio::select! {
        biased;
        // Dropping the work ends its children.
        () = kill.cancelled() => Verdict::Cancelled,
        verdict = begun(work, &cx, limits, &leftovers, &*host, &stop) => verdict,
    }
}

async fn begun(
    work: Box<dyn Prepared>,
    cx: &Context,
    limits: Limits,
    leftovers: &[ProcessIdentity],
    host: &dyn Host,
    stop: &CancellationToken,
) -> Verdict {
    for process in leftovers {
        if let Err(failure) = host.end(process).await {
            let message = format!("what an earlier attempt left running could not be ended: {failure}");
            return Verdict::Broken(Failure::dirty(message));
        }
    }
    // It may have been asked to stop before it began.
    if stop.is_cancelled() { Verdict::Cancelled } else { stoppable(work, cx, limits, stop).await }
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
            let message = format!("it took longer than its timeout of {}", humantime::format_duration(timeout));
            Verdict::Broken(Failure { message, clean: false, tail: failure.tail })
        }
        (Err(_), _) => Verdict::Hung,
    }
}

async fn elapsed(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}
