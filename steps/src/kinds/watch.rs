//! The kind `watch`: looks at a service for a while after it was started.
//!
//! One bad look is noise: only `STRIKES` in a row are a failure. A process that ends is one at once.

use std::collections::HashMap;
use std::time::Duration as Time;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::{Effect, Failure, OnInterrupt, ProcessIdentity};
use almaplan_engine::kind::{Kind, Traits};
use almaplan_engine::update::Unit;
use almaplan_engine::words::verbatim;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::http::Prober;
use crate::human::{Bytes, DurationOr};
use crate::process::{self, Description, Tree};

/// How many bad looks in a row are a failure.
const STRIKES: u32 = 3;
/// How long an answer may take to count as one.
const PATIENCE: Time = Time::from_secs(5);
/// How soon a process that has ended is noticed between two looks.
const PULSE: Time = Time::from_millis(250);
/// How often it is kept how long it was watched: so much is watched again at most when the process dies.
const KEPT_EVERY: Time = Time::from_secs(15);
/// What the time that was watched is recorded as: `watched-<attempt>-<milliseconds>`, as the first record of a name stands.
const WATCHED: &str = "watched";
/// What a failure is recorded as: `failed-<attempt>`.
const FAILED: &str = "failed";
/// Processor time is counted in hundredths of a second: looks closer than this would see nothing.
const SHORTEST: Time = Time::from_millis(50);

/// Watches a process with all its children, a URL, or both: fails when the process ends, when it needs more than it may three
/// looks in a row, or when the URL does not answer three times in a row.
///
/// Interrupted, it goes on where it was; after a failure, or with another process, it watches anew from the beginning.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The process to watch, with everything below it.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How long to watch.
    #[serde(rename = "for", default)]
    pub length: DurationOr<900_000>,
    /// The pause between two looks.
    #[serde(default)]
    pub interval: DurationOr<5_000>,
    /// The processor time that it may take, in percent of one core.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub max_cpu: Option<f64>,
    /// The memory that it may hold resident.
    #[serde(default)]
    pub max_memory: Option<Bytes>,
    /// A URL that must answer, with any status below 500.
    #[serde(default, deserialize_with = "crate::http::addresses")]
    pub url: Option<String>,
}

/// What was seen by the attempt that came to the end; null where it was not looked at.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct WatchOutput {
    /// How often it was looked at.
    pub samples: u32,
    /// Most processor time between two looks, in percent of one core.
    pub cpu_peak: Option<f64>,
    /// Mean processor time, in percent of one core.
    pub cpu_mean: Option<f64>,
    /// Most resident memory, in bytes.
    pub memory_peak: Option<u64>,
    /// Mean resident memory, in bytes.
    pub memory_mean: Option<u64>,
    /// Slowest answer, in milliseconds.
    pub answers_peak_ms: Option<f64>,
    /// Mean time to an answer, in milliseconds.
    pub answers_mean_ms: Option<f64>,
}

/// Why what is watched is not well.
#[derive(Debug, Serialize, thiserror::Error)]
enum WatchError {
    #[error("it took {took} % of a core, more than the {limit} % it may, {STRIKES} times in a row")]
    Cpu { took: f64, limit: f64 },
    #[error("it held {:.1} MiB of memory, more than the {:.1} MiB it may, {STRIKES} times in a row", mebibytes(*held as f64), mebibytes(*limit as f64))]
    Memory { held: u64, limit: u64 },
    #[error("{url} did not answer {STRIKES} times in a row")]
    Silent { url: String },
    #[error("process {pid} cannot be watched: {source}")]
    Unwatchable {
        pid: u32,
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
    #[error("process {pid}, which was to be watched, does not run")]
    Gone { pid: u32 },
    #[error("ended while it was watched, after {seconds} s: {process}")]
    Ended { seconds: String, process: Box<Description> },
}

impl Kind for Watch {
    const KIND: &'static str = "watch";
    const TRAITS: Traits = Traits::new(Effect::Observes, OnInterrupt::Rerun);
    type Output = WatchOutput;

    fn check(&self) -> Result<(), String> {
        let watches = self.pid.is_some() || self.url.is_some();
        if watches { Ok(()) } else { Err("there is nothing to watch: give `pid`, `url` or both".to_owned()) }
    }

    async fn run(&self, cx: &Context) -> Result<WatchOutput, Failure> {
        let mut service = self.pid.map(|pid| Watched::new(cx, pid)).transpose()?;
        let process = json!(service.as_ref().map(|service| &service.identity));
        let before = self.watched_before(cx, &process);
        let watched = self.watch_on(cx, &mut service, &process, before).await;
        if watched.is_err() && !cx.is_cancelled() {
            // Another attempt watches all of it.
            cx.record(&format!("{FAILED}-{}", cx.attempt()), true).await?;
        }
        watched
    }

    fn default_timeout(&self) -> Option<Time> {
        Some(self.length.0 + Time::from_secs(60))
    }
}

impl Watch {
    /// How long earlier attempts watched this very process, since the last one that failed.
    fn watched_before(&self, cx: &Context, process: &Value) -> Time {
        let recorded = cx.all_recorded();
        let numbers = |name: &str, kind: &str| -> Option<Vec<u64>> {
            let rest = name.strip_prefix(kind)?.strip_prefix('-')?;
            rest.split('-').map(|number| number.parse().ok()).collect()
        };
        let failed = recorded.keys().filter_map(|name| numbers(name, FAILED)?.first().copied()).max().unwrap_or(0);
        let watched = recorded.iter().filter_map(|(name, of)| match numbers(name, WATCHED)?[..] {
            [attempt, ms] if attempt > failed && of == process => Some(ms),
            _ => None,
        });
        Time::from_millis(watched.max().unwrap_or(0)).min(self.length.0)
    }

    async fn watch_on(&self, cx: &Context, service: &mut Option<Watched>, process: &Value, before: Time) -> Result<WatchOutput, Failure> {
        let prober = Prober::direct();
        let (mut cpu, mut memory, mut answers) = (Gauge::default(), Gauge::default(), Gauge::default());
        let begun = Instant::now();
        let end = begun + (self.length.0 - before);
        let mut kept = begun;
        let keep = async |so_far: Time| cx.record(&format!("{WATCHED}-{}-{}", cx.attempt(), so_far.as_millis()), process).await;
        let mut samples = 0;
        // However short it is watched, it is looked at often enough to fail.
        let interval = self.interval.0.min(self.length.0 / (STRIKES + 1)).max(SHORTEST);
        while Instant::now() < end {
            let next = end.min(Instant::now() + interval);
            let identity = service.as_ref().map(|service| service.identity.clone());
            tokio::select! {
                () = sleep_until(next) => {}
                () = ended(identity.as_ref()) => {}
                () = cx.cancelled() => {
                    keep(before + begun.elapsed()).await?;
                    return Err(Failure::clean(Stopped));
                }
            }
            if let Some(service) = service.as_mut() {
                let load = service.look().ok_or_else(|| service.has_ended(before + begun.elapsed()))?;
                cpu.add(load.cpu_percent, self.max_cpu.is_some_and(|limit| load.cpu_percent > limit));
                memory.add(load.memory, self.max_memory.is_some_and(|limit| load.memory > limit.0 as f64));
            }
            if let Some(url) = &self.url {
                match prober.ask(url, PATIENCE).await {
                    Ok(took) => answers.add(took.as_secs_f64() * 1000.0, false),
                    Err(_) => answers.strikes += 1,
                }
            }
            samples += 1;
            let so_far = before + begun.elapsed();
            cx.progress(so_far.as_secs().min(self.length.0.as_secs()), Some(self.length.0.as_secs()), Unit::Seconds);
            self.judge(&cpu, &memory, &answers)?;
            // Only what was watched without a bad look counts.
            let good = [&cpu, &memory, &answers].iter().all(|gauge| gauge.strikes == 0);
            if good && kept.elapsed() >= KEPT_EVERY {
                keep(so_far).await?;
                kept = Instant::now();
            }
        }
        Ok(WatchOutput {
            samples,
            cpu_peak: cpu.peak().map(tenths),
            cpu_mean: cpu.mean().map(tenths),
            memory_peak: memory.peak().map(|bytes| bytes as u64),
            memory_mean: memory.mean().map(|bytes| bytes as u64),
            answers_peak_ms: answers.peak().map(tenths),
            answers_mean_ms: answers.mean().map(tenths),
        })
    }

    fn judge(&self, cpu: &Gauge, memory: &Gauge, answers: &Gauge) -> Result<(), Failure> {
        if let Some(limit) = self.max_cpu.filter(|_| cpu.strikes >= STRIKES) {
            return Err(Failure::clean(WatchError::Cpu { took: cpu.last.round(), limit }));
        }
        if let Some(limit) = self.max_memory.filter(|_| memory.strikes >= STRIKES) {
            return Err(Failure::clean(WatchError::Memory { held: memory.last as u64, limit: limit.0 }));
        }
        if let Some(url) = self.url.as_ref().filter(|_| answers.strikes >= STRIKES) {
            return Err(Failure::clean(WatchError::Silent { url: url.clone() }));
        }
        Ok(())
    }
}

/// Returns when `process` has ended; never without one.
async fn ended(process: Option<&ProcessIdentity>) {
    let Some(process) = process else { return std::future::pending().await };
    while process::is_alive(process) {
        sleep(PULSE).await;
    }
}

/// A tree that is watched.
struct Watched {
    identity: ProcessIdentity,
    name: Description,
    tree: Tree,
    /// When it was last looked at, and what each process had used by then: (pid, start) → processor time.
    before: (Instant, HashMap<(u32, u64), Time>),
}

/// What a tree needs.
struct Load {
    /// Of one core, since the last look.
    cpu_percent: f64,
    /// Resident, in bytes.
    memory: f64,
}

impl Watched {
    fn new(cx: &Context, pid: u32) -> Result<Self, Failure> {
        process::supported().map_err(|source| Failure::clean(WatchError::Unwatchable { pid, source }))?;
        let gone = || Failure::clean(WatchError::Gone { pid });
        let identity = process::meant(cx, pid).ok_or_else(gone)?;
        let name = process::describe(pid).ok_or_else(gone)?;
        let mut watched = Self { tree: Tree::of(&identity), identity, name, before: (Instant::now(), HashMap::new()) };
        watched.look().ok_or_else(gone)?;
        Ok(watched)
    }

    /// `None` where it has ended. The time of children that came and went between two looks is not seen.
    fn look(&mut self) -> Option<Load> {
        if !process::is_alive(&self.identity) {
            return None;
        }
        let now = Instant::now();
        let members = self.tree.members();
        let used: HashMap<_, _> = members.iter().map(|entry| ((entry.pid, entry.started), entry.cpu)).collect();
        let (then, before) = &self.before;
        let spent: Time = used.iter().map(|(key, cpu)| cpu.saturating_sub(before.get(key).copied().unwrap_or_default())).sum();
        let cpu_percent = 100.0 * spent.as_secs_f64() / (now - *then).as_secs_f64().max(f64::EPSILON);
        self.before = (now, used);
        Some(Load { cpu_percent, memory: members.iter().map(|entry| entry.memory as f64).sum() })
    }

    fn has_ended(&self, after: Time) -> Failure {
        let seconds = format!("{:.1}", after.as_secs_f64());
        Failure::clean(WatchError::Ended { seconds, process: Box::new(self.name.clone()) })
    }
}

/// A value over time.
#[derive(Default)]
struct Gauge {
    count: u32,
    sum: f64,
    highest: f64,
    last: f64,
    /// Bad looks in a row.
    strikes: u32,
}

impl Gauge {
    fn add(&mut self, value: f64, bad: bool) {
        self.count += 1;
        self.sum += value;
        self.highest = self.highest.max(value);
        self.last = value;
        self.strikes = if bad { self.strikes + 1 } else { 0 };
    }

    fn peak(&self) -> Option<f64> {
        (self.count > 0).then_some(self.highest)
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn another_process_under_the_same_pid_is_not_the_one_that_is_watched() {
        let cx = Context::standalone(std::path::Path::new(""), std::sync::Arc::new(|_| {}));
        let mut watched = Watched::new(&cx, std::process::id()).unwrap();
        assert!(watched.look().is_some());
        watched.identity.started += 1;
        assert!(watched.look().is_none());
    }
}
