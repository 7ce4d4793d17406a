//! Work on many files at once, on threads that all steps share.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use rayon::iter::{IntoParallelRefIterator, ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// How many threads share work on files. More would take more memory, and wait for the same disk.
pub(crate) fn threads() -> usize {
    pool().current_num_threads()
}

/// The threads that share work on files.
pub(crate) fn pool() -> &'static ThreadPool {
    static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
        let cores = thread::available_parallelism().map_or(2, NonZero::get);
        let pool = ThreadPoolBuilder::new().num_threads(cores.clamp(2, 8)).thread_name(|number| format!("files-{number}"));
        pool.build().expect("a few threads can be started, or nothing could run here")
    });
    &POOL
}

/// Does `work` for each of `items`, begun in their order. Each thread has a tool of its own. Ends soon after the first error.
pub(crate) fn each<T, U, E>(
    items: &[T],
    tool: impl Fn() -> Result<U, E> + Sync,
    work: impl Fn(&mut U, &T) -> Result<(), E> + Sync,
) -> Result<(), E>
where
    T: Sync,
    E: Send,
{
    let with_tool = |made: &mut Option<U>, item: &T| {
        if made.is_none() {
            *made = Some(tool()?);
        }
        made.as_mut().map_or(Ok(()), |tool| work(tool, item))
    };
    pool().install(|| items.iter().par_bridge().try_for_each_init(|| None, with_tool))
}

/// What `work` makes of each of `items`, in their order. Ends soon after the first error.
pub(crate) fn map_each<T: Sync, R: Send, E: Send>(items: &[T], work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E> {
    pool().install(|| items.par_iter().map(&work).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_first_error_ends_the_rest() {
        let items: Vec<u32> = (0..1000).collect();
        let seen = AtomicUsize::new(0);
        let work = |_: &mut (), item: &u32| {
            seen.fetch_add(1, Ordering::Relaxed);
            if *item == 3 { Err("third") } else { Ok(()) }
        };
        assert_eq!(each(&items, || Ok(()), work), Err("third"));
        assert!(seen.load(Ordering::Relaxed) < 1000);
    }
}
