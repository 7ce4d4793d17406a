//! A plan, how its work goes, and what interrupts it: all decided beforehand, decoded from bytes so that it shrinks.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Fails whenever it is tried.
pub const ALWAYS: u8 = u8::MAX;

#[derive(Debug, Clone)]
pub struct Scenario {
    pub shape: Shape,
    pub work: Vec<Work>,
    pub breaks: Vec<Break>,
    /// Which of several possible things happens next.
    pub choices: Vec<u8>,
    pub max_parallel: usize,
    /// Nobody answers questions.
    pub nobody_answers: bool,
    /// People do compensations by hand, and write them off, also before anything has failed.
    pub debts_are_answered: bool,
}

/// How the work of one step goes. What decides is how many verdicts were recorded, so that a crash does not change it.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub when_is_false: bool,
    pub unrenderable: bool,
    /// Of each attempt that gets as far as a verdict; later ones succeed.
    pub verdicts: Vec<Verdict>,
    pub undo: Vec<UndoWork>,
    pub kind_on_interrupt: Option<OnInterrupt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Succeeds,
    FailsClean,
    FailsDirty,
}

#[derive(Debug, Clone, Default)]
pub struct UndoWork {
    pub when_is_false: bool,
    pub unrenderable: bool,
    /// How many attempts fail, or [`ALWAYS`].
    pub failures: u8,
}

/// Something that ends the process after that many further appends.
#[derive(Debug, Clone, Copy)]
pub struct Break {
    pub after: u8,
    pub how: Interruption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    Crash,
    /// A crash of the whole machine.
    Reboot,
    /// Ctrl-C: live work ends first.
    Stop,
    /// The process ends and the next one is `abort`.
    Abort,
    /// Whoever does one of the live works is gone without a word.
    Lose,
}

/// What a scenario may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Also what depends on who is faster, or on a person: questions, aborts, compensations that fail for good.
    pub everything: bool,
}

/// Random scenarios; few bytes are simple ones.
pub fn scenarios(bounds: Bounds) -> impl Strategy<Value = Scenario> {
    (vec(any::<u8>(), 0..160), vec(any::<u8>(), 0..120), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..80)).prop_map(
        move |(shape, work, breaks, choices)| {
            let (shape, kinds) = decode_shape(&mut Bytes::new(shape), bounds);
            let mut bytes = Bytes::new(work);
            let max_parallel = 4 - usize::from(bytes.below(4));
            let nobody_answers = bounds.everything && bytes.one_in(4);
            let debts_are_answered = bounds.everything && bytes.one_in(4);
            let work = shape.steps.iter().zip(kinds).map(|(step, kind)| decode_work(&mut bytes, step, kind, bounds)).collect();
            let breaks = decode_breaks(&mut Bytes::new(breaks), bounds);
            Scenario { shape, work, breaks, choices, max_parallel, nobody_answers, debts_are_answered }
        },
    )
}

/// Bytes that stand for decisions; when they are used up, all is 0.
struct Bytes {
    bytes: std::vec::IntoIter<u8>,
}

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_iter() }
    }

    fn below(&mut self, end: u8) -> u8 {
        self.bytes.next().unwrap_or(0) % end
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.below(count) == count - 1
    }
}

fn decode_shape(bytes: &mut Bytes, bounds: Bounds) -> (Shape, Vec<Option<OnInterrupt>>) {
    let count = 1 + usize::from(bytes.below(6));
    let pivot = bytes.one_in(2).then(|| usize::from(bytes.below(count as u8)));
    let backwards = bytes.one_in(3);
    let finally = usize::from(bytes.below(3));
    let density = 2 + bytes.below(3);
    let (mut steps, mut kinds) = (Vec::new(), Vec::new());
    for i in 0..count {
        let needs = (0..i).filter(|&earlier| pivot.is_some_and(|pivot| pivot == i || pivot == earlier) || bytes.one_in(density)).collect();
        let (step, kind) = decode_step(bytes, needs, pivot.map(|pivot| i.cmp(&pivot)), bounds);
        steps.push(step);
        kinds.push(kind);
    }
    if backwards {
        // The order of the file is not the order of the needs.
        steps.reverse();
        kinds.reverse();
        steps.iter_mut().flat_map(|step| &mut step.needs).for_each(|needed| *needed = count - 1 - *needed);
    }
    for i in 0..finally {
        let needs = if i > 0 && bytes.one_in(2) { vec![count + i - 1] } else { vec![] };
        steps.push(StepShape { finally: true, compensations: vec![], attempts: 1 + u32::from(bytes.below(2)), ..step(&needs) });
        kinds.push(Some(OnInterrupt::Rerun));
    }
    (shape(steps), kinds)
}

fn decode_step(
    bytes: &mut Bytes,
    needs: Vec<Index>,
    beside_pivot: Option<std::cmp::Ordering>,
    bounds: Bounds,
) -> (StepShape, Option<OnInterrupt>) {
    let on_interrupt = |bytes: &mut Bytes| match bytes.below(8) {
        3 | 4 if bounds.everything => OnInterrupt::Ask,
        5 if bounds.everything => OnInterrupt::Compensate,
        _ => OnInterrupt::Rerun,
    };
    let kind = on_interrupt(bytes);
    let effect = |bytes: &mut Bytes| [Effect::Changes, Effect::Changes, Effect::Volatile, Effect::Observes][usize::from(bytes.below(4))];
    let step = StepShape {
        attempts: 1 + u32::from(bytes.below(3)),
        continue_on_failure: bytes.one_in(6),
        on_interrupt: bytes.one_in(4).then(|| on_interrupt(bytes)),
        probe: bytes.one_in(4),
        pivot: beside_pivot.is_some_and(|order| order.is_eq()),
        irreversible: beside_pivot.is_some_and(|order| order.is_ge()) && bytes.one_in(4),
        effect: effect(bytes),
        ..step(&needs)
    };
    let count = [1, 1, 2, 3, 0][usize::from(bytes.below(5))];
    let compensations = (0..count).map(|_| CompensationShape {
        attempts: 1 + u32::from(bytes.below(2)),
        continue_on_failure: bounds.everything && bytes.one_in(4),
        effect: effect(bytes),
    });
    let compensations = compensations.collect();
    (StepShape { compensations, ..step }, Some(kind))
}

fn decode_work(bytes: &mut Bytes, step: &StepShape, kind_on_interrupt: Option<OnInterrupt>, bounds: Bounds) -> Work {
    let count = bytes.below(4);
    let mut verdicts = Vec::new();
    for _ in 0..count {
        let verdict = match bytes.below(5) {
            0 | 1 if bounds.everything => Verdict::Succeeds,
            // Who succeeded once succeeds again: else the outcome would depend on whether a reboot came between.
            0 | 1 => break,
            2 | 3 => Verdict::FailsClean,
            _ => Verdict::FailsDirty,
        };
        verdicts.push(verdict);
    }
    let undo = step.compensations.iter().map(|compensation| UndoWork {
        when_is_false: bytes.one_in(8),
        unrenderable: bounds.everything && bytes.one_in(16),
        failures: match bytes.below(8) {
            3 => compensation.attempts as u8 - 1,
            4 if bounds.everything => compensation.attempts as u8,
            5 if bounds.everything => ALWAYS,
            _ => 0,
        },
    });
    let undo = undo.collect();
    Work { when_is_false: bytes.one_in(8), unrenderable: bytes.one_in(16), verdicts, undo, kind_on_interrupt }
}

fn decode_breaks(bytes: &mut Bytes, bounds: Bounds) -> Vec<Break> {
    let count = bytes.below(5);
    let decode = |_| {
        let how = match bytes.below(8) {
            0 | 1 => Interruption::Crash,
            2 => Interruption::Stop,
            3 | 4 => Interruption::Reboot,
            5 | 6 => Interruption::Lose,
            _ if bounds.everything => Interruption::Abort,
            _ => Interruption::Crash,
        };
        // Often soon, so that what recovers is interrupted as well.
        let after = if bytes.one_in(2) { bytes.below(4) } else { bytes.below(24) };
        Break { after, how }
    };
    (0..count).map(decode).collect()
}
