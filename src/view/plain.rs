//! One line an event, for logs and pipes; and a sign of life for a step that says nothing.

use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::lines::{self, stamped};
use super::recap::Recap;
use super::running::{RunningSteps, seconds};
use super::words::{Tone, Words};
use super::{Sink, View, write_lines};

/// See the module.
pub struct Plain {
    words: Words,
    out: Sink,
    running: RunningSteps,
}

/// How long a live step may say nothing.
const SILENCE_S: f64 = 10.0;

impl Plain {
    /// Writes to `out`.
    pub fn new(words: Words, out: Sink) -> Self {
        Self { words, out, running: RunningSteps::default() }
    }
}

impl View for Plain {
    fn show(&mut self, at: Timestamp, update: &Update) {
        self.running.fold(at, update);
        write_lines(&mut *self.out, lines::of(&self.words, at, update));
    }

    fn tick(&mut self, now: Timestamp) {
        for (step, running) in self.running.iter_mut().filter(|(_, running)| seconds(running.last_said, now) >= SILENCE_S) {
            running.last_said = now;
            let words = &self.words;
            let took = words.elapsed(seconds(running.since, now));
            let mut text = words.lang.with("still-running", &[("took", took.into())]);
            if let Some(progress) = running.progress(words) {
                text = format!("{text} ({progress})");
            }
            let name = words.paint(Tone::Strong, step);
            write_lines(&mut *self.out, [stamped(words, now, "…", Tone::Faint, &format!("{name}: {text}"))]);
        }
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        write_lines(&mut *self.out, recap.lines(&self.words));
    }
}
