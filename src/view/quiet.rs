//! Only what went wrong, and the recap.

use almaplan_engine::update::Update;
use jiff::Timestamp;

use super::format::Formatter;
use super::lines;
use super::recap::Recap;
use super::titles::Titles;
use super::{Sink, View, write_lines};

/// See the module.
pub struct Quiet {
    fmt: Formatter,
    out: Sink,
    titles: Titles,
}

impl Quiet {
    /// Writes to `out`.
    pub fn new(fmt: Formatter, out: Sink) -> Self {
        Self { fmt, out, titles: Titles::default() }
    }
}

impl View for Quiet {
    fn show(&mut self, at: Timestamp, update: &Update) {
        self.titles.fold(update);
        if lines::is_loud(update) {
            write_lines(&mut *self.out, lines::of(&self.fmt, &self.titles, at, update));
        }
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        write_lines(&mut *self.out, recap.lines(&self.fmt));
    }
}
