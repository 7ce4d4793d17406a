//! Many seeds on all cores, or one told event by event.

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal, Write as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use almaplan_engine::event::Outcome;
use almaplan_engine::journal::Record;
use almaplan_engine::registry::Registry;

use crate::args::NAME;
use crate::dice::Dice;
use crate::rules::Checked;
use crate::run::{self, Case, Manner, Played};

/// Of so many seeds one is run twice, and must give the same events.
const TWICE_EVERY: u64 = 20;
/// A seed that takes longer hangs.
const HANGS: Duration = Duration::from_secs(120);

/// What was seen.
#[derive(Default)]
struct Figures {
    seeds: u64,
    runs: u64,
    crashes: u64,
    events: u64,
    twice: u64,
    large: u64,
    combinations: HashSet<u64>,
    endings: BTreeMap<&'static str, u64>,
}

/// A seed one of whose runs broke a rule.
struct Broken {
    seed: u64,
    why: String,
}

/// Where the threads meet.
struct Work {
    seeds: Range<u64>,
    next: AtomicU64,
    stop: AtomicBool,
    broken: Mutex<Option<Broken>>,
    /// Of each thread: the seed it is at, and since when.
    at: Vec<Mutex<(u64, Instant)>>,
}

/// Runs all these seeds, and says what was seen.
pub fn run(seeds: Range<u64>) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let at = (0..threads).map(|_| Mutex::new((seeds.start, Instant::now()))).collect();
    let work = Work { next: AtomicU64::new(seeds.start), seeds, stop: AtomicBool::new(false), broken: Mutex::default(), at };
    println!("\nrunning 1 test, on the seeds from {} to {}", work.seeds.start, work.seeds.end);
    let began = Instant::now();
    let figures = all(&work, began);
    let broken = work.broken.into_inner().unwrap();
    let lacks = figures.lacks();
    let ok = if broken.is_none() && lacks.is_empty() { "ok" } else { "FAILED" };
    println!("test {NAME} ... {ok}\n");
    if let Some(Broken { seed, why }) = &broken {
        println!("seed {seed}: {why}\n");
        tell(*seed);
    } else if !lacks.is_empty() {
        println!("too little was seen of: {}\n", lacks.join(", "));
    }
    println!("test result: {ok}. {} in {:.1} s", figures.told(), began.elapsed().as_secs_f64());
    if ok == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(work: &Work, began: Instant) -> Figures {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..work.at.len()).map(|thread| scope.spawn(move || works(work, thread))).collect();
        watch(work, began, || workers.iter().all(|worker| worker.is_finished()));
        workers.into_iter().map(|worker| worker.join().unwrap()).reduce(Figures::and).unwrap_or_default()
    })
}

/// One thread: takes seed after seed.
fn works(work: &Work, thread: usize) -> Figures {
    let registry = run::registry();
    let mut figures = Figures::default();
    while !work.stop.load(Ordering::Relaxed) {
        let seed = work.next.fetch_add(1, Ordering::Relaxed);
        if seed >= work.seeds.end {
            break;
        }
        *work.at[thread].lock().unwrap() = (seed, Instant::now());
        let checked = catch_unwind(AssertUnwindSafe(|| keeps_the_rules(seed, &registry, &mut figures)));
        if let Err(why) = checked.unwrap_or_else(|_| Err(crate::last_panic())) {
            work.stop.store(true, Ordering::Relaxed);
            let mut broken = work.broken.lock().unwrap();
            if broken.as_ref().is_none_or(|other| seed < other.seed) {
                *broken = Some(Broken { seed, why });
            }
        }
    }
    figures
}

/// Shows how far it is, and ends a program that hangs: no paused time helps there.
fn watch(work: &Work, began: Instant, over: impl Fn() -> bool) {
    let mut shown = Instant::now();
    while !over() {
        std::thread::sleep(Duration::from_millis(20));
        if let Some((seed, _)) = work.at.iter().map(|at| *at.lock().unwrap()).find(|(_, since)| since.elapsed() > HANGS)
            && !over()
        {
            println!("seed {seed} hangs");
            std::process::exit(1);
        }
        let (every, end) = if std::io::stderr().is_terminal() { (1, '\r') } else { (30, '\n') };
        if shown.elapsed().as_secs() >= every {
            shown = Instant::now();
            let _ = write!(std::io::stderr(), "{}{end}", work.progress(began.elapsed()));
        }
    }
}

impl Work {
    fn progress(&self, time: Duration) -> String {
        let done = self.next.load(Ordering::Relaxed).min(self.seeds.end) - self.seeds.start;
        let all = self.seeds.end - self.seeds.start;
        format!("{done} of {all} seeds, {:.0} a second", done as f64 / time.as_secs_f64())
    }
}

/// A seed is a plan and a run of it in which anything may happen; where its end does not depend on that, also a calm run, and one that is
/// crashed and must come to the same.
fn keeps_the_rules(seed: u64, registry: &Arc<Registry>, figures: &mut Figures) -> Checked {
    let case = Case::new(seed, registry);
    if case.drawn.steady {
        let calm = plays(&case, seed, 0, Manner::Calm, figures)?;
        let append = 1 + Dice::new(seed, 2).roll(calm.appends);
        let crashed = plays(&case, seed, 1, Manner::Crashed(append), figures)?;
        are_alike(&calm, &crashed)?;
    }
    let free = plays(&case, seed, 2, Manner::Free, figures)?;
    if seed.is_multiple_of(TWICE_EVERY) {
        let again = plays(&case, seed, 2, Manner::Free, &mut Figures::default())?;
        goes_the_same_way(&free, &again)?;
        figures.twice += 1;
    }
    figures.seeds += 1;
    figures.large += u64::from(case.drawn.forward >= 20);
    Ok(())
}

fn plays(case: &Case, seed: u64, which: u64, manner: Manner, figures: &mut Figures) -> Result<Played, String> {
    let (played, checked) = case.play(Dice::new(seed, 100 + which), manner, false);
    checked.map_err(|why| format!("{manner:?}: {why}"))?;
    figures.takes_in(&played);
    Ok(played)
}

/// Crashed and resumed is the same as not crashed: it unwinds or it does not, and where it does not, the same work is done.
fn are_alike(calm: &Played, crashed: &Played) -> Checked {
    let unwound = |played: &Played| matches!(played.outcome, Some(Outcome::Compensated | Outcome::Stuck));
    if unwound(calm) != unwound(crashed) {
        return Err(format!("crashed it is {:?}, uncrashed {:?}", crashed.outcome, calm.outcome));
    }
    if unwound(calm) {
        // That all is made up for is what the rules say of each.
        return Ok(());
    }
    if calm.outcome != crashed.outcome {
        return Err(format!("crashed it is {:?}, uncrashed {:?}", crashed.outcome, calm.outcome));
    }
    let present = |played: &Played| played.scene.ground.steps.iter().map(|traces| traces.present.is_some()).collect::<Vec<_>>();
    if present(calm) != present(crashed) {
        return Err(format!("crashed it leaves {:?}, uncrashed {:?}", present(crashed), present(calm)));
    }
    Ok(())
}

/// The events of two runs as a journal keeps them, byte by byte.
fn goes_the_same_way(one: &Played, other: &Played) -> Checked {
    let events = |played: &Played| -> Vec<String> {
        let body = |record: &Record| serde_json::to_string(&record.event).unwrap();
        played.scene.records.iter().map(body).collect()
    };
    let (one, other) = (events(one), events(other));
    let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    match (one.get(same), other.get(same)) {
        (None, None) => Ok(()),
        (one, other) => Err(format!("event {} of the same seed is {one:?} once and {other:?} again", same + 1)),
    }
}

/// One seed, told event by event.
pub fn tell(seed: u64) -> ExitCode {
    let case = Case::new(seed, &run::registry());
    println!("{}", case.drawn.text);
    let mut checked = Ok(());
    if case.drawn.steady {
        let (calm, of_calm) = told_of(&case, seed, 0, Manner::Calm);
        let append = 1 + Dice::new(seed, 2).roll(calm.appends.max(1));
        let (crashed, of_crashed) = told_of(&case, seed, 1, Manner::Crashed(append));
        checked = of_calm.and(of_crashed).and_then(|()| are_alike(&calm, &crashed));
    }
    let (_, of_free) = told_of(&case, seed, 2, Manner::Free);
    match checked.and(of_free) {
        Ok(()) => {
            println!("seed {seed}: ok");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn told_of(case: &Case, seed: u64, which: u64, manner: Manner) -> (Played, Checked) {
    let (played, checked) = case.play(Dice::new(seed, 100 + which), manner, true);
    println!("==== {manner:?}");
    played.scene.log.iter().flatten().for_each(|line| println!("{line}"));
    println!("==== {:?} after {} crashes, {checked:?}\n", played.outcome, played.crashes);
    (played, checked)
}

impl Figures {
    fn takes_in(&mut self, played: &Played) {
        self.runs += 1;
        self.crashes += u64::from(played.crashes);
        self.events += played.scene.records.len() as u64;
        self.combinations.extend(&played.scene.seen);
        *self.endings.entry(played.outcome.map_or("resting", Outcome::as_str)).or_default() += 1;
    }

    fn and(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.events += other.events;
        self.twice += other.twice;
        self.large += other.large;
        self.combinations.extend(other.combinations);
        for (ending, count) in other.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        self
    }

    /// What so many seeds must have come by, else the simulation proves less than it seems to.
    fn lacks(&self) -> Vec<&'static str> {
        if self.seeds < 1_000 {
            return Vec::new();
        }
        let seen = |ending: &str, percent| self.endings.get(ending).is_some_and(|&count| count * 100 >= self.runs * percent);
        let endings = [("succeeded", 10), ("warned", 2), ("compensated", 10), ("stuck", 2), ("resting", 0)];
        let rare = endings.into_iter().filter(|&(ending, percent)| !seen(ending, percent)).map(|(ending, _)| ending);
        let others = [("crashes", self.crashes >= self.seeds), ("large plans", self.large * 10 >= self.seeds)];
        rare.chain(others.into_iter().filter(|(_, enough)| !enough).map(|(what, _)| what)).collect()
    }

    fn told(&self) -> String {
        let endings: Vec<_> = self.endings.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
        format!(
            "{} seeds ({} of 20 steps or more, {} run twice with the same events), {} runs ({}), {} events, {} crashes, {} distinct state \
             combinations (after an event: how many steps are in each phase, and whether the run unwinds, passed its pivot, is settled)",
            self.seeds,
            self.large,
            self.twice,
            self.runs,
            endings.join(", "),
            self.events,
            self.crashes,
            self.combinations.len(),
        )
    }
}
