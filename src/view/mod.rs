//! One file a way of showing [`Update`]s, and [`Output`], which takes them from every thread.
//!
//! ```text
//!  executor, kinds ──> Output ──┬─> View: live · plain · json · quiet
//!   (any thread)      (one lock)└─> runs/<run>/<step>.log
//! ```
//!
//! A view never fails a run: whoever reads may go away at any time, so what cannot be written is dropped.

pub mod json;
mod lines;
pub use lines::downtime_so_far;
pub mod live;
pub mod plain;
pub mod quiet;
pub mod recap;
mod running;
pub mod step_log;
pub mod words;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use almaplan_engine::step::Failure;
use almaplan_engine::update::{Level, Update, Updates};
use jiff::Timestamp;

use recap::Recap;
use step_log::StepLogs;

/// Where a view writes.
pub type Sink = Box<dyn Write + Send>;

/// A way of showing updates.
pub trait View: Send {
    /// Shows what happened at `at`.
    fn show(&mut self, at: Timestamp, update: &Update);
    /// Time went by: called every [`TICK`] while a run goes on.
    fn tick(&mut self, _now: Timestamp) {}
    /// Nothing more will happen: the last thing that is shown.
    fn finish(&mut self, at: Timestamp, recap: &Recap);
}

/// How often [`Output::beat`] lets a view see the time.
pub const TICK: Duration = Duration::from_millis(125);

/// The one place where a run is shown: hands updates of all threads to a view, one at a time, and keeps what steps print.
pub struct Output {
    inner: Mutex<Inner>,
}

struct Inner {
    view: Box<dyn View>,
    logs: Option<StepLogs>,
}

impl Output {
    /// Shows with `view`; keeps no logs yet.
    pub fn new(view: Box<dyn View>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new(Inner { view, logs: None }) })
    }

    /// From here on, what steps print is also kept in `folder` (`runs/<run>`), which must exist or be creatable.
    pub fn keep_logs(&self, folder: PathBuf) {
        self.lock().logs = Some(StepLogs::new(folder));
    }

    /// What the executor and the kinds call.
    pub fn updates(self: &Arc<Self>) -> Updates {
        let output = Arc::clone(self);
        Arc::new(move |update| output.show(Timestamp::now(), &update))
    }

    /// Shows one update.
    pub fn show(&self, at: Timestamp, update: &Update) {
        let mut inner = self.lock();
        if let (Some(logs), Update::Log { step, stream, line }) = (&mut inner.logs, update)
            && let Err(error) = logs.keep(at, step, *stream, line)
        {
            // Once: a full disk would otherwise double every line.
            inner.logs = None;
            let message = error.to_string();
            inner.view.show(at, &Update::Note { step: step.clone(), level: Level::Warning, message });
        }
        inner.view.show(at, update);
    }

    /// Lets the view see the time, until it is dropped. The caller drops it (or aborts its task) before [`Output::finish`].
    pub async fn beat(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.tick(Timestamp::now());
        }
    }

    /// Lets the view see that it is `now`.
    pub fn tick(&self, now: Timestamp) {
        self.lock().view.tick(now);
    }

    /// Shows how it ended.
    pub fn finish(&self, recap: &Recap) {
        self.lock().view.finish(Timestamp::now(), recap);
    }

    // A view that panicked on one update may still show the next: a run must not die of how it is shown.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes `lines` at once, so that nothing of another program comes between them.
fn write_lines<S: AsRef<str>>(sink: &mut dyn Write, lines: impl IntoIterator<Item = S>) {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    let _ = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
}

/// The first line of why something failed.
fn first_line(failure: &Failure) -> String {
    words::harmless(&failure.message).lines().next().unwrap_or_default().to_owned()
}
