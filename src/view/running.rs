//! What is live right now, folded from updates: for views that show it while nothing is said.

use std::collections::{BTreeMap, HashMap, VecDeque};

use almaplan_engine::event::{Direction, StepId};
use almaplan_engine::update::{State, Unit, Update};
use jiff::Timestamp;

use super::first_line;
use super::format::Formatter;

/// The steps that are live, in the order they began. One that ends costs the same however many are left.
#[derive(Debug, Default)]
pub(super) struct RunningSteps {
    in_order: BTreeMap<usize, (StepId, Running)>,
    places: HashMap<StepId, usize>,
    begun: usize,
}

/// A live step.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) direction: Direction,
    pub(super) attempt: u32,
    /// When this attempt began.
    pub(super) since: Timestamp,
    /// When something of it was last shown.
    pub(super) last_said: Timestamp,
    pub(super) last_line: Option<String>,
    /// An attempt failed, and the next has not begun.
    pub(super) waiting: bool,
    progress: Option<(u64, Option<u64>, Unit)>,
    // When how much was done, oldest first: the rate is what these few seconds say.
    samples: VecDeque<(Timestamp, u64)>,
}

const RATE_WINDOW_S: f64 = 5.0;
const SAMPLE_S: f64 = 0.25;

impl RunningSteps {
    /// Folds one update.
    pub(super) fn fold(&mut self, fmt: &Formatter, at: Timestamp, update: &Update) {
        match update {
            Update::Step(step) => match step.state {
                State::Started | State::UndoStarted => {
                    self.insert(&step.step, Running::new(at, step.direction, step.attempt));
                }
                State::Retrying | State::UndoRetrying => {
                    if let Some(running) = self.get_mut(&step.step) {
                        running.waiting = true;
                        running.last_said = at;
                        running.progress = None;
                        running.last_line = step.failure.as_ref().map(|failure| first_line(fmt, failure));
                    }
                }
                State::Succeeded | State::Failed | State::Skipped | State::NotRun | State::Unknown | State::Undone | State::UndoFailed => {
                    self.remove(&step.step);
                }
            },
            Update::Progress { step, done, total, unit } => {
                if let Some(running) = self.get_mut(step) {
                    running.progressed(at, *done, *total, *unit);
                }
            }
            Update::Log { step, line, .. } => {
                if let Some(running) = self.get_mut(step) {
                    running.last_said = at;
                    let line = super::format::sanitize(line);
                    if !line.trim().is_empty() {
                        running.last_line = Some(line.trim_end().to_owned());
                    }
                }
            }
            Update::Note { step, .. } => {
                if let Some(running) = self.get_mut(step) {
                    running.last_said = at;
                }
            }
            Update::Run { .. }
            | Update::Unwinding { .. }
            | Update::Live { .. }
            | Update::Reachable(_)
            | Update::Stopping { .. }
            | Update::Ended { .. } => {}
        }
    }

    fn get_mut(&mut self, step: &StepId) -> Option<&mut Running> {
        self.in_order.get_mut(self.places.get(step)?).map(|(_, running)| running)
    }

    /// A step that tries again keeps its place.
    fn insert(&mut self, step: &StepId, running: Running) {
        self.begun += 1;
        let place = *self.places.entry(step.clone()).or_insert(self.begun);
        self.in_order.insert(place, (step.clone(), running));
    }

    fn remove(&mut self, step: &StepId) {
        if let Some(place) = self.places.remove(step) {
            self.in_order.remove(&place);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&StepId, &Running)> {
        self.in_order.values().map(|(step, running)| (step, running))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&StepId, &mut Running)> {
        self.in_order.values_mut().map(|(step, running)| (&*step, running))
    }

    pub(super) fn len(&self) -> usize {
        self.in_order.len()
    }

    pub(super) fn contains(&self, step: &StepId) -> bool {
        self.places.contains_key(step)
    }
}

impl Running {
    fn new(at: Timestamp, direction: Direction, attempt: u32) -> Self {
        let samples = VecDeque::new();
        Self { direction, attempt, since: at, last_said: at, last_line: None, waiting: false, progress: None, samples }
    }

    fn progressed(&mut self, at: Timestamp, done: u64, total: Option<u64>, unit: Unit) {
        self.progress = Some((done, total, unit));
        if self.samples.back().is_some_and(|(_, before)| *before > done) {
            // Something new is counted.
            self.samples.clear();
        }
        if self.samples.back().is_none_or(|(last, _)| seconds(*last, at) >= SAMPLE_S) {
            self.samples.push_back((at, done));
        }
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(first, _)| seconds(*first, at) > RATE_WINDOW_S) {
            self.samples.pop_front();
        }
    }

    /// How far it is, and how fast, where it says so.
    pub(super) fn progress(&self, fmt: &Formatter) -> Option<String> {
        let (done, total, unit) = self.progress?;
        let amount = fmt.amount(done, total, unit);
        Some(match self.rate() {
            Some(rate) if unit == Unit::Bytes => format!("{amount}  {}/s", fmt.bytes(rate as u64)),
            _ => amount,
        })
    }

    fn rate(&self) -> Option<f64> {
        let ((first, from), (last, to)) = (self.samples.front()?, self.samples.back()?);
        let elapsed = seconds(*first, *last);
        (elapsed > 0.0).then(|| to.saturating_sub(*from) as f64 / elapsed)
    }
}

/// Seconds from `from` to `to`; 0 where the clock was set back.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
