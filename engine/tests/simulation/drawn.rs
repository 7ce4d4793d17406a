//! A plan, and how its work goes: drawn from a seed, and written down as the text of a plan.
//!
//! A step is known by its number: `s3` needs only steps with smaller numbers, wherever in the file it stands. What decides how work
//! goes is how often it ran, so that a crash does not change what becomes of it in the end.

use std::fmt::Write as _;

use almaplan_engine::event::{Effect, OnInterrupt};

use crate::dice::Dice;

/// A plan of numbered steps; the `finally` steps come after the others.
#[derive(Debug)]
pub struct Drawn {
    pub max_parallel: usize,
    pub steps: Vec<Step>,
    /// How many of them are not `finally` steps.
    pub forward: usize,
    /// The text of the plan.
    pub text: String,
    /// How a run ends does not depend on when it is interrupted.
    pub steady: bool,
    /// As bits: what a step needs, directly or not.
    pub ancestors: Vec<u64>,
    /// As bits: what needs a step, directly or not.
    pub descendants: Vec<u64>,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub needs: Vec<usize>,
    /// Of these, the one whose output it takes in.
    pub takes: Option<usize>,
    pub kind: DrawnKind,
    pub work: Work,
    pub on_interrupt: Option<OnInterrupt>,
    pub continues: bool,
    pub pivot: bool,
    pub irreversible: bool,
    pub probe: Option<Work>,
    pub compensations: Vec<Compensation>,
}

#[derive(Debug, Clone)]
pub struct Compensation {
    pub kind: DrawnKind,
    pub work: Work,
    pub continues: bool,
    /// The step whose output it takes in, beside those of its own.
    pub takes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawnKind {
    Plain,
    Asking,
    Brittle,
    Volatile,
    Looking,
}

/// One piece of work.
#[derive(Debug, Clone)]
pub struct Work {
    pub ms: u64,
    /// `when` is false.
    pub skipped: bool,
    /// Its inputs fit nothing.
    pub unfit: bool,
    pub attempts: u32,
    pub backoff_ms: u64,
    pub timeout_ms: Option<u64>,
    /// What goes wrong in so many of its first runs.
    pub flaw: Option<(u32, Flaw)>,
    pub heed: Heed,
    pub spawns: bool,
    pub records: bool,
    /// It waits for a person's answer.
    pub waits: bool,
}

/// How long work that was asked to stop may take.
pub const GRACE_MS: u64 = 1_000;

/// Whenever it is run.
pub const ALWAYS: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    Clean,
    Dirty,
    Panics,
    TimesOut,
}

/// What work does when it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heed {
    AtOnce,
    /// After so many milliseconds: more than the grace is too late.
    Late(u64),
    /// It goes on to its end.
    Finishes,
    /// Nothing, for ever.
    Never,
}

impl DrawnKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Asking => "asking",
            Self::Brittle => "brittle",
            Self::Volatile => "volatile",
            Self::Looking => "looking",
        }
    }

    pub fn effect(self) -> Effect {
        match self {
            Self::Plain | Self::Asking | Self::Brittle => Effect::Changes,
            Self::Volatile => Effect::Volatile,
            Self::Looking => Effect::Observes,
        }
    }

    fn on_interrupt(self) -> OnInterrupt {
        match self {
            Self::Asking => OnInterrupt::Ask,
            Self::Brittle => OnInterrupt::Compensate,
            Self::Plain | Self::Volatile | Self::Looking => OnInterrupt::Rerun,
        }
    }
}

impl Step {
    /// What an interruption of it means.
    pub fn on_interrupt(&self) -> OnInterrupt {
        self.on_interrupt.unwrap_or(self.kind.on_interrupt())
    }
}

impl Drawn {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let steady = dice.falls(60);
        let mut steps = draw_needs(&mut dice).into_iter().map(|needs| draw_step(needs, steady, &mut dice)).collect::<Vec<_>>();
        let forward = steps.len();
        draw_pivot(&mut steps, steady, &mut dice);
        draw_finally(&mut steps, &mut dice);
        let ancestors = ancestors(&steps);
        for i in 0..forward {
            draw_compensations(i, &mut steps, &ancestors, steady, &mut dice);
        }
        let descendants = (0..steps.len()).map(|i| bits(steps.len(), |other| ancestors[other] >> i & 1 == 1)).collect();
        let max_parallel = dice.pick(&[1, 2, 3, 4, 8]);
        let text = text(&steps, forward, max_parallel, dice.falls(30));
        Self { max_parallel, steps, forward, text, steady, ancestors, descendants }
    }

    pub fn is_finally(&self, i: usize) -> bool {
        i >= self.forward
    }

    pub fn name(&self, i: usize) -> String {
        name(i, self.forward)
    }

    /// The number of the step called `name`.
    pub fn number(&self, name: &str) -> usize {
        let (kind, number) = name.split_at(1);
        let number: usize = number.parse().unwrap();
        if kind == "f" { self.forward + number } else { number }
    }
}

/// The places of `0..count` that hold, as bits.
pub fn bits(count: usize, holds: impl Fn(usize) -> bool) -> u64 {
    (0..count).filter(|&i| holds(i)).fold(0, |bits, i| bits | 1 << i)
}

fn name(i: usize, forward: usize) -> String {
    if i < forward { format!("s{i}") } else { format!("f{}", i - forward) }
}

fn ancestors(steps: &[Step]) -> Vec<u64> {
    let mut ancestors = vec![0u64; steps.len()];
    for (i, step) in steps.iter().enumerate() {
        ancestors[i] = step.needs.iter().fold(0, |bits, &needed| bits | 1 << needed | ancestors[needed]);
    }
    ancestors
}

/// What each step needs: mostly few steps, in shapes that plans have.
fn draw_needs(dice: &mut Dice) -> Vec<Vec<usize>> {
    let count = match dice.roll(100) {
        0..50 => 1 + dice.place(6),
        50..78 => 7 + dice.place(8),
        78..90 => 15 + dice.place(10),
        _ => 25 + dice.place(16),
    };
    match dice.roll(6) {
        0 => (0..count).map(|i| Vec::from_iter(i.checked_sub(1))).collect(),
        1 => (0..count).map(|i| diamond(i).into_iter().collect()).collect(),
        2 => fan(count),
        3 => layers(count, dice),
        _ => {
            let percent = dice.pick(&[10, 25, 50]);
            (0..count).map(|i| (i.saturating_sub(8)..i).filter(|_| dice.falls(percent)).collect()).collect()
        }
    }
}

/// Diamonds, one after the other.
fn diamond(i: usize) -> Vec<usize> {
    match i % 4 {
        0 => Vec::from_iter(i.checked_sub(1)),
        1 => vec![i - 1],
        2 => vec![i - 2],
        _ => vec![i - 2, i - 1],
    }
}

/// One step, all the others, one that needs them all.
fn fan(count: usize) -> Vec<Vec<usize>> {
    let needs = |i: usize| match i {
        0 => vec![],
        _ if i + 1 == count && count > 2 => (1..i).collect(),
        _ => vec![0],
    };
    (0..count).map(needs).collect()
}

fn layers(count: usize, dice: &mut Dice) -> Vec<Vec<usize>> {
    let (mut before, mut layer) = (0..0, 0..1 + dice.place(5));
    let mut needs = Vec::new();
    for i in 0..count {
        if !layer.contains(&i) {
            (before, layer) = (layer, i..i + 1 + dice.place(5));
        }
        needs.push(before.clone().filter(|_| dice.falls(60)).collect());
    }
    needs
}

fn draw_step(needs: Vec<usize>, steady: bool, dice: &mut Dice) -> Step {
    let kind = match dice.roll(100) {
        0..45 => DrawnKind::Plain,
        45..60 => DrawnKind::Asking,
        60..65 if !steady => DrawnKind::Brittle,
        60..80 => DrawnKind::Volatile,
        _ => DrawnKind::Looking,
    };
    let answers = if steady { &[OnInterrupt::Rerun, OnInterrupt::Ask][..] } else { &[OnInterrupt::Ask, OnInterrupt::Compensate] };
    let on_interrupt = (dice.falls(10)).then(|| dice.pick(answers));
    let takes = (!needs.is_empty() && dice.falls(50)).then(|| dice.pick(&needs));
    let failing = dice.pick(&[0, 3, 12]);
    Step {
        needs,
        takes,
        kind,
        work: draw_work(failing, steady, dice),
        on_interrupt,
        continues: dice.falls(15),
        pivot: false,
        irreversible: false,
        probe: dice.falls(20).then(|| draw_probe(dice)),
        compensations: Vec::new(),
    }
}

/// Work that fails for good so many times out of a hundred, and now and then does not go well at first.
fn draw_work(failing: u64, steady: bool, dice: &mut Dice) -> Work {
    let attempts = dice.pick(&[1, 1, 2, 3]);
    let how = dice.pick(&[Flaw::Clean, Flaw::Dirty, Flaw::Dirty, Flaw::TimesOut, Flaw::Panics]);
    let flaw = match dice.roll(100) {
        roll if roll < failing => Some((ALWAYS, how)),
        // Without steadiness it may fail for good, and do better once it is tried again in another process.
        0..35 if !steady => Some((1 + dice.roll(3) as u32, how)),
        0..35 if attempts > 1 => Some((1 + dice.roll(u64::from(attempts) - 1) as u32, how)),
        _ => None,
    };
    let timed = flaw.is_some_and(|(_, how)| how == Flaw::TimesOut);
    // What hangs past its timeout interrupts the run: only once.
    let hangs = timed && flaw.is_some_and(|(runs, _)| runs == 1) && dice.falls(30);
    let heed = match dice.roll(100) {
        _ if hangs => Heed::Never,
        0..70 => Heed::AtOnce,
        70..80 => Heed::Late(1 + dice.roll(GRACE_MS - 100)),
        80..85 if !timed => Heed::Late(GRACE_MS + dice.roll(500)),
        85..97 if !timed => Heed::Finishes,
        97.. if !timed => Heed::Never,
        _ => Heed::AtOnce,
    };
    Work {
        ms: dice.roll(5) * 70,
        skipped: dice.falls(8),
        unfit: dice.falls(if failing > 0 { 1 } else { 0 }),
        attempts,
        backoff_ms: dice.pick(&[10, 70, 300]),
        timeout_ms: (timed || dice.falls(20)).then(|| 400 + dice.roll(3) * 100),
        flaw,
        heed,
        spawns: dice.falls(20),
        records: dice.falls(25),
        // An answer that comes too late must not decide how the run ends.
        waits: false,
    }
}

fn draw_probe(dice: &mut Dice) -> Work {
    let flaw = dice.falls(25).then(|| (dice.pick(&[1, ALWAYS]), Flaw::Panics));
    Work {
        skipped: false,
        unfit: false,
        attempts: 1,
        timeout_ms: None,
        flaw,
        heed: Heed::AtOnce,
        records: false,
        ..draw_work(0, true, dice)
    }
}

/// Rule 9: all that has a smaller number comes before the pivot, the rest after it.
fn draw_pivot(steps: &mut [Step], steady: bool, dice: &mut Dice) {
    if !dice.falls(40) {
        return;
    }
    let pivot = dice.place(steps.len());
    steps[pivot].pivot = true;
    steps[pivot].needs = (0..pivot).collect();
    for (i, step) in steps.iter_mut().enumerate().skip(pivot) {
        if i > pivot && !step.needs.contains(&pivot) {
            step.needs.push(pivot);
        }
        step.irreversible = dice.falls(25);
        if !steady && step.work.timeout_ms.is_none() {
            step.work.waits = dice.falls(10);
        }
    }
}

fn draw_finally(steps: &mut Vec<Step>, dice: &mut Dice) {
    let forward = steps.len();
    for _ in 0..dice.roll(3) {
        let needs = (forward..steps.len()).filter(|_| dice.falls(50)).collect();
        let mut step = draw_step(needs, true, dice);
        step.takes = Some(dice.place(forward));
        step.kind = dice.pick(&[DrawnKind::Plain, DrawnKind::Asking, DrawnKind::Looking]);
        (step.probe, step.on_interrupt, step.continues) = (None, None, false);
        steps.push(step);
    }
}

fn draw_compensations(i: usize, steps: &mut [Step], ancestors: &[u64], steady: bool, dice: &mut Dice) {
    if steps[i].kind == DrawnKind::Looking || steps[i].irreversible {
        return;
    }
    let before: Vec<usize> = (0..=i).filter(|&other| other == i || ancestors[i] >> other & 1 == 1).collect();
    let count = dice.pick(&[0, 1, 1, 1, 1, 2, 3]);
    let failing = dice.pick(&[0, 0, 10]);
    for _ in 0..count {
        let kind = dice.pick(&[DrawnKind::Plain, DrawnKind::Plain, DrawnKind::Volatile, DrawnKind::Looking]);
        let work = draw_work(failing, steady, dice);
        let compensation = Compensation { kind, work, continues: dice.falls(25), takes: dice.pick(&before) };
        steps[i].compensations.push(compensation);
    }
}

fn text(steps: &[Step], forward: usize, max_parallel: usize, backwards: bool) -> String {
    let mut text = format!("format = 1\n[plan]\nname = \"drawn\"\nmax_parallel = {max_parallel}\n");
    let mut order: Vec<usize> = (0..steps.len()).collect();
    if backwards {
        // The order of the file is not the order of the needs.
        order.reverse();
    }
    for i in order {
        write_step(i, &steps[i], forward, &mut text).unwrap();
    }
    text
}

fn write_step(i: usize, step: &Step, forward: usize, text: &mut String) -> std::fmt::Result {
    let table = if i < forward { "steps" } else { "finally" };
    let (name, kind) = (name(i, forward), step.kind.name());
    writeln!(text, "\n# {}\n[{table}.{name}]\nuses = \"{kind}\"", step.work.told())?;
    // What it takes an output of is needed without being named again.
    let named = step.needs.iter().filter(|&&needed| step.takes != Some(needed)).map(|&needed| self::name(needed, forward));
    writeln!(text, "needs = {:?}", named.collect::<Vec<_>>())?;
    write_work(&step.work, text)?;
    let sees = match step.takes {
        Some(other) if i < forward => format!("[\"{{{{ steps.s{other}.x }}}}\", \"{{{{ steps.s{other}.before }}}}\"]"),
        Some(other) => format!("[\"{{{{ run.outcome }}}}\", \"{{{{ steps.s{other}.x }}}}\"]"),
        None => "[]".to_owned(),
    };
    writeln!(text, "with = {{ sees = {sees}{} }}", unfit(&step.work))?;
    for (flag, holds) in [("pivot", step.pivot), ("irreversible", step.irreversible)] {
        if holds {
            writeln!(text, "{flag} = true")?;
        }
    }
    if step.continues {
        writeln!(text, "on_failure = \"continue\"")?;
    }
    if let Some(on_interrupt) = step.on_interrupt {
        writeln!(text, "on_interrupt = \"{}\"", format!("{on_interrupt:?}").to_lowercase())?;
    }
    if let Some(probe) = &step.probe {
        writeln!(text, "probe = {{ uses = \"probe\" }} # {}", probe.told())?;
    }
    if i < forward && step.compensations.is_empty() && !step.irreversible && step.kind != DrawnKind::Looking {
        writeln!(text, "compensate = \"none\"")?;
    }
    for (part, compensation) in step.compensations.iter().enumerate() {
        write_compensation(&name, part, compensation, text)?;
    }
    Ok(())
}

fn write_compensation(step: &str, part: usize, compensation: &Compensation, text: &mut String) -> std::fmt::Result {
    let Compensation { kind, work, continues, takes } = compensation;
    writeln!(text, "# {}\n[[steps.{step}.compensate]]\nuses = \"{}\"", work.told(), kind.name())?;
    write_work(work, text)?;
    if *continues {
        writeln!(text, "on_failure = \"continue\"")?;
    }
    let own = ["x", "before", "pid"].map(|name| format!("\"{{{{ steps.{step}.{name} }}}}\"")).join(", ");
    let sees = format!("[{own}, \"{{{{ steps.s{takes}.x }}}}\"]");
    writeln!(text, "with = {{ part = {part}, sees = {sees}{} }}", unfit(work))
}

fn write_work(work: &Work, text: &mut String) -> std::fmt::Result {
    writeln!(text, "retry = {{ attempts = {}, backoff = \"{}ms\" }}", work.attempts, work.backoff_ms)?;
    if let Some(ms) = work.timeout_ms {
        writeln!(text, "timeout = \"{ms}ms\"")?;
    }
    if work.skipped {
        writeln!(text, "when = \"false\"")?;
    }
    Ok(())
}

fn unfit(work: &Work) -> &'static str {
    if work.unfit { ", number = \"{{ run.id | upper }}\"" } else { "" }
}

impl Work {
    /// How it goes, for who reads the plan.
    fn told(&self) -> String {
        let mut told = format!("{} ms", self.ms);
        match self.flaw {
            Some((ALWAYS, how)) => write!(told, ", always {how:?}").unwrap(),
            Some((runs, how)) => write!(told, ", {runs}x {how:?}").unwrap(),
            None => {}
        }
        if self.heed != Heed::AtOnce {
            write!(told, ", stops {:?}", self.heed).unwrap();
        }
        for (what, holds) in [("spawns", self.spawns), ("records", self.records), ("waits for an answer", self.waits)] {
            if holds {
                write!(told, ", {what}").unwrap();
            }
        }
        told
    }
}
