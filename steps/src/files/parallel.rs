//! Work that several threads share although nobody knows beforehand how much it is.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use super::job::threads;

/// What is still to be looked at, and what was found.
struct Search<P, T, E> {
    open: Vec<P>,
    busy: usize,
    waiting: usize,
    found: Vec<T>,
    failed: Option<E>,
}

/// Looks at `start` and at every place that a look at another one leads to, on several threads. In no order; ends with the first error.
pub(super) fn explore<P: Send, T: Send, E: Send>(
    start: P,
    look: impl Fn(P) -> Result<(Vec<T>, Vec<P>), E> + std::marker::Sync,
) -> Result<Vec<T>, E> {
    let search = Mutex::new(Search { open: vec![start], busy: 0, waiting: 0, found: Vec::new(), failed: None });
    let more = Condvar::new();
    let lock = || search.lock().expect("no code panics while it holds this lock");
    // While this thread is idle, another may still find places.
    let next = |mut search: MutexGuard<'_, Search<P, T, E>>| {
        loop {
            if search.failed.is_some() {
                return None;
            }
            if let Some(place) = search.open.pop() {
                search.busy += 1;
                return Some(place);
            }
            if search.busy == 0 {
                return None;
            }
            search.waiting += 1;
            search = more.wait(search).expect("no code panics while it holds this lock");
            search.waiting -= 1;
        }
    };
    let run = || {
        while let Some(place) = next(lock()) {
            let seen = look(place);
            let mut search = lock();
            search.busy -= 1;
            match seen {
                Ok((found, places)) => {
                    search.found.extend(found);
                    search.open.extend(places);
                }
                Err(error) => search.failed = search.failed.take().or(Some(error)),
            }
            if search.waiting > 0 && (!search.open.is_empty() || search.busy == 0 || search.failed.is_some()) {
                more.notify_all();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads() {
            scope.spawn(run);
        }
        run();
    });
    let search = search.into_inner().expect("no code panics while it holds this lock");
    search.failed.map_or(Ok(search.found), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_place_is_looked_at_once_and_an_error_ends_it() {
        let below = |number: u32| (number * 2 + 1..number * 2 + 3).filter(|number| *number < 5000).collect();
        let mut found = explore(0, |number: u32| Ok::<_, ()>((vec![number], below(number)))).unwrap();
        found.sort_unstable();
        assert_eq!(found, (0..5000).collect::<Vec<_>>());
        let broken = |number: u32| if number == 77 { Err("77") } else { Ok((vec![number], below(number))) };
        assert_eq!(explore(0, broken), Err("77"));
    }
}
