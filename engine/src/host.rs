//! What the engine asks of a machine. The engine itself touches no process and no network.

use std::future::Future;
use std::pin::Pin;

use crate::event::{Failure, HostId, ProcessIdentity, WrongAnswer};

/// A boxed future, for the places where kinds of different types meet.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the engine asks of the machine it runs on. The engine itself touches no process and no network.
pub trait Host: Send + Sync + 'static {
    /// Its name in what a run keeps.
    fn id(&self) -> HostId {
        HostId::local()
    }
    /// A text that is another one after each boot.
    fn boot(&self) -> String;
    /// Whether there is a process with this id. Believed for a moment only: the id may be another one's next.
    fn is_alive(&self, pid: u32) -> bool;
    /// Ends `process` and everything below it, if it is still the same one. Returns once it is gone.
    fn end<'a>(&'a self, process: &'a ProcessIdentity) -> BoxFuture<'a, Result<(), Failure>>;
    /// One probe of `[measure]`: the first of `checks` that does not hold now; all of them are asked side by side.
    fn wrong_answer<'a>(&'a self, checks: &'a [ServiceCheck]) -> BoxFuture<'a, Option<WrongAnswer>>;
}

/// What an address of the measured service must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCheck {
    /// The address.
    pub url: String,
    /// The statuses that are right; none: every one below 500.
    pub status: Vec<u16>,
    /// A text that the answer contains.
    pub contains: Option<String>,
}
