//! What the engine asks of the machine that it runs on.

use std::time::Duration;

use almaplan_engine::step::{BoxFuture, Failure, Host, ProcessIdentity};

use crate::http::Prober;
use crate::process::{self, Gentle, Tree};

/// What a process of an earlier attempt gets to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// A service that takes longer than this counts as not answering.
const PATIENCE: Duration = Duration::from_secs(2);

/// This machine.
#[derive(Debug, Clone)]
pub struct Machine {
    prober: Prober,
}

impl Machine {
    /// This machine. With `boot` it pretends, for the whole process, to have been booted as that: for tests of what a reboot
    /// does. That must come before anything asked which boot it is; later it is ignored.
    pub fn new(boot: Option<String>) -> Self {
        if let Some(boot) = boot {
            process::set_boot(boot);
        }
        Self { prober: Prober::direct() }
    }
}

impl Host for Machine {
    fn boot(&self) -> String {
        process::boot().to_owned()
    }

    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            process::supported().map_err(Failure::dirty)?;
            // Its root may be gone and what it started may not: the tree finds both.
            let mut tree = Tree::of(process);
            process::stop(&mut tree, Gentle::Term, GRACE).await.map(drop).map_err(Failure::dirty)
        })
    }

    fn answers<'a>(&'a self, url: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.prober.ask(url, PATIENCE).await.is_ok() })
    }
}
