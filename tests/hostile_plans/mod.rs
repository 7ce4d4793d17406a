//! Plans that somebody wrote to break almaplan: whatever they say, it tells what is wrong with them, soon and in little memory, and
//! nothing of them acts on the terminal.

mod almost;
mod growing;
mod shapes;
mod watched;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use almaplan_engine::plan::is_invisible;

use crate::support::sample;

/// Bytes of a hostile plan.
const PLAN: usize = 1 << 20;
/// Bytes of memory that no such plan may take.
const MOST_MEMORY: u64 = 200_000_000;
/// Bytes that may be said about one.
const MOST_SAID: usize = 1 << 20;

/// Of all such plans one in so many is tried.
const ONE_IN: usize = 5;

#[test]
fn a_megabyte_of_anything_is_checked_in_little_memory_and_few_words() {
    // More than 5 s: each plan is checked, and drawn in each format, by a binary that is not optimised.
    for_each(ONE_IN, shapes::SHAPES, |(name, shape)| {
        let folder = tempfile::tempdir().unwrap();
        let (plan, said) = (folder.path().join("plan.toml"), folder.path().join("said"));
        let text = shape(PLAN);
        assert!(text.len() >= PLAN * 9 / 10, "{name} is no megabyte");
        fs::write(&plan, text).unwrap();
        let ended = watched::almaplan(&["check", plan.to_str().unwrap()], &said);
        let words = fs::read_to_string(&said).unwrap();
        assert!(matches!(ended.code, Some(0 | 2)), "{name} ends with {:?}:\n{words}", ended.code);
        assert!(ended.peak_bytes < MOST_MEMORY, "{name} takes {} bytes", ended.peak_bytes);
        assert!(words.len() < MOST_SAID, "{name} is told in {} bytes", words.len());
        assert!(!words.contains(|c| c != '\n' && is_invisible(c)), "{name} acts on the terminal");
        if ended.code == Some(0) {
            drawn(name, plan.to_str().unwrap(), &said);
        }
    });
}

/// What loads is also drawn, in every format.
fn drawn(name: &str, plan: &str, said: &std::path::Path) {
    for format in ["text", "dot", "mermaid", "svg"] {
        let ended = watched::almaplan(&["graph", "--format", format, plan], said);
        assert_eq!(ended.code, Some(0), "{name} as {format}: {}", fs::read_to_string(said).unwrap());
        assert!(ended.peak_bytes < MOST_MEMORY, "{name} takes {} bytes as {format}", ended.peak_bytes);
    }
}

#[test]
fn templates_that_grow_are_refused_in_little_memory() {
    for_each(ONE_IN, growing::PLANS, |(name, plan)| {
        let folder = tempfile::tempdir().unwrap();
        let (file, said) = (folder.path().join("plan.toml"), folder.path().join("said"));
        fs::write(&file, plan()).unwrap();
        let state = folder.path().join("state");
        let apply = ["--state-dir", state.to_str().unwrap(), "apply", "--progress", "json", file.to_str().unwrap()];
        let ended = watched::almaplan(&apply, &said);
        let words = fs::read_to_string(&said).unwrap();
        // Refused for the template, wherever it is, or for the secret that nobody has: nothing is started.
        let refused = ["plan-invalid", "bad-variable", "secret-missing"].iter().any(|code| words.contains(&format!("\"code\":\"{code}\"")));
        assert!(ended.code == Some(2) && refused, "{name} ends with {:?}:\n{words}", ended.code);
        assert!(ended.peak_bytes < MOST_MEMORY, "{name} takes {} bytes", ended.peak_bytes);
        assert!(words.len() < MOST_SAID, "{name} is told in {} bytes", words.len());
    });
}

/// Does `each` of a sample of one in so many of `all`, on every processor.
fn for_each<T: Copy + std::marker::Sync>(one_in: usize, all: &[T], each: impl Fn(T) + std::marker::Sync) {
    let (sample, next) = (Vec::from_iter(sample::every(one_in, all)), AtomicUsize::new(0));
    let work = || {
        while let Some(&&one) = sample.get(next.fetch_add(1, Ordering::Relaxed)) {
            each(one);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}
