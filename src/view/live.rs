//! On a terminal: finished steps above, in the order they finished; below them one line a running step, redrawn in place, and a
//! total.
//!
//! ```text
//! 14:15:04 ✔ backup: done in 1.9 s
//! ⠹ stage   4 s  12.1 MB of 52.4 MB  3.0 MB/s
//! ⠹ tests   9 s  test_orders.py::test_total PASSED
//! 3 of 12 steps · 11 s
//! ```
//!
//! [`Canvas`] says what the lines are, and is tested without a terminal; [`Live`] draws them.

use std::collections::HashSet;

use almaplan_engine::event::StepId;
use almaplan_engine::update::{Phase, State, Update};
use console::{Term, measure_text_width, truncate_str};
use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::lines::{self, Weight};
use super::recap::Recap;
use super::running::{Running, RunningSteps, seconds};
use super::words::{Tone, Words, pad};
use super::{Sink, View, write_lines};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Below this many columns only names and times are shown.
const NARROW: usize = 40;

/// See the module.
pub struct Live {
    canvas: Canvas,
    out: Sink,
    width: Box<dyn Fn() -> usize + Send>,
    multi: MultiProgress,
    bars: IndexMap<StepId, ProgressBar>,
    total: Option<ProgressBar>,
}

impl Live {
    /// Draws on standard output, which must be a terminal.
    pub fn new(words: Words) -> Self {
        let term = Term::stdout();
        let target = ProgressDrawTarget::term(term.clone(), 15);
        let sized = term.clone();
        Self::on(words, target, Box::new(move || usize::from(sized.size().1)), Box::new(term))
    }

    /// Draws on `target`, `width()` columns wide; what stays goes to `out`, which writes to the same place.
    fn on(words: Words, target: ProgressDrawTarget, width: Box<dyn Fn() -> usize + Send>, out: Sink) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self { canvas: Canvas::new(words), out, width, multi, bars: IndexMap::new(), total: None }
    }

    fn redraw(&mut self, now: Timestamp) {
        // A column is left free: terminals wrap on the last one.
        let width = (self.width)().saturating_sub(1).max(10);
        let style = || ProgressStyle::with_template("{msg}").expect("the template is ours");
        let multi = &self.multi;
        self.bars.retain(|step, bar| {
            let stays = self.canvas.running.contains(step);
            if !stays {
                bar.finish_and_clear();
                multi.remove(bar);
            }
            stays
        });
        let total = self.total.get_or_insert_with(|| multi.add(ProgressBar::new_spinner().with_style(style())));
        for (step, line) in self.canvas.running_lines(now, width) {
            let bar = self.bars.entry(step).or_insert_with(|| multi.insert_before(total, ProgressBar::new_spinner().with_style(style())));
            bar.set_message(line);
        }
        total.set_message(self.canvas.total_line(now, width));
    }
}

impl View for Live {
    fn show(&mut self, at: Timestamp, update: &Update) {
        let above = self.canvas.show(at, update);
        if !above.is_empty() {
            let _ = self.multi.println(above.join("\n"));
        }
        // Progress and logs come by the thousand: they are drawn with the next tick.
        if !matches!(update, Update::Progress { .. } | Update::Log { .. }) {
            self.redraw(at);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.canvas.frame += 1;
        self.redraw(now);
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        for bar in self.bars.values().chain(&self.total) {
            bar.finish_and_clear();
        }
        let _ = self.multi.clear();
        write_lines(&mut *self.out, recap.lines(&self.canvas.words));
    }
}

/// What there is to draw.
pub(super) struct Canvas {
    words: Words,
    running: RunningSteps,
    frame: usize,
    steps: usize,
    done: HashSet<StepId>,
    undone: HashSet<StepId>,
    unwinding: bool,
    began: Option<Timestamp>,
    unreachable_since: Option<Timestamp>,
}

impl Canvas {
    pub(super) fn new(words: Words) -> Self {
        Self {
            words,
            running: RunningSteps::default(),
            frame: 0,
            steps: 0,
            done: HashSet::new(),
            undone: HashSet::new(),
            unwinding: false,
            began: None,
            unreachable_since: None,
        }
    }

    /// Folds one update; returns what belongs above the running steps.
    pub(super) fn show(&mut self, at: Timestamp, update: &Update) -> Vec<String> {
        self.running.fold(at, update);
        match update {
            Update::Run { steps, .. } => {
                self.steps = *steps;
                self.began = Some(at);
            }
            Update::Step(step) if step.state == State::Undone => {
                self.undone.insert(step.step.clone());
            }
            Update::Step(step) if step.phase == Phase::Forward && matches!(step.state, State::Succeeded | State::Skipped) => {
                self.done.insert(step.step.clone());
            }
            Update::Unwinding { .. } => self.unwinding = true,
            Update::Reachable(reachable) => self.unreachable_since = (!reachable).then_some(at),
            Update::Step(_)
            | Update::Progress { .. }
            | Update::Log { .. }
            | Update::Note { .. }
            | Update::Live { .. }
            | Update::Stopping { .. }
            | Update::Ended { .. } => {}
        }
        // A screen is for what happens: the recap lists what does not.
        let not_run = matches!(update, Update::Step(step) if step.state == State::NotRun);
        if lines::weight(update) >= Weight::Event && !not_run { lines::of(&self.words, at, update) } else { Vec::new() }
    }

    /// One line a running step, none wider than `width` columns.
    pub(super) fn running_lines(&self, now: Timestamp, width: usize) -> Vec<(StepId, String)> {
        let longest = self.running.iter().map(|(step, _)| measure_text_width(step.as_str())).max().unwrap_or(0);
        // Long names must not push away what happens.
        let name_width = longest.min((width / 3).max(8));
        self.running.iter().map(|(step, running)| (step.clone(), self.running_line(step, running, now, width, name_width))).collect()
    }

    fn running_line(&self, step: &StepId, running: &Running, now: Timestamp, width: usize, name_width: usize) -> String {
        let words = &self.words;
        let (sign, tone) = match (running.waiting, running.phase) {
            (true, _) => ("↻", Tone::Warning),
            (false, Phase::Undo) => ("↶", Tone::Undo),
            (false, Phase::Forward | Phase::Finally) => (SPINNER[self.frame % SPINNER.len()], Tone::Good),
        };
        let name = pad(&truncate_str(step.as_str(), name_width, "…"), name_width);
        let took = words.elapsed(seconds(running.since, now));
        let mut line = format!("{} {}  {took}", words.paint(tone, sign), words.paint(Tone::Strong, name));
        if width >= NARROW {
            if running.phase == Phase::Undo {
                line.push_str(&format!("  {}", words.paint(Tone::Undo, words.lang.text("undoing"))));
            }
            if running.attempt > 1 {
                line.push_str(&format!("  {}", words.lang.with("unit-attempt", &[("n", running.attempt.into())])));
            }
            if let Some(progress) = running.progress(words) {
                line.push_str(&format!("  {progress}"));
            }
            if let Some(last) = &running.last_line {
                line.push_str(&format!("  {}", words.paint(Tone::Faint, last)));
            }
        }
        truncate_str(&line, width, "…").into_owned()
    }

    /// How far all of it is.
    pub(super) fn total_line(&self, now: Timestamp, width: usize) -> String {
        let words = &self.words;
        let mut parts = vec![words.lang.with("total-done", &[("done", self.done.len().into()), ("steps", self.steps.into())])];
        if self.unwinding {
            parts.push(words.paint(Tone::Undo, words.lang.with("total-undone", &[("n", self.undone.len().into())])));
        }
        if let Some(since) = self.unreachable_since {
            let down = words.elapsed(seconds(since, now));
            parts.push(words.paint(Tone::Bad, words.lang.with("total-down", &[("duration", down.into())])));
        }
        if self.running.len() > 1 {
            parts.push(words.lang.with("total-running", &[("n", self.running.len().into())]));
        }
        if let Some(began) = self.began {
            parts.push(words.elapsed(seconds(began, now)));
        }
        truncate_str(&parts.join(" · "), width, "…").into_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use almaplan_engine::event::Outcome;
    use almaplan_engine::update::Ending;
    use indicatif::TermLike;

    use super::*;
    use crate::lang::Tongue;
    use crate::view::sample;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut canvas = Canvas::new(Words { color: true, ..sample::words(Tongue::PtBr) });
        let mut drawn = 0;
        for (at, update) in sample::failing() {
            canvas.show(at, &update);
            for width in [10, 20, 39, 40, 80, 200] {
                let lines = canvas.running_lines(at, width).into_iter().map(|(_, line)| line);
                for line in lines.chain([canvas.total_line(at, width)]) {
                    assert!(measure_text_width(&line) <= width, "{width}: {line:?}");
                    drawn += 1;
                }
            }
        }
        assert!(drawn > 100, "only {drawn} lines");
    }

    #[test]
    fn a_copy_shows_bytes_and_rate_and_a_command_its_last_line() {
        let mut canvas = Canvas::new(sample::words(Tongue::En));
        let mut seen = Vec::new();
        for (at, update) in sample::failing() {
            canvas.show(at, &update);
            let lines: Vec<_> = canvas.running_lines(at, 100).into_iter().map(|(_, line)| line).collect();
            seen.push(format!("{}\n{}", lines.join("\n"), canvas.total_line(at, 100)).trim().to_owned());
        }
        seen.dedup();
        insta::assert_snapshot!(seen.join("\n---\n"));
    }

    /// A terminal of 100 columns that never scrolls: what is on it, and where the cursor is.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Cells>>);

    #[derive(Debug, Default)]
    struct Cells {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
    }

    impl Screen {
        fn put(&self, text: &str) {
            let mut screen = self.0.lock().unwrap();
            let Cells { rows, row, column } = &mut *screen;
            for c in text.chars() {
                match c {
                    '\n' => (*row, *column) = (*row + 1, 0),
                    '\r' => *column = 0,
                    c => {
                        // The last column wraps only once something follows it: indicatif fills lines and relies on this.
                        if *column == 100 {
                            (*row, *column) = (*row + 1, 0);
                        }
                        rows.resize(rows.len().max(*row + 1), Vec::new());
                        let cells = rows[*row].len().max(*column + 1);
                        rows[*row].resize(cells, ' ');
                        rows[*row][*column] = c;
                        *column += 1;
                    }
                }
            }
        }

        fn text(&self) -> String {
            let lines: Vec<_> =
                self.0.lock().unwrap().rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect();
            lines.join("\n").trim_end().to_owned()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }

        fn height(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row -= n;
            Ok(())
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().row += n;
            Ok(())
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.0.lock().unwrap().column += n;
            Ok(())
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            let mut screen = self.0.lock().unwrap();
            screen.column = screen.column.saturating_sub(n);
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(text);
            self.put("\n");
            Ok(())
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            let mut screen = self.0.lock().unwrap();
            let row = screen.row;
            if let Some(cells) = screen.rows.get_mut(row) {
                cells.clear();
            }
            screen.column = 0;
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.put(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_screen_ends_with_what_happened_and_the_recap_and_no_trace_of_what_ran() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255);
        let mut live = Live::on(sample::words(Tongue::PtBr), target, Box::new(|| 100), Box::new(screen.clone()));
        let mut seen_running = false;
        for (at, update) in sample::failing() {
            live.show(at, &update);
            live.tick(at);
            seen_running |= screen.text().contains("⠙ backup") || screen.text().contains("⠹ backup");
        }
        assert!(seen_running, "the running step was never drawn");
        live.finish(sample::at(10_000), &sample::recap(Ending::Settled(Outcome::Compensated)));
        insta::assert_snapshot!(screen.text());
    }

    #[test]
    fn what_happens_is_printed_above_and_what_is_printed_is_not() {
        let mut canvas = Canvas::new(sample::words(Tongue::En));
        let above: Vec<_> = sample::failing().iter().flat_map(|(at, update)| canvas.show(*at, update)).collect();
        assert!(above.iter().any(|line| line.contains("✔ backup")), "{above:#?}");
        assert!(!above.iter().any(|line| line.contains("collected 3 items")), "{above:#?}");
    }
}
