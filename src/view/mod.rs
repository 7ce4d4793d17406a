//! One file a way of showing [`Update`]s, and [`Output`], which takes them from every thread.
//!
//! ```text
//!  executor, kinds ──> Output ──┬─> View: live · plain · json · quiet
//!   (any thread)      (one lock)├─> runs/<run>/<step>.log
//!                               └─> runs/<run>/updates.jsonl ──> Output of a process that looks on
//! ```
//!
//! A view never fails a run: whoever reads may go away at any time, so what cannot be written is dropped.

pub mod json;
mod lines;
pub use lines::downtime_so_far;
pub mod format;
pub mod live;
pub mod plain;
pub mod quiet;
pub mod recap;
pub mod record;
mod running;
mod screen;
pub mod serving;
pub mod step_log;
mod summary;
pub mod titles;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use almaplan_engine::event::Failure;
use almaplan_engine::update::{Level, Update, Updates};
use jiff::Timestamp;

use recap::Recap;
use record::UpdateRecord;
pub use screen::Shown;
use screen::{Screen, Task};
use step_log::StepLogs;

/// Where a view writes.
pub type Sink = Box<dyn Write + Send>;

/// A way of showing updates.
pub trait View: Send {
    /// Shows what happened at `at`.
    fn show(&mut self, at: Timestamp, update: &Update);
    /// Time went by: called every [`TICK`] while a run goes on.
    fn tick(&mut self, _now: Timestamp) {}
    /// Takes away what is drawn and redrawn: somebody else writes there for a while.
    fn pause(&mut self) {}
    /// Nothing more will happen: the last thing that is shown.
    fn finish(&mut self, at: Timestamp, recap: &Recap);
}

/// How long a screen may take until it is still: one that somebody holds (Ctrl-S) is.
const PAUSED_WITHIN: Duration = Duration::from_millis(500);

/// How often [`Output::beat`] lets a view see the time.
pub const TICK: Duration = Duration::from_millis(125);

/// The one place where a run is shown: hands updates of all threads to a view, one at a time, and keeps what steps print.
pub struct Output {
    screen: Screen,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    logs: Option<StepLogs>,
    record: Option<UpdateRecord>,
    /// What happened while the screen was held.
    held: Option<Vec<(Timestamp, Update)>>,
    /// The measured service does not answer.
    down: bool,
}

impl Output {
    /// Shows with `view`; keeps no logs yet.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn new(view: Box<dyn View>) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { screen: Screen::new(view)?, inner: Mutex::default() }))
    }

    /// From here on, what steps print is also kept in `folder` (`runs/<run>`), which must exist or be creatable.
    pub fn keep_logs(&self, folder: PathBuf) {
        self.lock().logs = Some(StepLogs::new(folder));
    }

    /// From here on, what is shown is also kept, for a process that looks on.
    pub fn keep_record(&self, record: UpdateRecord) {
        self.lock().record = Some(record);
    }

    /// What the executor and the kinds call.
    pub fn updates(self: &Arc<Self>) -> Updates {
        let output = Arc::clone(self);
        Arc::new(move |update| output.show(Timestamp::now(), update))
    }

    /// Shows one update.
    pub fn show(&self, at: Timestamp, update: Update) {
        let mut inner = self.lock();
        if let (Some(logs), Update::Log { step, stream, line }) = (&mut inner.logs, &update)
            && let Err(error) = logs.keep(at, step, *stream, line)
        {
            // Once: a full disk would otherwise double every line.
            inner.logs = None;
            self.screen.give(Task::Show(at, Box::new(Update::note(step.clone(), Level::Warning, error.to_string()))));
        }
        if let Some(record) = &mut inner.record
            && let Err(error) = record.keep(at, &update)
        {
            inner.record = None;
            tracing::warn!(%error, "what is shown is no longer kept for processes that look on");
        }
        if let Update::Reachable(reachable) = &update {
            inner.down = !reachable;
        }
        match &mut inner.held {
            None => self.screen.give(Task::Show(at, Box::new(update))),
            // What comes by the thousand is in the logs.
            Some(_) if matches!(update, Update::Progress { .. } | Update::Log { .. }) => {}
            Some(held) => held.push((at, update)),
        }
    }

    /// Whether the measured service is known not to answer.
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Keeps the screen as it is until [`Output::release`]: somebody is asked something on it.
    pub fn hold(&self) {
        self.lock().held.get_or_insert_default();
        self.screen.give(Task::Pause);
        self.screen.shown().within(PAUSED_WITHIN);
    }

    /// Shows what happened while the screen was held, and goes on.
    pub fn release(&self) {
        let mut inner = self.lock();
        for (at, update) in inner.held.take().unwrap_or_default() {
            self.screen.give(Task::Show(at, Box::new(update)));
        }
    }

    /// From here on shows with `view`: whoever looked on before is gone.
    pub fn show_on(&self, view: Box<dyn View>) {
        self.screen.give(Task::Swap(view));
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
        if self.lock().held.is_none() {
            self.screen.give(Task::Tick(now));
        }
    }

    /// Shows how it ended.
    pub fn finish(&self, recap: &Recap) -> Shown {
        self.release();
        self.screen.give(Task::Finish(Timestamp::now(), Box::new(recap.clone())));
        self.screen.shown()
    }

    /// When all that was given so far is shown.
    pub fn shown(&self) -> Shown {
        self.screen.shown()
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
fn first_line(fmt: &format::Formatter, failure: &Failure) -> String {
    format::sanitize(&fmt.failure(failure)).lines().next().unwrap_or_default().to_owned()
}
