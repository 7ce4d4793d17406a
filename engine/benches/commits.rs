//! Runs whose journal is on the disk, against as many commits of a bare SQLite database, in turns, so that a busy machine is unfair to
//! both.  cargo bench -p almaplan-engine --bench commits
//!
//! Two databases are the measure: one commits a small row, as often as the run did; the other all the rows that the run committed.

mod ground;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use almaplan_engine::event::{Event, RunId};
use almaplan_engine::journal::{Demand, Journal, JournalError};
use almaplan_engine::plan::Plan;
use almaplan_engine::sqlite::Store;
use almaplan_engine::update::Ending;
use ground::Form;
use rusqlite::{Connection, params};

const ROUNDS: usize = 9;

fn main() {
    // As a test it only has to be there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{ROUNDS} rounds; times are the median's, ratios are min / median / max");
    println!("{:<22}{:>9}{:>11}{:>12}{:>26}{:>26}", "run", "commits", "ms", "µs a step", "to bare commits", "to bare commits, all rows");
    for (name, form, steps) in [
        ("chain of 10", Form::Chain, 10),
        ("chain of 1,000", Form::Chain, 1_000),
        ("fan-out of 1,000", Form::FanOut, 1_000),
        ("diamond of 1,000", Form::Diamond, 1_000),
        ("fan-out of 100,000", Form::FanOut, 100_000),
        ("diamond of 100,000", Form::Diamond, 100_000),
    ] {
        compare(name, &form.plan(steps), steps);
    }
}

fn compare(name: &str, plan: &Arc<Plan>, steps: usize) {
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let (time, batches) = run(plan);
            let bare = commit(batches.iter().map(|_| 1));
            let rows = commit(batches.iter().copied());
            (time, batches.len(), time.as_secs_f64() / bare.as_secs_f64(), time.as_secs_f64() / rows.as_secs_f64())
        })
        .collect();
    let [_, time, _] = spread(rounds.iter().map(|round| round.0.as_secs_f64()));
    let commits = rounds.iter().map(|round| round.1).max().unwrap_or_default();
    let ratios = |[least, median, most]: [f64; 3]| format!("{least:.2} / {median:.2} / {most:.2}");
    let (bare, rows) = (ratios(spread(rounds.iter().map(|round| round.2))), ratios(spread(rounds.iter().map(|round| round.3))));
    println!("{name:<22}{commits:>9}{:>11.1}{:>12.1}{bare:>26}{rows:>26}", time * 1e3, time * 1e6 / steps as f64);
}

/// The least, the median and the most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// How long a run took, and how many events each of its commits had.
fn run(plan: &Arc<Plan>) -> (Duration, Vec<usize>) {
    let folder = folder();
    let store = Store::create(folder.path()).expect("the folder is ours");
    let journal = store.begin(&RunId::new("bench"), "bench", "bench", ground::opened(plan)).expect("the run is new");
    let runtime = ground::runtime();
    let batches = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let finished = ground::run(&runtime, plan, Counted { journal, batches: Arc::clone(&batches) });
    let time = began.elapsed();
    assert!(matches!(finished.ending, Ending::Settled(_)), "{:?}", finished.ending);
    let batches = std::mem::take(&mut *batches.lock().expect("nobody panics with it"));
    (time, batches)
}

/// A journal, and how many events it was given at a time.
struct Counted<J> {
    journal: J,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl<J: Journal> Journal for Counted<J> {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        self.batches.lock().expect("nobody panics with it").push(events.len());
        self.journal.append(events)
    }

    fn demands(&mut self) -> Result<Vec<Demand>, JournalError> {
        self.journal.demands()
    }
}

/// How long as many commits of so many rows each take, as durable as the journal's.
fn commit(batches: impl Iterator<Item = usize>) -> Duration {
    let folder = folder();
    let bare = bare(&folder.path().join("bare.db")).expect("a new database can be made");
    let body = "x".repeat(80);
    let insert = |rows| -> rusqlite::Result<()> {
        let transaction = bare.unchecked_transaction()?;
        let mut statement = transaction.prepare_cached("INSERT INTO events (body) VALUES (?1)")?;
        (0..rows).try_for_each(|_| statement.execute(params![body]).map(drop))?;
        drop(statement);
        transaction.commit()
    };
    let began = Instant::now();
    batches.for_each(|rows| insert(rows).expect("a new database can be written"));
    began.elapsed()
}

fn bare(file: &Path) -> rusqlite::Result<Connection> {
    let bare = Connection::open(file)?;
    bare.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    bare.pragma_update(None, "synchronous", "FULL")?;
    bare.execute_batch("CREATE TABLE events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")?;
    Ok(bare)
}

/// On a disk: what is temporary may be kept in memory, where commits cost nothing.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build's folder can be written")
}
