//! What the journal and the locks ask of the file system and std does not offer on every system: for whom a file is made, whether
//! two names are one, whether the disk is a network's. The engine's only platform-dependent code.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf, Prefix};
use std::time::Duration;

use crate::trust;

/// The file system's name if `path`, or the nearest ancestor of it that exists, is on a network share.
pub(crate) fn network_share(path: &Path) -> io::Result<Option<&'static str>> {
    let existing = std::fs::canonicalize(nearest_existing(&std::path::absolute(path)?))?;
    // Only Windows has prefixes; a mapped drive letter is canonicalised to its share.
    if let Some(Component::Prefix(prefix)) = existing.components().next()
        && matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    {
        return Ok(Some("UNC"));
    }
    sys::network_filesystem(&existing)
}

fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path).to_owned()
}

/// Whether the system refused for want of space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) use sys::{
    create_for_all, create_lock_dir, create_private_dir, create_private_file, fold_case, is_root, is_same_folder, is_still, lock_folder,
    machine_folder, sync_dir,
};

/// Opens the file `path` for appending; it and the folders above it are made for their owner alone where they are missing.
///
/// # Errors
/// The system refuses one of them, or the file is not believed (rule 23).
pub fn append_private(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        create_private_dir(folder)?;
    }
    match create_private_file(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(_) | Err(_) => {}
    }
    trust::file(path)?;
    File::options().append(true).open(path)
}

/// Renames or removes a file. On Windows that is refused while somebody has the file open who does not share it, another run that looks
/// at it or a virus scanner: it is tried for a second.
pub(crate) fn once_let_go(change: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let mut pauses = [1, 5, 20, 50, 100, 300, 500].into_iter().map(Duration::from_millis);
    loop {
        match (change(), pauses.next()) {
            (Err(error), Some(pause)) if cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied => std::thread::sleep(pause),
            (done, _) => return done,
        }
    }
}

#[cfg(unix)]
mod sys {
    use std::fs::{DirBuilder, OpenOptions, Permissions};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};

    use rustix::fs::OFlags;

    use super::*;

    /// Root's folder of locks and records, which everybody on the machine believes.
    pub(crate) fn machine_folder() -> PathBuf {
        PathBuf::from("/var/tmp/almaplan")
    }

    /// The folder of the locks and records of this user, on a machine whose root has `machine`. Always the same one, also where nobody is
    /// logged in, and it survives a reboot.
    pub(crate) fn lock_folder(machine: &Path) -> PathBuf {
        let is_our_folder = |folder: &Path| std::fs::metadata(folder).is_ok_and(|folder| trust::is_ours(&folder));
        if is_root() || machine.parent().is_some_and(is_our_folder) {
            return machine.to_owned();
        }
        let own = PathBuf::from(format!("{}-{}", machine.display(), rustix::process::geteuid().as_raw()));
        let squatted = || std::fs::symlink_metadata(&own).is_ok_and(|metadata| !trust::is_ours(&metadata));
        match std::env::home_dir().map(|home| home.join(".local/state/almaplan-locks")) {
            // Once used it stays: who squatted the other name must not hide records by giving it free again.
            Some(at_home) if is_our_folder(&at_home) || squatted() => at_home,
            _ => own,
        }
    }

    /// Whether this process may do everything.
    pub(crate) fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Whether the open `file` is what `path` names.
    pub(crate) fn is_still(file: &File, path: &Path) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::symlink_metadata(path).map(identity);
        file.metadata().map(identity).is_ok_and(|opened| named.is_ok_and(|named| named == opened))
    }

    /// Whether two paths are one folder that exists: through a bind mount it has several names.
    pub(crate) fn is_same_folder(a: &Path, b: &Path) -> bool {
        let identity = |path: &Path| {
            let metadata = std::fs::metadata(path).ok().filter(|metadata| path.is_absolute() && metadata.is_dir())?;
            Some((metadata.dev(), metadata.ino()))
        };
        identity(a).is_some_and(|a| identity(b) == Some(a))
    }

    /// Makes `path` and what is missing above it, for its owner alone.
    pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Makes an empty file for its owner alone.
    pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Makes the folder `path` of locks for its owner alone; root's can be read by all, so that they know what it is at. One that was open to
    /// others before is no longer.
    pub(crate) fn create_lock_dir(path: &Path) -> io::Result<()> {
        let mode = if is_root() { 0o755 } else { 0o700 };
        let made = DirBuilder::new().mode(mode).create(path);
        let metadata = std::fs::symlink_metadata(path)?;
        // Not by the mode of mkdir: the umask would take its share.
        if metadata.is_dir() && trust::is_ours(&metadata) && metadata.mode() & 0o7777 != mode {
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        made
    }

    /// Makes a new file that all users may read, whatever the umask says.
    pub(crate) fn create_for_all(path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        Ok(file)
    }

    /// Makes names in the folder `path` durable.
    pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Names of the same file as one text.
    pub(crate) fn fold_case(path: String) -> String {
        path
    }

    #[cfg(target_os = "linux")]
    pub(super) fn network_filesystem(path: &Path) -> io::Result<Option<&'static str>> {
        // Numbers of linux/magic.h and of the file systems themselves. 9p and FUSE are left out: they are as often this very machine.
        let name = match rustix::fs::statfs(path)?.f_type as u32 {
            0x6969 => "nfs",
            0x517B => "smb",
            0xFF53_4D42 => "cifs",
            0xFE53_4D42 => "smb2",
            0x564C => "ncp",
            0x7375_7245 => "coda",
            0x5346_414F | 0x6B41_4653 => "afs",
            0x00C3_6400 => "ceph",
            0x0BD0_0BD0 => "lustre",
            0x4750_4653 => "gpfs",
            0x7461_636F => "ocfs2",
            _ => return Ok(None),
        };
        Ok(Some(name))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn network_filesystem(_: &Path) -> io::Result<Option<&'static str>> {
        // Nobody has tried these systems yet; SQLite's own complaints are what is left.
        Ok(None)
    }
}

#[cfg(windows)]
mod sys {
    use std::fs::OpenOptions;

    use super::*;

    /// The folder that all users of this machine share.
    pub(crate) fn machine_folder() -> PathBuf {
        // The system's own answer to where this is; not a setting of ours.
        std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from).join("almaplan")
    }

    /// Makes `path` and what is missing above it. Who may see it is inherited: the user's own folders are.
    pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    /// Makes an empty file.
    pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// The same folder for everybody: below `%ProgramData%` users change only what is theirs.
    pub(crate) fn lock_folder(machine: &Path) -> PathBuf {
        machine.to_owned()
    }

    /// What belongs to another user is never moved out of the way.
    pub(crate) fn is_root() -> bool {
        false
    }

    /// A file that is open keeps its name.
    pub(crate) fn is_still(_: &File, _: &Path) -> bool {
        true
    }

    /// Two names of a folder (a drive letter, a share) were made one when the lock's text was.
    pub(crate) fn is_same_folder(_: &Path, _: &Path) -> bool {
        false
    }

    /// Makes the folder `path`. Below `%ProgramData%` all users may add files, and change only their own.
    pub(crate) fn create_lock_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    /// Makes a new file that all users may read (as `%ProgramData%` has it), which is enough to lock it.
    pub(crate) fn create_for_all(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Nothing: that flushing a folder does anything is documented nowhere.
    pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Names of the same file as one text.
    pub(crate) fn fold_case(path: String) -> String {
        path.to_lowercase()
    }

    pub(super) fn network_filesystem(_: &Path) -> io::Result<Option<&'static str>> {
        // A share is known by its UNC prefix, mapped drives too.
        Ok(None)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::lock::LockDirectory;
    use crate::sqlite::Store;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_state_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("a/.almaplan")).unwrap();
        let open = rusqlite::Connection::open(store.dir().join("state.db")).unwrap();
        open.execute_batch("BEGIN IMMEDIATE; SELECT * FROM runs").unwrap();
        assert_eq!(mode(store.dir()), 0o700);
        for file in ["state.db", "state.db-wal", "state.db-shm"] {
            assert_eq!(mode(&store.dir().join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn the_umask_neither_hides_the_records_of_root_nor_opens_the_folder_of_locks() {
        let folder = tempfile::tempdir().unwrap();
        let (shared, record) = (folder.path().join("shared"), folder.path().join("record"));
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let made = (create_lock_dir(&shared), create_for_all(&record));
        rustix::process::umask(before);
        assert!(made.0.is_ok() && made.1.is_ok());
        assert_eq!([mode(&shared), mode(&record)], [if is_root() { 0o755 } else { 0o700 }, 0o644]);
        // Older versions made it for everybody.
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
        LockDirectory::at(&shared).unwrap();
        assert_eq!(mode(&shared) & 0o022, 0, "it is for its owner alone from here on");
    }

    #[test]
    fn the_folder_of_the_machine_is_nobodys_own_and_survives_a_reboot() {
        // `/run` and often `/tmp` are emptied; `$TMPDIR` and a home are one user's.
        assert!(machine_folder().starts_with("/var/tmp"), "{}", machine_folder().display());
    }

    #[test]
    fn a_local_folder_is_no_network_share_even_before_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(network_share(&folder.path().join("not/yet")).unwrap(), None);
    }

    #[test]
    fn links_are_other_names_of_the_same_lock_even_before_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir_all(real.join("srv/a/b")).unwrap();
        symlink("srv", real.join("current")).unwrap();
        symlink(real.join("srv/a/b"), real.join("deep")).unwrap();
        symlink("srv/later/x", real.join("dangling")).unwrap();
        symlink("loop", real.join("loop")).unwrap();
        let canonical = |text: &str| LockDirectory::canonical(text, &real);
        let wanted = |path: &str| real.join(path).to_string_lossy().into_owned();

        assert_eq!(canonical("current/"), wanted("srv"));
        assert_eq!(canonical("current/not/yet"), wanted("srv/not/yet"));
        assert_eq!(canonical("deep/.."), wanted("srv/a"));
        assert_eq!(canonical("./dangling"), wanted("srv/later/x"));
        assert_eq!(canonical("dangling/../y"), wanted("srv/later/y"));
        assert_eq!(canonical("./loop"), wanted("loop"));
        std::fs::create_dir_all(real.join("srv/later/x")).unwrap();
        assert_eq!(canonical("./dangling"), wanted("srv/later/x"));
    }

    #[test]
    fn a_folder_of_locks_below_one_that_is_open_to_all_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        LockDirectory::at(folder.path().join("locks")).unwrap_err();
    }
}
