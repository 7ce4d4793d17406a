//! One line an event, for logs and pipes; and a sign of life for a step that says nothing.

use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::format::{Formatter, Style};
use super::lines::{self, stamped};
use super::recap::Recap;
use super::running::{RunningSteps, seconds};
use super::titles::Titles;
use super::{Sink, View, write_lines};

/// See the module.
pub struct Plain {
    fmt: Formatter,
    out: Sink,
    running: RunningSteps,
    titles: Titles,
}

/// How long a live step may say nothing.
const SILENCE_S: f64 = 10.0;

impl Plain {
    /// Writes to `out`.
    pub fn new(fmt: Formatter, out: Sink) -> Self {
        Self { fmt, out, running: RunningSteps::default(), titles: Titles::default() }
    }
}

impl View for Plain {
    fn show(&mut self, at: Timestamp, update: &Update) {
        self.running.fold(&self.fmt, at, update);
        self.titles.fold(update);
        write_lines(&mut *self.out, lines::of(&self.fmt, &self.titles, at, update));
    }

    fn tick(&mut self, now: Timestamp) {
        for (step, running) in self.running.iter_mut().filter(|(_, running)| seconds(running.last_said, now) >= SILENCE_S) {
            running.last_said = now;
            let fmt = &self.fmt;
            let took = fmt.elapsed(seconds(running.since, now));
            let mut text = fmt.lang.with("still-running", &[("took", took.into())]);
            if let Some(progress) = running.progress(fmt) {
                text = format!("{text} ({progress})");
            }
            let name = fmt.paint(Style::Strong, self.titles.of(step));
            write_lines(&mut *self.out, [stamped(fmt, now, "…", Style::Faint, &format!("{name}: {text}"))]);
        }
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        write_lines(&mut *self.out, recap.lines(&self.fmt));
    }
}
