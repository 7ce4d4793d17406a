//! How many bytes of contents are in memory at once, whatever their sizes and however many threads read them.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Room for bytes, shared by threads.
pub(crate) struct Room {
    all: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

/// Room that is in use until this is dropped.
pub(crate) struct Taken<'r> {
    room: &'r Room,
    bytes: u64,
}

impl Room {
    /// For this many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { all: bytes, free: Mutex::new(bytes), freed: Condvar::new() }
    }

    /// Waits until there is room for `bytes`; for more than there ever is, until all of it is free.
    pub fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(self.all);
        let free = self.freed.wait_while(self.free(), |free| *free < bytes);
        *free.expect("no code panics while it holds this lock") -= bytes;
        Taken { room: self, bytes }
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.free.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.room.free() += self.bytes;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn threads_never_take_more_than_there_is_and_each_comes_to_its_turn() {
        let (room, in_use, most) = (Room::new(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (room, in_use, most) = (&room, &in_use, &most);
                scope.spawn(move || {
                    for turn in 0..500 {
                        // More than all of it now and then: alone then, as if it were all.
                        let bytes = (thread * 31 + turn * 17) % 130;
                        let taken = room.take(bytes);
                        most.fetch_max(in_use.fetch_add(bytes.min(100), Ordering::SeqCst) + bytes.min(100), Ordering::SeqCst);
                        std::thread::yield_now();
                        in_use.fetch_sub(bytes.min(100), Ordering::SeqCst);
                        drop(taken);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((60..=100).contains(&most), "{most}");
    }
}
