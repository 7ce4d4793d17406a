//! Only what went wrong, and the recap.

use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::lines::{self, Weight};
use super::recap::Recap;
use super::words::Words;
use super::{Sink, View, write_lines};

/// See the module.
pub struct Quiet {
    words: Words,
    out: Sink,
}

impl Quiet {
    /// Writes to `out`.
    pub fn new(words: Words, out: Sink) -> Self {
        Self { words, out }
    }
}

impl View for Quiet {
    fn show(&mut self, at: Timestamp, update: &Update) {
        if lines::weight(update) >= Weight::Loud {
            write_lines(&mut *self.out, lines::of(&self.words, at, update));
        }
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        write_lines(&mut *self.out, recap.lines(&self.words));
    }
}
