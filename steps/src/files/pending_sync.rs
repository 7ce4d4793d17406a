//! A folder that is being written, until what is in it is durable.
//!
//! Of a write that the disk refused, Linux tells whoever syncs the volume next, and each who had it open before that; whoever opens it
//! later, because another program was told already, hears nothing. So it is opened before the first write.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::walk::walk_in;
use super::{BlockingTask, FileError, FileKind, Found, Patterns, Root, each, io_error, make_way, platform};

/// A folder in which something is not durable yet.
#[derive(Debug)]
pub(crate) struct PendingSync {
    root: Arc<Root>,
    volume: platform::Volume,
}

impl PendingSync {
    /// The folder `root`. To be taken before anything is written into it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn new(root: Root) -> Result<Self, FileError> {
        let volume = platform::volume(&root).map_err(io_error("open the folder", &root.path))?;
        Ok(Self { root: Arc::new(root), volume })
    }

    /// The folder.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// As [`PendingSync::new`], of a folder that is made where it is missing.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn create(root: &Path) -> Result<Self, FileError> {
        make_way(root).map_err(io_error("create", root))?;
        Self::new(Root::open_real(root).map_err(io_error("open the folder", root))?)
    }

    /// Makes all that is in it durable: by one call where the system has it, else file by file.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync(&self) -> Result<(), FileError> {
        self.sync_counted(usize::MAX)
    }

    /// Syncs its volume in one call, where the system has one and so many files and folders are more than are sooner synced one by one.
    /// Whether it did.
    ///
    /// # Errors
    /// The system could not write something.
    pub fn sync_many(&self, count: usize) -> Result<bool, FileError> {
        const FEW: usize = 16;
        Ok(count > FEW && self.sync_volume()?)
    }

    /// As [`PendingSync::sync_many`], however many they are.
    ///
    /// # Errors
    /// The system could not write something.
    pub fn sync_volume(&self) -> Result<bool, FileError> {
        platform::sync_volume(&self.volume).map_err(io_error("sync", &self.root.path))
    }

    /// As [`PendingSync::sync`], where so many files and folders were written: a few are synced by themselves, and nobody waits for what
    /// others write to this volume.
    ///
    /// # Errors
    /// The system could not.
    pub fn sync_counted(&self, count: usize) -> Result<(), FileError> {
        if self.sync_many(count)? {
            return Ok(());
        }
        each(&walk_in(&self.root, &Patterns::default())?, || Ok(()), |(): &mut (), found| self.sync_one(found))?;
        self.root.sync_folder("").map_err(io_error("sync", &self.root.path))
    }

    fn sync_one(&self, found: &Found) -> Result<(), FileError> {
        let synced = match found.meta.kind {
            FileKind::File => self.root.sync_file(&found.name),
            FileKind::Folder => self.root.sync_folder(&found.name),
            FileKind::Link | FileKind::Other | FileKind::Mount => return Ok(()),
        };
        match synced {
            // What this process may not open is synced with everything else, where the system can.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.sync_volume().map(|_| ()),
            synced => synced.map_err(io_error("sync", &found.path())),
        }
    }

    /// Does `work`, which writes into the folder, and lets what it has written so far go to the disk meanwhile: what is synced at its end
    /// is little.
    ///
    /// # Errors
    /// Those of `work`, or of [`PendingSync::sync_volume`].
    pub fn while_writing<T, E: From<FileError>>(&self, task: &BlockingTask, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        /// Bytes that are worth a sync.
        const MANY: u64 = 32 << 20;
        thread::scope(|scope| {
            // Dropped where `work` fails, whatever way: nobody waits for a sync any more then.
            let (working, ended) = mpsc::channel();
            let mut synced = task.written();
            let syncing = scope.spawn(move || {
                loop {
                    let has_ended = match ended.recv_timeout(Duration::from_millis(20)) {
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                        received => received.is_ok(),
                    };
                    if task.written() - synced >= MANY {
                        synced = task.written();
                        self.sync_volume()?;
                    }
                    if has_ended {
                        return Ok::<_, FileError>(());
                    }
                }
            });
            let done = work()?;
            // Where that has failed, it listens no more.
            let _ = working.send(());
            syncing.join().expect("syncing does not panic")?;
            Ok(done)
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use almaplan_engine::context::Context;
    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::files::blocking;

    #[tokio::test]
    async fn work_that_panics_is_not_synced_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        let root = Root::open(folder.path()).unwrap();
        let ended = blocking(&cx, move |task| PendingSync::new(root)?.while_writing(task, || -> Result<(), FileError> { panic!("a bug") }));
        let message = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap_err().message;
        assert!(message.contains("a bug in this kind"), "{message}");
    }

    #[tokio::test]
    async fn what_could_not_be_synced_beside_the_work_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::standalone(folder.path(), Arc::new(|_| {}));
        // Such a handle cannot be synced.
        let volume = rustix::fs::open(folder.path(), OFlags::PATH, Mode::empty()).unwrap().into();
        let tree = PendingSync { root: Arc::new(Root::open(folder.path()).unwrap()), volume };
        let write = move |task: &BlockingTask, bytes| {
            tree.while_writing(task, || {
                task.wrote(bytes);
                Ok::<_, FileError>(())
            })
        };
        let told = blocking(&cx, move |task| Ok::<_, FileError>([1, 32 << 20].map(|bytes| write(task, bytes).is_err()))).await.unwrap();
        assert_eq!(told, [false, true]);
    }
}
