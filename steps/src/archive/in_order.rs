//! Packs entries on several threads, and hands them on in their order.
//!
//! ```text
//!  short files: as many at once as fit into memory ─┐
//!                                                   ├─> pack (threads) ─> write in order (one thread)
//!  long files: one for each thread ─────────────────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use crate::files::{FileError, FileKind, Found, pool, threads};

/// How many bytes of short files, as they are and packed, are in memory at once.
const MEMORY: u64 = 64 << 20;
/// Longer files are not read into memory. What each thread frees of it, the allocator keeps for that thread.
const LONG: u64 = 8 << 20;
/// What is counted for a file at least: it may grow after it was found.
const LEAST: u64 = 64 << 10;

/// How many bytes of this file may be read into memory.
pub(crate) fn held_len(found: &Found) -> u64 {
    if is_long(found) { 0 } else { found.meta.len.max(LEAST) }
}

fn is_long(found: &Found) -> bool {
    found.meta.kind == FileKind::File && found.meta.len > LONG
}

/// Does `pack` for each of `found` on several threads, and `write` with what comes of it on this one, in their order. `pack` is told
/// when nothing more is wanted, after an error.
///
/// # Errors
/// The first of `pack` or `write`.
pub(crate) fn in_order<P: Send>(
    found: &[Found],
    pack: impl Fn(&Found, &AtomicBool) -> Result<P, FileError> + Sync,
    mut write: impl FnMut(&Found, P) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let (long, short): (VecDeque<_>, VecDeque<_>) = found.iter().enumerate().partition(|(_, found)| is_long(found));
    let mut short = Queue { waiting: short, cost: |found| 2 * held_len(found), used: 0, limit: MEMORY };
    let mut long = Queue { waiting: long, cost: |_| 1, used: 0, limit: threads() as u64 };
    let (ended, mut under_way) = (AtomicBool::new(false), HashMap::<usize, Receiver<_>>::new());
    pool().in_place_scope_fifo(|scope| {
        let mut write_next = |(number, next): (usize, &Found)| {
            while let Some((number, found)) = long.begin().or_else(|| short.begin()) {
                let (send, receive) = channel();
                let (pack, ended) = (&pack, &ended);
                scope.spawn_fifo(move |_| {
                    if !ended.load(Ordering::Relaxed) {
                        let _ = send.send(pack(found, ended));
                    }
                });
                under_way.insert(number, receive);
            }
            let packed = under_way.remove(&number).expect("each is begun before the last of those before it is written");
            // Without an answer it has panicked, which ends the scope.
            packed.recv().unwrap_or(Err(FileError::Stopped)).and_then(|packed| write(next, packed))?;
            if is_long(next) { &mut long } else { &mut short }.end(next);
            Ok(())
        };
        let written = found.iter().enumerate().try_for_each(&mut write_next);
        ended.store(true, Ordering::Relaxed);
        written
    })
}

/// What is not begun yet, in order.
struct Queue<'f> {
    waiting: VecDeque<(usize, &'f Found)>,
    /// What one of them takes, of what is limited.
    cost: fn(&Found) -> u64,
    used: u64,
    limit: u64,
}

impl<'f> Queue<'f> {
    /// The next one, if there is room for it, or nothing else is under way.
    fn begin(&mut self) -> Option<(usize, &'f Found)> {
        let cost = (self.cost)(self.waiting.front()?.1);
        if self.used > 0 && self.used + cost > self.limit {
            return None;
        }
        self.used += cost;
        self.waiting.pop_front()
    }

    fn end(&mut self, found: &Found) {
        self.used -= (self.cost)(found);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::files::{Patterns, walk};

    fn found(lens: &[u64]) -> (tempfile::TempDir, Vec<Found>) {
        let folder = tempfile::tempdir().unwrap();
        for (number, len) in lens.iter().enumerate() {
            std::fs::File::create(folder.path().join(format!("{number:04}"))).unwrap().set_len(*len).unwrap();
        }
        let found = walk(folder.path(), &Patterns::default()).unwrap();
        (folder, found)
    }

    #[test]
    fn whatever_the_threads_do_it_is_written_in_order_and_memory_is_bounded() {
        // The first one takes the longest, and long files are begun before their turn.
        let lens: Vec<u64> = (0..600).map(|number| if number % 100 == 99 { LONG + 1 } else { (number * 50_021) % LONG }).collect();
        let (_folder, found) = found(&lens);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let pack = |found: &Found, _: &AtomicBool| {
            let now = held.fetch_add(held_len(found), Ordering::SeqCst) + held_len(found);
            most.fetch_max(now, Ordering::SeqCst);
            if found.name == "0000" {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Ok(found.name.clone())
        };
        let mut written = Vec::new();
        in_order(&found, pack, |found, name| {
            held.fetch_sub(held_len(found), Ordering::SeqCst);
            written.push(name);
            Ok(())
        })
        .unwrap();
        assert_eq!(written, (0..600).map(|number| format!("{number:04}")).collect::<Vec<_>>());
        let most = most.into_inner();
        assert!((LONG..=MEMORY / 2).contains(&most), "{most}");
    }

    #[test]
    fn an_error_ends_the_rest() {
        let (_folder, found) = found(&[1; 3000]);
        let packed = AtomicU64::new(0);
        let pack = |found: &Found, _: &AtomicBool| {
            packed.fetch_add(1, Ordering::SeqCst);
            if found.name == "0003" { Err(FileError::Changing { path: "third".into() }) } else { Ok(()) }
        };
        let mut written = 0;
        let ended = in_order(&found, pack, |_, ()| {
            written += 1;
            Ok(())
        });
        assert!(matches!(ended, Err(FileError::Changing { path }) if path.as_os_str() == "third"));
        assert!(written == 3 && packed.into_inner() < 3000, "{written}");
    }
}
