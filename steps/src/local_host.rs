//! What the engine asks of the machine that it runs on.

use std::time::Duration;

use almaplan_engine::event::{Failure, ProcessIdentity, WrongAnswer};
use almaplan_engine::host::{BoxFuture, Host, ServiceCheck};
use almaplan_engine::words::verbatim;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::http::Prober;
use crate::process::{self, Gentle, Tree};

/// What a process of an earlier attempt gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// A service that takes longer than this counts as not answering.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why this machine does not do what it is asked for.
#[derive(Debug, Serialize, thiserror::Error)]
enum HostError {
    #[error("{source}")]
    NotSupported {
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
}

/// This machine.
#[derive(Debug, Clone)]
pub struct LocalHost {
    prober: Prober,
}

impl LocalHost {
    /// This machine. With `boot` it pretends, for the whole process, to have been booted as that: for tests of what a reboot
    /// does. That must come before anything asked which boot it is; later it is ignored.
    pub fn new(boot: Option<String>) -> Self {
        if let Some(boot) = boot {
            process::set_boot(boot);
        }
        Self { prober: Prober::direct() }
    }
}

impl Host for LocalHost {
    fn boot(&self) -> String {
        process::boot().to_owned()
    }

    fn is_alive(&self, pid: u32) -> bool {
        process::identify(pid).is_some()
    }

    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            process::supported().map_err(|source| Failure::dirty(HostError::NotSupported { source }))?;
            // Its root may be gone and what it started may not: the tree finds both.
            let mut tree = Tree::of(process);
            process::stop(&mut tree, Gentle::Term, GRACE).await.map(drop).map_err(Failure::dirty)
        })
    }

    fn wrong_answer<'a>(&'a self, checks: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>> {
        Box::pin(async move {
            match checks {
                [check] => self.prober.wrong_answer(check, PATIENCE).await,
                checks => first_wrong(&self.prober, checks).await,
            }
        })
    }
}

/// Asks side by side, so that one that hangs does not hide what the others do.
async fn first_wrong(prober: &Prober, checks: &[ServiceCheck]) -> Option<WrongAnswer> {
    let mut asked = tokio::task::JoinSet::new();
    for (place, check) in checks.iter().cloned().enumerate() {
        let prober = prober.clone();
        asked.spawn(async move { (place, prober.wrong_answer(&check, PATIENCE).await) });
    }
    let answers = asked.join_all().await;
    answers.into_iter().filter_map(|(place, wrong)| Some((place, wrong?))).min_by_key(|(place, _)| *place).map(|(_, wrong)| wrong)
}

/// The time zone of this machine, or that of `TZ`.
pub fn local_zone() -> TimeZone {
    // Its rules are enough: to learn its name, which nobody is shown, `system` would list all zones that there are.
    #[cfg(unix)]
    if std::env::var_os("TZ").is_none()
        && let Ok(rules) = std::fs::read("/etc/localtime")
        && let Ok(zone) = TimeZone::tzif("local", &rules)
    {
        return zone;
    }
    TimeZone::system()
}
