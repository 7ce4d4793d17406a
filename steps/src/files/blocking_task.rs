//! Blocking work of one attempt: it can be stopped, shows how far it is, and waits for files that others hold.
//!
//! One budget of waiting for the whole step, however many files are held.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use almaplan_engine::context::{Context, Stopped};
use almaplan_engine::event::Failure;
use almaplan_engine::update::Unit;
use almaplan_engine::words::verbatim;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::error::{FileNote, FirstOf};
use super::{FileError, platform};

/// How long one step waits in all for files that other processes hold.
const PATIENCE_MS: u64 = 30_000;

/// One attempt's work in a blocking thread, shared by the threads that it uses.
pub(crate) struct BlockingTask {
    /// The attempt.
    pub cx: Context,
    handle: Handle,
    touched: AtomicBool,
    waited_ms: AtomicU64,
    bytes: Mutex<Bytes>,
    written: AtomicU64,
    never_shares: AtomicBool,
    not_kept: Mutex<NotKept>,
}

/// Copies that have not all that their originals had beside their content.
#[derive(Default)]
struct NotKept {
    count: usize,
    /// The first few of them.
    paths: Vec<String>,
}

/// How far it is.
#[derive(Default)]
struct Bytes {
    done: u64,
    total: u64,
}

/// Runs `work` where it may block. Its error is clean unless it said [`BlockingTask::touch`] before.
pub(crate) async fn blocking<T, E, F>(cx: &Context, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    E: std::error::Error + Serialize + Send + 'static,
    F: FnOnce(&BlockingTask) -> Result<T, E> + Send + 'static,
{
    let task = Arc::new(BlockingTask::new(cx.clone()));
    let worker = Arc::clone(&task);
    // Whoever works on another thread belongs to the same story.
    let span = tracing::Span::current();
    let result = tokio::task::spawn_blocking(move || span.in_scope(|| work(&worker))).await;
    task.tell_not_kept();
    match result.map_err(|panic| Failure::dirty(PanicError { panic }))? {
        Ok(output) => Ok(output),
        Err(_) if cx.is_cancelled() => Err(Failure::dirty(Stopped)),
        Err(error) => {
            let error = if fills_a_disk(&error) { BlockingError::DiskFull(error) } else { BlockingError::Failed(error) };
            Err(if task.touched() { Failure::dirty(error) } else { Failure::clean(error) })
        }
    }
}

/// Why blocking work did not do what it should.
#[derive(Debug, Serialize, thiserror::Error)]
enum BlockingError<E: std::error::Error + 'static> {
    #[error("{}", whole(.0))]
    Failed(E),
    #[error("{}; make room on that disk, then try again", whole(.0))]
    DiskFull(E),
}

/// A panic in a thread that blocks.
#[derive(Debug, Serialize, thiserror::Error)]
#[error("a bug in this kind ended it: {panic}")]
pub(crate) struct PanicError {
    /// What the thread said of it.
    #[serde(serialize_with = "verbatim")]
    pub panic: JoinError,
}

fn causes<'e>(error: &'e (dyn std::error::Error + 'static)) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// An error with all that caused it, on one line.
pub(crate) fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn fills_a_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

impl BlockingTask {
    fn new(cx: Context) -> Self {
        let (touched, waited_ms) = (AtomicBool::new(false), AtomicU64::new(0));
        let (bytes, written, never_shares, not_kept) = (Mutex::default(), 0.into(), false.into(), Mutex::default());
        Self { cx, handle: Handle::current(), touched, waited_ms, bytes, written, never_shares, not_kept }
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

    /// What is at `path` has not the owner or the attributes that it should have.
    pub fn not_kept(&self, path: &Path) {
        /// As many as a person reads.
        const SHOWN: usize = 5;
        let mut all = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.count += 1;
        if all.paths.len() < SHOWN {
            all.paths.push(path.display().to_string());
        }
    }

    fn tell_not_kept(&self) {
        let all = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.count > 0 {
            self.cx.warn(FileNote::NotKept { paths: FirstOf::new(&all.paths, all.count) });
        }
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
        let stands = self.handle.block_on(self.cx.record(name, value)).map_err(FileError::Journal)?;
        serde_json::from_value(stands).map_err(|source| FileError::Record { name: name.to_owned(), source })
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
            tracing::debug!(doing, path = %path.display(), %error, "held by another process, tried again");
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
        let work = move |task: &BlockingTask| {
            task.patiently("open", Path::new("/held"), || match count.fetch_add(1, Ordering::Relaxed) {
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
        let work = |task: &BlockingTask| {
            task.waited_ms.store(PATIENCE_MS, Ordering::Relaxed);
            let mut tried = 0;
            let held = task.patiently("open", Path::new("/next"), || {
                tried += 1;
                Err::<(), _>(io::Error::from_raw_os_error(if cfg!(windows) { 32 } else { 16 }))
            });
            assert!(matches!(held, Err(FileError::Held { .. })));
            Ok::<_, FileError>(tried)
        };
        assert_eq!(blocking(&cx, work).await.unwrap(), 1);
    }
}
