//! Files that are replaced while the service is down. Where a file system tells its disk of each block that is free, that takes ten times
//! as long as the rename, and can wait.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::platform;

/// What was replaced, and takes its space until this is dropped.
#[derive(Debug)]
pub(super) struct Replaced {
    pins: Vec<Pin>,
    most: usize,
}

impl Replaced {
    /// For files of `to` that are replaced by some of `from`.
    pub fn new(from: &Path, to: &Path) -> Self {
        Self { pins: Vec::new(), most: platform::most_pins(from, to) }
    }

    /// Keeps the space of the file at `path`, which is to be replaced; as far as there are handles for it.
    pub fn pin(&mut self, path: &Path) {
        if PINS.load(Ordering::Relaxed) < self.most
            && let Some(_file) = platform::pin(path)
        {
            PINS.fetch_add(1, Ordering::Relaxed);
            self.pins.push(Pin { _file });
        }
    }
}

impl Drop for Replaced {
    /// Gives the space back, beside whatever comes next.
    fn drop(&mut self) {
        let pins = std::mem::take(&mut self.pins);
        if !pins.is_empty() {
            // Without a thread it is given back here and now.
            let _ = thread::Builder::new().spawn(move || drop(pins));
        }
    }
}

/// How many there are in this process.
static PINS: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Pin {
    _file: platform::Pin,
}

impl Drop for Pin {
    fn drop(&mut self) {
        PINS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn replaced_files_take_their_space_until_it_is_given_back_but_not_all_handles() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let open = || {
            let handles = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            handles.filter(|handle| std::fs::read_link(handle.path()).is_ok_and(|file| file.starts_with(folder.path()))).count()
        };
        let mut replaced = Replaced { pins: Vec::new(), most: 2 };
        replaced.pin(&old);
        assert_eq!(open(), 0, "nothing is replaced yet");
        for text in ["1", "2", "3", "4"] {
            std::fs::write(&new, text).unwrap();
            replaced.pin(&old);
            std::fs::rename(&new, &old).unwrap();
        }
        assert_eq!((open(), std::fs::read_to_string(&old).unwrap().as_str()), (2, "4"));
        drop(replaced);
        while open() > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
