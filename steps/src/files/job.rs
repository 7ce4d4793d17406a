//! Blocking work of one attempt: it can be stopped, shows how far it is, and waits for files that others hold.
//!
//! One budget of waiting for the whole step, however many files are held.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use almaplan_engine::step::{Context, Failure};
use almaplan_engine::update::Unit;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::{FileError, platform};

/// How long one step waits in all for files that other processes hold.
const PATIENCE_MS: u64 = 30_000;

/// One attempt's work in a blocking thread, shared by the threads that it uses.
pub(crate) struct Job {
    /// The attempt.
    pub cx: Context,
    handle: Handle,
    touched: AtomicBool,
    waited_ms: AtomicU64,
    bytes: Mutex<Bytes>,
    written: AtomicU64,
    never_shares: AtomicBool,
}

/// How far it is.
#[derive(Default)]
struct Bytes {
    done: u64,
    total: u64,
}

/// Runs `work` where it may block. Its error is clean unless it said [`Job::touch`] before.
pub(crate) async fn blocking<T, F>(cx: &Context, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&Job) -> Result<T, FileError> + Send + 'static,
{
    let job = Arc::new(Job::new(cx.clone()));
    let worker = Arc::clone(&job);
    let result = tokio::task::spawn_blocking(move || work(&worker)).await;
    match result.map_err(|panic| Failure::dirty(format!("a bug in this kind ended it: {panic}")))? {
        Ok(output) => Ok(output),
        Err(_) if cx.is_cancelled() => Err(Failure::dirty(FileError::Stopped)),
        Err(error) if job.touched() => Err(Failure::dirty(whole(&error))),
        Err(error) => Err(Failure::clean(whole(&error))),
    }
}

/// An error with all that caused it, on one line; and what to do where a disk is full.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = || std::iter::successors(error.source(), |cause| cause.source());
    let text = causes().fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let kinds = causes().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let full = kinds.into_iter().any(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
    if full { format!("{text}; make room on that disk, then try again") } else { text }
}

/// Does `work` for each of `items` on several threads, each with a tool of its own; ends soon after the first error.
pub(crate) fn each<T, U, E>(
    items: &[T],
    tool: impl Fn() -> Result<U, E> + Sync,
    work: impl Fn(&mut U, &T) -> Result<(), E> + Sync,
) -> Result<(), E>
where
    T: Sync,
    E: Send,
{
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let run = || {
        let outcome = tool().and_then(|mut tool| {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(&mut tool, item)?;
            }
            Ok(())
        });
        if let Err(error) = outcome {
            next.store(items.len(), Ordering::Relaxed);
            failed.lock().expect("no code panics while it holds this lock").get_or_insert(error);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads().min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    failed.into_inner().expect("no code panics while it holds this lock").map_or(Ok(()), Err)
}

/// What `work` makes of each of `items`, in their order; as [`each`].
pub(crate) fn map_each<T: Sync, R: Send + Sync, E: Send>(items: &[T], work: impl Fn(&T) -> Result<R, E> + Sync) -> Result<Vec<R>, E> {
    let made: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let places: Vec<(&T, &OnceLock<R>)> = items.iter().zip(&made).collect();
    let make = |(): &mut (), (item, place): &(&T, &OnceLock<R>)| {
        let _ = place.set(work(item)?);
        Ok(())
    };
    each(&places, || Ok(()), make)?;
    Ok(made.into_iter().map(|made| made.into_inner().expect("each was made")).collect())
}

/// How many threads share work on files.
pub(crate) fn threads() -> usize {
    // Whoever is asked reads several files to tell.
    static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(2, usize::from).clamp(2, 8));
    *CORES
}

impl Job {
    fn new(cx: Context) -> Self {
        let (touched, waited_ms) = (AtomicBool::new(false), AtomicU64::new(0));
        let (bytes, written, never_shares) = (Mutex::default(), 0.into(), false.into());
        Self { cx, handle: Handle::current(), touched, waited_ms, bytes, written, never_shares }
    }

    /// From here on something that others see is changed: a failure owes a compensation.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Release);
    }

    /// Whether something was changed already.
    pub fn touched(&self) -> bool {
        self.touched.load(Ordering::Acquire)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`FileError::Stopped`].
    pub fn check(&self) -> Result<(), FileError> {
        if self.cx.is_cancelled() { Err(FileError::Stopped) } else { Ok(()) }
    }

    /// Lets the empty file `copy` have the blocks of `source`, where the file system can; it is not asked again once it cannot at all.
    pub fn share_content(&self, source: &File, copy: &File) -> bool {
        if self.never_shares.load(Ordering::Relaxed) {
            return false;
        }
        let shared = platform::share_content(source, copy);
        let never = shared.as_ref().is_err_and(platform::never_shares);
        self.never_shares.fetch_or(never, Ordering::Relaxed);
        shared.is_ok()
    }

    /// There are this many more bytes to do.
    pub fn expect_bytes(&self, bytes: u64) {
        self.bytes().total += bytes;
    }

    /// This many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        // Shown while it is held: of two threads that show how far they are, the second must not be the one that was first.
        let mut all = self.bytes();
        all.done += bytes;
        all.total = all.total.max(all.done);
        self.cx.progress(all.done, Some(all.total), Unit::Bytes);
    }

    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        // Whoever is shown it may panic, in a test.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This many more bytes were written, and are not synced yet.
    pub fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes were written in all.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Keeps a value durably before an effect; what was recorded first stands.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record<T: Serialize + DeserializeOwned>(&self, name: &str, value: &T) -> Result<T, FileError> {
        let stands = self.handle.block_on(self.cx.record(name, value)).map_err(|failure| FileError::Journal(failure.message))?;
        serde_json::from_value(stands).map_err(|error| FileError::Journal(format!("the record `{name}` cannot be understood: {error}")))
    }

    /// What this or an earlier attempt recorded.
    pub fn recorded<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.cx.recorded(name)?).ok()
    }

    /// Goes on with file `number` of `total`, where files are moved rather than read.
    ///
    /// # Errors
    /// [`FileError::Stopped`].
    pub fn file(&self, number: usize, total: usize) -> Result<(), FileError> {
        self.cx.progress(number as u64, Some(total as u64), Unit::Files);
        self.check()
    }

    /// Does something with `path`, again and again while another process holds it and the budget lasts.
    ///
    /// # Errors
    /// [`FileError::Held`] with who holds it, or what the system said.
    pub fn patiently<T>(&self, doing: &'static str, path: &Path, mut work: impl FnMut() -> io::Result<T>) -> Result<T, FileError> {
        let mut pause_ms = 20;
        loop {
            let error = match work() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !platform::is_held(&error) {
                return Err(FileError::Io { doing, path: path.to_owned(), source: error });
            }
            self.check()?;
            if self.waited_ms.fetch_add(pause_ms, Ordering::Relaxed) >= self.patience_ms() {
                return Err(FileError::Held { doing, path: path.to_owned(), holders: platform::holders(path) });
            }
            thread::sleep(Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(500);
        }
    }

    fn patience_ms(&self) -> u64 {
        // Less than the attempt's timeout, so that the error names the file.
        let left = self.cx.time_left().map_or(PATIENCE_MS, |left| u64::try_from(left.as_millis() / 2).unwrap_or(PATIENCE_MS));
        left.min(PATIENCE_MS)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_held_file_is_tried_again_until_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let tried = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&tried);
        let work = move |job: &Job| {
            job.patiently("open", Path::new("/held"), || match count.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(io::Error::from_raw_os_error(if cfg!(windows) { 32 } else { 16 })),
                _ => Ok(7),
            })
        };
        assert_eq!(blocking(&cx, work).await.unwrap(), 7);
        assert_eq!(tried.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_step_waits_no_longer_for_many_held_files_than_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let work = |job: &Job| {
            job.waited_ms.store(PATIENCE_MS, Ordering::Relaxed);
            let mut tried = 0;
            let held = job.patiently("open", Path::new("/next"), || {
                tried += 1;
                Err::<(), _>(io::Error::from_raw_os_error(if cfg!(windows) { 32 } else { 16 }))
            });
            assert!(matches!(held, Err(FileError::Held { .. })));
            Ok(tried)
        };
        assert_eq!(blocking(&cx, work).await.unwrap(), 1);
    }

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
