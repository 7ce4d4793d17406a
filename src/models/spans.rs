//! What a run did, on the clock: its records become spans of attempts, outages of the measured service, and gaps without a process.
//!
//! ```text
//!  stop    ▇▇▇▇                        an outage counts of each span what lies inside,
//!  update      ▇▇▇▇▇                   and beside them the time in which no step was live
//!  start               ▇▇▇▇▇▇
//!  outage    ░░░░░░░░░░░░░░░
//! ```
//!
//! The clock of the wall may be set back while a run goes on; time here never runs backwards.

use std::time::Duration;

use almaplan_engine::event::{Answer, Direction, Downtime, Event, Fact, Failure, Part, RunFact, ServiceState, StepId};
use almaplan_engine::journal::Record;
use almaplan_engine::plan::Plan;
use almaplan_engine::update::State;
use jiff::Timestamp;

/// What a run did, on the clock.
#[derive(Debug, Clone)]
pub struct History {
    /// From its first record to its last, or to now while it is running.
    pub whole: Stretch,
    /// Every attempt, in the order in which they began.
    pub spans: Vec<Span>,
    /// When the measured service did not answer.
    pub outages: Vec<Outage>,
    /// From the last record of a process to the one with which the next took the run over.
    pub gaps: Vec<Stretch>,
    /// When the pivot had succeeded.
    pub pivot: Option<Timestamp>,
}

/// An attempt of an action or of a compensation.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The step.
    pub step: StepId,
    /// Which of its work.
    pub direction: Direction,
    /// Which compensation of the list; counts from 0.
    pub part: usize,
    /// How often this same work began until then; 0 where it could not even begin.
    pub attempt: u32,
    /// When.
    pub time: Stretch,
    /// What came of it.
    pub state: State,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// A time in which the measured service did not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// From when it was last seen up to when it answered again.
    pub time: Stretch,
    /// Measured across processes (rule 15).
    pub approximate: bool,
    /// It answered again.
    pub over: bool,
    /// How long it lasted was told as the run was settled or left: that stands, whatever came after.
    pub told: bool,
}

/// What an outage consists of.
#[derive(Debug)]
pub struct During<'a> {
    /// Each attempt that ran in it, and the part of it that lies inside.
    pub parts: Vec<(&'a Span, Stretch)>,
    /// Seconds in which no process had the run.
    pub interrupted: f64,
    /// Seconds in which a process had it, and no step was live.
    pub idle: f64,
}

/// From one moment to another, which is not earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Stretch {
    /// How long it is.
    pub fn seconds(self) -> f64 {
        self.to.duration_since(self.from).as_secs_f64()
    }

    /// The part of it that lies inside `other`. What took no time at all is inside where its moment is.
    pub fn inside(self, other: Self) -> Option<Self> {
        let part = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        (part.from < part.to || part.from == part.to && self.from == self.to).then_some(part)
    }
}

impl Span {
    fn is_live(&self) -> bool {
        matches!(self.state, State::Started | State::UndoStarted)
    }
}

impl History {
    /// What `records` tell of a run of `plan`. `now`, where a process has it: what is live goes on until then.
    pub fn of(plan: &Plan, records: &[Record], now: Option<Timestamp>) -> Self {
        let begin = records.first().map_or(Timestamp::UNIX_EPOCH, |record| record.at);
        let whole = Stretch { from: begin, to: begin };
        let mut history = Self { whole, spans: Vec::new(), outages: Vec::new(), gaps: Vec::new(), pivot: None };
        for record in records {
            let at = record.at.max(history.whole.to);
            match &record.event {
                Event::Run(fact) => history.run_fact(at, fact),
                Event::Step(step, fact) => history.step_fact(plan, at, step, fact),
            }
            history.whole.to = at;
        }
        history.end(now);
        history
    }

    fn run_fact(&mut self, at: Timestamp, fact: &RunFact) {
        match fact {
            RunFact::Resumed { .. } => {
                self.lose_sight();
                self.gaps.push(Stretch { from: self.whole.to, to: at });
            }
            RunFact::Unreachable => {
                self.outages.push(Outage { time: Stretch { from: at, to: at }, approximate: false, over: false, told: false })
            }
            RunFact::Reachable(downtime) => {
                // It was measured from when the service was last seen up, a moment before that was on record.
                self.outages.pop_if(|outage| !outage.over);
                let from = self.before(at, *downtime);
                self.outages.push(Outage { time: Stretch { from, to: at }, approximate: downtime.approximate, over: true, told: true });
            }
            RunFact::Asked(ServiceState { outage: Some(so_far), .. }) => {
                let from = self.before(at, *so_far);
                if let Some(outage) = self.outages.last_mut().filter(|outage| !outage.over) {
                    *outage = Outage { time: Stretch { from, to: at }, approximate: so_far.approximate, over: false, told: true };
                }
            }
            RunFact::Asked(_) => {}
            RunFact::Opened(_) | RunFact::Rebooted { .. } | RunFact::Aborted { .. } | RunFact::Settled(_) => {}
        }
    }

    /// When an outage began that lasted so long at `at`.
    fn before(&self, at: Timestamp, lasted: Downtime) -> Timestamp {
        at.checked_sub(Duration::from_millis(lasted.ms)).unwrap_or(self.whole.from).max(self.whole.from)
    }

    fn step_fact(&mut self, plan: &Plan, at: Timestamp, step: &StepId, fact: &Fact) {
        let is_finally = || plan.finally.iter().any(|finally| finally.id == *step);
        let is_pivot = || plan.steps.iter().any(|planned| planned.pivot && planned.id == *step);
        match fact {
            Fact::Started { attempt, .. } => {
                let direction = if is_finally() { Direction::Finally } else { Direction::Forward };
                self.begins(at, step, direction, 0, *attempt, State::Started);
            }
            Fact::UndoStarted { part, .. } => {
                // The journal counts the attempts of all compensations of a step together.
                let same = |span: &&Span| span.step == *step && span.direction == Direction::Undo && span.part == *part;
                let attempt = u32::try_from(self.spans.iter().filter(same).count() + 1).unwrap_or(u32::MAX);
                self.begins(at, step, Direction::Undo, *part, attempt, State::UndoStarted);
            }
            Fact::Succeeded(_) => self.ends(at, step, State::Succeeded, None),
            Fact::Lost { part: Part::Probe } => {}
            Fact::Unknown | Fact::Lost { .. } => self.ends(at, step, State::Unknown, None),
            Fact::Undone { .. } => self.ends(at, step, State::Undone, None),
            Fact::Failed(failure) => self.fails(at, step, if is_finally() { Direction::Finally } else { Direction::Forward }, 0, failure),
            Fact::UndoFailed { part, failure } => self.fails(at, step, Direction::Undo, *part, failure),
            Fact::Resolved(_) | Fact::Recorded { .. } | Fact::Spawned { .. } | Fact::Skipped | Fact::NotRun => {}
        }
        if matches!(fact, Fact::Succeeded(_) | Fact::Resolved(Answer::Done { .. })) && is_pivot() {
            self.pivot.get_or_insert(at);
        }
    }

    fn begins(&mut self, at: Timestamp, step: &StepId, direction: Direction, part: usize, attempt: u32, state: State) {
        let time = Stretch { from: at, to: at };
        self.spans.push(Span { step: step.clone(), direction, part, attempt, time, state, failure: None });
    }

    fn ends(&mut self, at: Timestamp, step: &StepId, state: State, failure: Option<&Failure>) {
        if let Some(span) = self.spans.iter_mut().rev().find(|span| span.is_live() && span.step == *step) {
            span.time.to = at;
            span.state = state;
            span.failure = failure.cloned();
        }
    }

    fn fails(&mut self, at: Timestamp, step: &StepId, direction: Direction, part: usize, failure: &Failure) {
        let (live, failed) =
            if direction == Direction::Undo { (State::UndoStarted, State::UndoFailed) } else { (State::Started, State::Failed) };
        // What cannot even begin, because its inputs cannot be made, has a reason too.
        if !self.spans.iter().any(|span| span.is_live() && span.step == *step) {
            self.begins(at, step, direction, part, 0, live);
        }
        self.ends(at, step, failed, Some(failure));
    }

    /// What is live has no verdict, and the last that is known of it is the last record.
    fn lose_sight(&mut self) {
        for span in self.spans.iter_mut().filter(|span| span.is_live()) {
            span.time.to = self.whole.to;
            span.state = State::Unknown;
        }
    }

    fn end(&mut self, now: Option<Timestamp>) {
        self.whole.to = now.map_or(self.whole.to, |now| now.max(self.whole.to));
        match now {
            Some(_) => self.spans.iter_mut().filter(|span| span.is_live()).for_each(|span| span.time.to = self.whole.to),
            None => self.lose_sight(),
        }
        let goes_on = |outage: &&mut Outage| !outage.over && (now.is_some() || !outage.told);
        self.outages.iter_mut().filter(goes_on).for_each(|outage| outage.time.to = self.whole.to);
    }

    /// What ran during `outage`.
    pub fn during(&self, outage: &Outage) -> During<'_> {
        let parts: Vec<_> = self.spans.iter().filter_map(|span| Some((span, span.time.inside(outage.time)?))).collect();
        let gaps: Vec<_> = self.gaps.iter().filter_map(|gap| gap.inside(outage.time)).collect();
        let known = parts.iter().map(|(_, inside)| *inside).chain(gaps.iter().copied());
        let idle = (outage.time.seconds() - covered(known)).max(0.0);
        During { interrupted: covered(gaps.into_iter()), idle, parts }
    }
}

/// The seconds that `stretches` cover together, each moment once.
fn covered(stretches: impl Iterator<Item = Stretch>) -> f64 {
    let mut stretches: Vec<_> = stretches.collect();
    stretches.sort_by_key(|stretch| stretch.from);
    let mut end = Timestamp::MIN;
    let news = stretches.into_iter().map(|stretch| {
        let new = Stretch { from: stretch.from.max(end), to: stretch.to };
        end = end.max(stretch.to);
        new.seconds().max(0.0)
    });
    news.sum()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{down, failed, plan, records, resumed, started, succeeded, undoing, undone, up};
    use super::*;
    use crate::view::sample::at;
    use almaplan_engine::event::HostId;

    fn history(events: impl IntoIterator<Item = (i64, Event)>) -> History {
        History::of(&plan(), &records(events), None)
    }

    fn ms(at: Timestamp) -> i64 {
        at.as_millisecond() - self::at(0).as_millisecond()
    }

    /// Each part of an outage, from and to, and the milliseconds that were interrupted and idle.
    fn told(history: &History, outage: usize) -> (Vec<(&str, i64, i64)>, f64, f64) {
        let during = history.during(&history.outages[outage]);
        let parts = during.parts.iter().map(|(span, inside)| (span.step.as_str(), ms(inside.from), ms(inside.to)));
        (parts.collect(), (during.interrupted * 1000.0).round(), (during.idle * 1000.0).round())
    }

    #[test]
    fn of_a_step_only_the_part_inside_an_outage_counts() {
        // Seen down a moment after it was last seen up: the measured time is what counts.
        let history = history([
            (0, started("stop", 1)),
            (1050, down()),
            (1500, succeeded("stop")),
            (1600, started("update", 1)),
            (4000, up(3000)),
            (5000, succeeded("update")),
            (5100, started("check", 1)),
            (5200, succeeded("check")),
        ]);
        let outage = history.outages[0];
        assert_eq!((ms(outage.time.from), ms(outage.time.to), outage.over), (1000, 4000, true));
        assert_eq!(told(&history, 0), (vec![("stop", 1000, 1500), ("update", 1600, 4000)], 0.0, 100.0));
        assert_eq!(history.pivot.map(ms), Some(5200));
    }

    #[test]
    fn what_ran_side_by_side_leaves_as_idle_only_when_none_did() {
        let history = history([
            (0, down()),
            (100, started("update", 1)),
            (100, started("tests", 1)),
            (300, succeeded("tests")),
            (600, succeeded("update")),
            (1000, up(1000)),
        ]);
        assert_eq!(told(&history, 0), (vec![("update", 100, 600), ("tests", 100, 300)], 0.0, 500.0));
    }

    #[test]
    fn each_outage_has_its_own_parts() {
        let history = history([
            (0, started("stop", 1)),
            (100, down()),
            (300, up(200)),
            (400, succeeded("stop")),
            (500, down()),
            (510, started("update", 1)),
            (520, failed("update")),
            (600, started("update", 2)),
            (700, up(200)),
        ]);
        assert_eq!(told(&history, 0), (vec![("stop", 100, 300)], 0.0, 0.0));
        assert_eq!(told(&history, 1), (vec![("update", 510, 520), ("update", 600, 700)], 0.0, 90.0));
        assert_eq!(history.spans.iter().map(|span| span.attempt).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn a_crash_leaves_a_gap_and_an_attempt_without_an_end() {
        let history = history([
            (0, started("stop", 1)),
            (100, down()),
            (200, resumed()),
            (300, started("stop", 2)),
            (400, succeeded("stop")),
            (500, up(400)),
        ]);
        assert_eq!(told(&history, 0), (vec![("stop", 300, 400)], 100.0, 200.0));
        let states: Vec<_> = history.spans.iter().map(|span| (span.state, ms(span.time.to))).collect();
        assert_eq!(states, [(State::Unknown, 100), (State::Succeeded, 400)]);
        assert_eq!(history.gaps.iter().map(|gap| (ms(gap.from), ms(gap.to))).collect::<Vec<_>>(), [(100, 200)]);
    }

    #[test]
    fn an_outage_that_is_not_over_lasts_as_long_as_the_records_or_the_process() {
        let events = [(0, down()), (100, started("update", 1)), (400, started("tests", 1)), (500, succeeded("tests"))];
        let left = history(events.clone());
        assert_eq!((ms(left.outages[0].time.to), left.outages[0].over), (500, false));
        assert_eq!(left.spans[0].state, State::Unknown);
        let live = History::of(&plan(), &records(events), Some(at(900)));
        assert_eq!(told(&live, 0), (vec![("update", 100, 900), ("tests", 400, 500)], 0.0, 100.0));
        assert_eq!((live.spans[0].state, ms(live.whole.to)), (State::Started, 900));
    }

    #[test]
    fn a_compensation_is_work_of_its_own_and_what_cannot_begin_has_a_reason() {
        let history = history([
            (0, started("update", 1)),
            (10, failed("update")),
            (20, undoing("update")),
            (50, undone("update")),
            (60, failed("record")),
        ]);
        let spans = history.spans.iter().map(|span| (span.direction, span.state, span.attempt, span.failure.is_some()));
        assert_eq!(
            spans.collect::<Vec<_>>(),
            [
                (Direction::Forward, State::Failed, 1, true),
                (Direction::Undo, State::Undone, 1, false),
                (Direction::Finally, State::Failed, 0, true)
            ]
        );
    }

    #[test]
    fn the_attempts_of_each_compensation_of_a_step_are_counted_alone() {
        let undo = |fact| Event::Step(StepId::new("stop"), fact);
        let history = history([
            (0, undo(Fact::UndoStarted { part: 0, attempt: 1, host: HostId::local() })),
            (10, undo(Fact::Undone { part: 0 })),
            (10, undo(Fact::UndoStarted { part: 1, attempt: 2, host: HostId::local() })),
            (20, undo(Fact::UndoFailed { part: 1, failure: Failure::dirty("it is held") })),
            (30, undo(Fact::UndoStarted { part: 1, attempt: 3, host: HostId::local() })),
            (40, undo(Fact::Undone { part: 1 })),
        ]);
        let spans = history.spans.iter().map(|span| (span.part, span.attempt, span.state));
        assert_eq!(spans.collect::<Vec<_>>(), [(0, 1, State::Undone), (1, 1, State::UndoFailed), (1, 2, State::Undone)]);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_time_away() {
        let history =
            history([(1000, started("stop", 1)), (400, succeeded("stop")), (1200, started("update", 1)), (1300, succeeded("update"))]);
        assert_eq!(history.spans.iter().map(|span| ms(span.time.to)).collect::<Vec<_>>(), [1000, 1300]);
    }
}
