//! The saga and the executor, simulated: plans drawn at random, run by the executor's real loop in paused time, with a journal that can
//! tear, processes that are crashed, stopped and rebooted anywhere, recoveries that are crashed again three deep, and an operator who
//! decides at random. After every event the rules of a run are held against the plan, the events and the world.
//!
//! ```text
//!  cargo test -p almaplan-engine --test simulation                          # what CI runs: a sample, other seeds each time
//!  cargo test -p almaplan-engine --test simulation -- --seeds 5000000       # for a night; `--from N` where it begins, else at 0
//!  cargo test -p almaplan-engine --test simulation -- --seed 42             # one seed again, told event by event
//! ```
//!
//! With `ALMAPLAN_TEST_WHOLE=1` it runs the first 20,000. A sample of 5,000 takes 20 s on two cores.
#![allow(clippy::unwrap_used)]

mod args;
mod dice;
mod drawn;
mod ground;
mod kinds;
mod rules;
mod run;
#[path = "../../../tests/support/sample.rs"]
mod sample;
mod scene;
mod seeds;

use std::cell::RefCell;
use std::process::ExitCode;

use args::Asked;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    // Work that panics is drawn now and then: nobody is told of it here.
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.set(panic.to_string())));
    match args::asked(std::env::args().skip(1)) {
        Ok(Asked::List) => {
            println!("{}: test", args::NAME);
            ExitCode::SUCCESS
        }
        Ok(Asked::Nothing) => ExitCode::SUCCESS,
        Ok(Asked::Seed(seed)) => seeds::tell(seed),
        Ok(Asked::Seeds(seeds)) => seeds::run(seeds),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// The text of this thread's newest panic.
fn last_panic() -> String {
    LAST_PANIC.take()
}
