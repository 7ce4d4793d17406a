//! A sample of what would take too long to be tried whole each time: every system call, every append, every bit.
//!
//! A test takes one in so many of all its cases. Which ones, the seed of the process says: runs with consecutive seeds try other
//! cases, and as many of them as the largest stride add up to the whole.
//!
//! | variable | meaning |
//! |---|---|
//! | `ALMAPLAN_TEST_SEED=42` | the cases of that seed again; without it each process takes another one |
//! | `ALMAPLAN_TEST_WHOLE=1` | everything: each stride is 1 |
//! | `ALMAPLAN_TEST_TRIED=FILE` | each test adds a line to the file: its name, how many cases it tried, and of how many |
//!
//! The module stands alone: each test crate of the workspace has it, by its path.

#![allow(dead_code)] // no crate needs all of it

use std::cell::RefCell;
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::LazyLock;
use std::time::SystemTime;

/// Said once a process, past the capture of what tests print: whoever reads a failure must be able to repeat it.
static SEED: LazyLock<u64> = LazyLock::new(|| {
    let given = env::var("ALMAPLAN_TEST_SEED").ok().filter(|seed| !seed.is_empty());
    let seed = match given {
        Some(seed) => seed.parse().unwrap_or_else(|error| panic!("ALMAPLAN_TEST_SEED={seed}: {error}")),
        // Few digits are easily typed again.
        None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64 % 1_000_000),
    };
    let said = if is_whole() {
        format!("tests try everything (ALMAPLAN_TEST_WHOLE), with seed {seed}\n")
    } else {
        format!("tests try a sample; the same again: ALMAPLAN_TEST_SEED={seed}; everything: ALMAPLAN_TEST_WHOLE=1\n")
    };
    // A closed stderr is no reason to fail.
    let _ = std::io::stderr().write_all(said.as_bytes());
    seed
});

/// What this process draws its samples from; also a seed for whatever makes random cases.
pub fn seed() -> u64 {
    *SEED
}

/// Whether everything is to be tried.
pub fn is_whole() -> bool {
    env::var_os("ALMAPLAN_TEST_WHOLE").is_some_and(|whole| !whole.is_empty() && whole != "0")
}

/// The stride of a sample of one in `n`: 1 where everything is tried.
pub fn stride(n: usize) -> usize {
    if is_whole() { 1 } else { n }
}

/// Whether the case with this number is in a sample of one in `n`.
pub fn has(n: usize, case: usize) -> bool {
    let stride = stride(n) as u64;
    let has = case as u64 % stride == seed() % stride;
    COUNT.with_borrow_mut(|count| {
        count.tried += u64::from(has);
        count.of += 1;
    });
    has
}

/// One in `n` of all `cases`.
pub fn every<T>(n: usize, cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    cases.into_iter().enumerate().filter(move |(case, _)| has(n, *case)).map(|(_, case)| case)
}

/// How many of `count` cases are in a sample of one in `n`, at least.
pub fn share(n: usize, count: usize) -> usize {
    count / stride(n)
}

/// What the test of this thread tried, and of how many cases; told when it ends.
struct Count {
    test: String,
    tried: u64,
    of: u64,
}

thread_local! {
    static COUNT: RefCell<Count> =
        RefCell::new(Count { test: std::thread::current().name().unwrap_or_default().to_owned(), tried: 0, of: 0 });
}

impl Drop for Count {
    fn drop(&mut self) {
        let Some(file) = env::var_os("ALMAPLAN_TEST_TRIED") else { return };
        let line = format!("{}\t{}\t{}\n", self.test, self.tried, self.of);
        // In one write, as other tests end at the same time; without the file only a figure is missing.
        let _ = OpenOptions::new().append(true).create(true).open(file).and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
