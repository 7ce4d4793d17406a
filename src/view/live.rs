//! On a terminal: finished steps above, in the order they finished; below them one line a running step, redrawn in place, and a
//! total.
//!
//! ```text
//!   ✔ Backup of the production folder          12.4 MB, 318 files      1.9 s
//!   ── down ────────────────────────────────────────────────────────────────
//!   ✔ The old version is stopped                                      600 ms
//!   ⠹ The new version starts                  waits for port 5000       4 s
//!   3 of 12 steps · service down for 4 s · 11 s
//! ```
//!
//! [`Canvas`] says what the lines are, and is tested without a terminal; [`Live`] draws them.

use std::collections::HashSet;

use almaplan_engine::event::{Direction, StepId};
use almaplan_engine::update::{Level, State, StepUpdate, Update};
use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};
use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::format::{Formatter, Style, glyph, sanitize};
use super::recap::Recap;
use super::running::{Running, RunningSteps, seconds};
use super::serving::short;
use super::summary::summary;
use super::titles::Titles;
use super::{Sink, View, lines, write_lines};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Below this many columns what a step came to and how long it took stand below its title.
const NARROW: usize = 60;

/// Columns of a time, as in `2 min 03 s`.
const TOOK: usize = 10;

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
    pub fn new(fmt: Formatter) -> Self {
        let term = Term::stdout();
        let target = ProgressDrawTarget::term(term.clone(), 15);
        let sized = term.clone();
        Self::on(fmt, target, Box::new(move || usize::from(sized.size().1)), Box::new(term))
    }

    /// Draws on `target`, `width()` columns wide; what stays goes to `out`, which writes to the same place.
    fn on(fmt: Formatter, target: ProgressDrawTarget, width: Box<dyn Fn() -> usize + Send>, out: Sink) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        Self { canvas: Canvas::new(fmt), out, width, multi, bars: IndexMap::new(), total: None }
    }

    /// A column is left free: terminals wrap on the last one.
    fn columns(&self) -> usize {
        (self.width)().saturating_sub(1).max(10)
    }

    fn redraw(&mut self, now: Timestamp) {
        let width = self.columns();
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
        let above = self.canvas.show(at, update, self.columns());
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

    fn pause(&mut self) {
        let _ = self.multi.clear();
    }

    fn finish(&mut self, _: Timestamp, recap: &Recap) {
        for bar in self.bars.values().chain(&self.total) {
            bar.finish_and_clear();
        }
        let _ = self.multi.clear();
        let lines = recap.lines(&self.canvas.wide(self.columns()));
        write_lines(&mut *self.out, lines);
    }
}

/// What there is to draw.
pub(super) struct Canvas {
    fmt: Formatter,
    running: RunningSteps,
    titles: Titles,
    frame: usize,
    steps: usize,
    done: HashSet<StepId>,
    undone: HashSet<StepId>,
    unwinding: bool,
    began: Option<Timestamp>,
    unreachable_since: Option<Timestamp>,
}

impl Canvas {
    pub(super) fn new(fmt: Formatter) -> Self {
        Self {
            fmt,
            running: RunningSteps::default(),
            titles: Titles::default(),
            frame: 0,
            steps: 0,
            done: HashSet::new(),
            undone: HashSet::new(),
            unwinding: false,
            began: None,
            unreachable_since: None,
        }
    }

    /// How things are written, `width` columns wide.
    fn wide(&self, width: usize) -> Formatter {
        Formatter { width: Some(width), ..self.fmt.clone() }
    }

    /// Folds one update; returns what belongs above the running steps, `width` columns wide.
    pub(super) fn show(&mut self, at: Timestamp, update: &Update, width: usize) -> Vec<String> {
        self.running.fold(&self.fmt, at, update);
        self.titles.fold(update);
        let above = self.above(at, update, &self.wide(width));
        match update {
            Update::Run { steps, .. } => {
                self.steps = *steps;
                self.began = Some(at);
            }
            Update::Step(step) if step.state == State::Undone => {
                self.undone.insert(step.step.clone());
            }
            Update::Step(step) if step.direction == Direction::Forward && matches!(step.state, State::Succeeded | State::Skipped) => {
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
        above
    }

    fn above(&self, at: Timestamp, update: &Update, fmt: &Formatter) -> Vec<String> {
        let lang = &fmt.lang;
        match update {
            Update::Run { run, plan, resumed, .. } => {
                let key = if *resumed { "screen-resumed" } else { "screen-run" };
                let head = fmt.paint(Style::Strong, lang.with(key, &[("plan", plan.into()), ("run", short(run).into())]));
                // A line of nothing at the end would not be drawn.
                [vec![String::new()], fmt.wrap("", "  ", &head), vec![" ".to_owned()]].concat()
            }
            Update::Step(step) => self.step_lines(step, fmt),
            Update::Note { step, level, message, words } => {
                let sign = match level {
                    Level::Info => fmt.paint(Style::Faint, "i"),
                    Level::Warning => fmt.paint(Style::Warning, "!"),
                    Level::Alert => fmt.paint(Style::Alarm, "!"),
                };
                told(fmt, &sign, &format!("{}: {}", self.titles.of(step), fmt.said(message, words.as_ref())))
            }
            Update::Unwinding { because, owes, changed, .. } => {
                band(fmt, Style::Alarm, &lines::unwinding(fmt, &self.titles, because.as_ref(), *owes, *changed))
            }
            Update::Live { answers: Some(false), .. } => band(fmt, Style::Bad, &lang.text("live-not-answering")),
            Update::Live { downtime, answers } => band(fmt, Style::Good, &lines::live(fmt, *downtime, *answers)),
            Update::Reachable(false) => band(fmt, Style::Bad, &lang.text("screen-down")),
            Update::Reachable(true) => {
                let down = self.unreachable_since.map(|since| fmt.duration(seconds(since, at)));
                let text = match down {
                    Some(down) => lang.with("screen-up-after", &[("duration", down.into())]),
                    None => lang.text("screen-up"),
                };
                band(fmt, Style::Good, &text)
            }
            Update::Stopping { grace_s } => {
                let text = lang.with("stopping", &[("grace", fmt.elapsed(*grace_s as f64).into())]);
                told(fmt, &fmt.paint(Style::Warning, "■"), &text)
            }
            Update::Progress { .. } | Update::Log { .. } | Update::Ended { .. } => Vec::new(),
        }
    }

    fn step_lines(&self, step: &StepUpdate, fmt: &Formatter) -> Vec<String> {
        let (sign, style) = lines::sign(step);
        let (sign, title) = (fmt.paint(style, sign), self.titles.of(&step.step));
        let took = step.seconds.map(|seconds| fmt.duration(seconds)).unwrap_or_default();
        match (step.state, &step.failure) {
            // What goes on is drawn below; what is switched off is nothing that happens; what will not be done, the end says.
            (State::Started | State::UndoStarted | State::NotRun, _) => Vec::new(),
            (State::Skipped, _) if !fmt.verbose => Vec::new(),
            (State::Succeeded, _) => {
                let came_to = step.outputs.as_ref().and_then(|outputs| summary(fmt, &step.uses, outputs)).unwrap_or_default();
                row(fmt, &sign, title, &came_to, &took)
            }
            (State::Undone, None) => row(fmt, &sign, title, &fmt.lang.text("state-undone"), &took),
            (_, None) => told(fmt, &sign, &format!("{title}: {}", lines::state_text(fmt, step))),
            (state, Some(failure)) => {
                let mut all = told(fmt, &sign, &format!("{title}: {}: {}", lines::state_text(fmt, step), fmt.failure(failure)));
                // Another attempt follows: its last lines would bury what happens.
                if !matches!(state, State::Retrying | State::UndoRetrying) {
                    let tail = failure.tail.iter().map(|line| sanitize(line));
                    all.extend(tail.flat_map(|line| fmt.wrap(&format!("    {} ", fmt.paint(Style::Bad, "│")), "      ", &line)));
                }
                all
            }
        }
    }

    /// One line a running step, none wider than `width` columns.
    pub(super) fn running_lines(&self, now: Timestamp, width: usize) -> Vec<(StepId, String)> {
        self.running.iter().map(|(step, running)| (step.clone(), self.running_line(step, running, now, width))).collect()
    }

    fn running_line(&self, step: &StepId, running: &Running, now: Timestamp, width: usize) -> String {
        let fmt = &self.fmt;
        let (sign, style) = match (running.waiting, running.direction) {
            (true, _) => glyph(State::Retrying),
            (false, Direction::Undo) => glyph(State::UndoStarted),
            (false, Direction::Forward | Direction::Finally) => (SPINNER[self.frame % SPINNER.len()], Style::Good),
        };
        let undoing = (running.direction == Direction::Undo).then(|| fmt.paint(Style::Undo, fmt.lang.text("undoing")));
        let attempt = (running.attempt > 1).then(|| fmt.lang.with("unit-attempt", &[("n", running.attempt.into())]));
        let last = running.last_line.as_ref().map(|line| fmt.paint(Style::Faint, line));
        let middle: Vec<_> = [undoing, attempt, running.progress(fmt), last].into_iter().flatten().collect();
        let took = fmt.elapsed(seconds(running.since, now));
        one_row(&fmt.paint(style, sign), self.titles.of(step), &middle.join("  "), &took, width)
    }

    /// How far all of it is.
    pub(super) fn total_line(&self, now: Timestamp, width: usize) -> String {
        let fmt = &self.fmt;
        let mut parts = vec![fmt.lang.with("total-done", &[("done", self.done.len().into()), ("steps", self.steps.into())])];
        if self.unwinding {
            parts.push(fmt.paint(Style::Undo, fmt.lang.with("total-undone", &[("n", self.undone.len().into())])));
        }
        if let Some(since) = self.unreachable_since {
            let down = fmt.elapsed(seconds(since, now));
            parts.push(fmt.paint(Style::Bad, fmt.lang.with("total-down", &[("duration", down.into())])));
        }
        if self.running.len() > 1 {
            parts.push(fmt.lang.with("total-running", &[("n", self.running.len().into())]));
        }
        if let Some(began) = self.began {
            parts.push(fmt.elapsed(seconds(began, now)));
        }
        truncate_str(&format!("  {}", parts.join(" · ")), width, "…").into_owned()
    }
}

/// A finished step: what it came to and how long it took at the right where there is room, else below.
fn row(fmt: &Formatter, sign: &str, title: &str, came_to: &str, took: &str) -> Vec<String> {
    let width = fmt.width.unwrap_or(usize::MAX);
    let room = width.saturating_sub(INDENT + TOOK);
    let fits = measure_text_width(title) + measure_text_width(came_to) + GAP <= room;
    if fits && width >= NARROW {
        return vec![one_row(sign, title, came_to, took, width)];
    }
    let below: Vec<_> = [came_to, took].into_iter().filter(|text| !text.is_empty()).collect();
    let mut all = fmt.wrap(&format!("  {sign} "), "    ", title);
    all.extend(fmt.wrap("    ", "    ", &fmt.paint(Style::Faint, below.join(" · "))));
    all
}

/// Columns before a title, and between it and what stands right of it.
const INDENT: usize = 4;
const GAP: usize = 2;

/// One line of `width` columns. What has no room is cut with `…`: first what stands in the middle, then the title.
fn one_row(sign: &str, title: &str, middle: &str, took: &str, width: usize) -> String {
    let room = width.saturating_sub(INDENT + TOOK);
    let title = truncate_str(title, room, "…");
    let middle = truncate_str(middle, room.saturating_sub(measure_text_width(&title) + GAP), "…");
    let left = pad_str(&title, room.saturating_sub(measure_text_width(&middle)), Alignment::Left, None);
    let line = format!("  {sign} {left}{middle}{}", pad_str(took, TOOK, Alignment::Right, None));
    truncate_str(&line, width, "…").into_owned()
}

/// What happened to a step, in words, after its sign.
fn told(fmt: &Formatter, sign: &str, text: &str) -> Vec<String> {
    let shown = sanitize(text);
    let mut lines = shown.lines();
    let mut all = fmt.wrap(&format!("  {sign} "), "    ", lines.next().unwrap_or_default());
    all.extend(lines.flat_map(|line| fmt.wrap("    ", "    ", line)));
    all
}

/// A line across the screen: what follows is another part of the run.
fn band(fmt: &Formatter, style: Style, text: &str) -> Vec<String> {
    let width = fmt.width.unwrap_or(NARROW);
    let lines = fmt.wrap("  ── ", "  ── ", text);
    let filled = |line: String| format!("{line} {}", "─".repeat(width.saturating_sub(measure_text_width(&line) + 1)));
    lines.into_iter().map(|line| fmt.paint(style, filled(line))).collect()
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
    use crate::lang::Language;
    use crate::view::sample;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut canvas = Canvas::new(Formatter { color: true, ..sample::fmt(Language::PtBr) });
        let mut drawn = 0;
        for (at, update) in sample::failing() {
            canvas.show(at, &update, 100);
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
        let mut canvas = Canvas::new(sample::fmt(Language::En));
        let mut seen = Vec::new();
        for (at, update) in sample::failing() {
            canvas.show(at, &update, 100);
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
        let mut live = Live::on(sample::fmt(Language::PtBr), target, Box::new(|| 100), Box::new(screen.clone()));
        let mut seen_running = false;
        for (at, update) in sample::failing() {
            live.show(at, &update);
            live.tick(at);
            seen_running |= screen.text().contains("⠙ Backup") || screen.text().contains("⠹ Backup");
        }
        assert!(seen_running, "the running step was never drawn");
        live.finish(sample::at(10_000), &sample::recap(Ending::Settled(Outcome::Compensated)));
        insta::assert_snapshot!(screen.text());
    }

    #[test]
    fn what_happens_is_printed_above_and_what_is_printed_is_not() {
        let mut canvas = Canvas::new(sample::fmt(Language::En));
        let above: Vec<_> = sample::failing().iter().flat_map(|(at, update)| canvas.show(*at, update, 100)).collect();
        assert!(above.iter().any(|line| line.contains("✔ Backup completo") && line.contains("12.4 MB, 318 files")), "{above:#?}");
        assert!(!above.iter().any(|line| line.contains("collected 3 items")), "{above:#?}");
    }
}
