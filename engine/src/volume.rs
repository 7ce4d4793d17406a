//! What the journal and the locks ask of the file system and std does not offer on every system: whose a folder is, who may
//! open a file, whether the disk is a network's. The engine's only platform-dependent code.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf, Prefix};

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

/// What makes a folder unfit to hold what all users of the machine rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// It leads elsewhere, or is not a folder at all.
    NotAFolder,
    /// Whoever owns it, or everybody, may replace what others put there.
    #[cfg_attr(windows, allow(dead_code))]
    NotSticky,
}

pub(crate) use sys::{
    create_for_all, create_private_dir, create_private_file, create_shared_dir, distrust, fold_case, machine_folder, open_untrusted,
    sync_dir,
};

/// Opens the file `path` for appending; it and the folders above it are made for their owner alone where they are missing.
///
/// # Errors
/// The system refuses one of them.
pub fn append_private(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        create_private_dir(folder)?;
    }
    match create_private_file(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(_) | Err(_) => {}
    }
    File::options().append(true).open(path)
}

#[cfg(unix)]
mod sys {
    use std::fs::{DirBuilder, OpenOptions, Permissions};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};

    use rustix::fs::OFlags;

    use super::*;

    const STICKY: u32 = 0o1000;
    const OTHERS_WRITE: u32 = 0o002;

    /// The folder that all users of this machine share.
    pub(crate) fn machine_folder() -> PathBuf {
        PathBuf::from("/var/tmp/almaplan")
    }

    /// Makes `path` and what is missing above it, for its owner alone.
    pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Makes an empty file for its owner alone.
    pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Makes the folder `path` for all users, where none can remove what is another's.
    pub(crate) fn create_shared_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)?;
        // Not by the mode of mkdir: the umask would take its share.
        std::fs::set_permissions(path, Permissions::from_mode(0o1777))
    }

    /// Why the existing folder `path` is unfit to be shared, if it is.
    pub(crate) fn distrust(path: &Path) -> io::Result<Option<Distrust>> {
        let metadata = std::fs::symlink_metadata(path)?;
        if !metadata.is_dir() {
            return Ok(Some(Distrust::NotAFolder));
        }
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        let guarded = metadata.mode() & STICKY != 0 || (ours && metadata.mode() & OTHERS_WRITE == 0);
        Ok((!guarded).then_some(Distrust::NotSticky))
    }

    /// Makes a new file that all users may read, and write if `writable`, whatever the umask says.
    pub(crate) fn create_for_all(path: &Path, writable: bool) -> io::Result<File> {
        let file = OpenOptions::new().write(true).create_new(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
        file.set_permissions(Permissions::from_mode(if writable { 0o666 } else { 0o644 }))?;
        Ok(file)
    }

    /// Opens for reading what another user may have put there: follows no link, waits for no pipe.
    pub(crate) fn open_untrusted(path: &Path) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
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

    /// Makes the folder `path`. Below `%ProgramData%` all users may add files, and change only their own.
    pub(crate) fn create_shared_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    /// Why the existing folder `path` is unfit to be shared, if it is.
    pub(crate) fn distrust(path: &Path) -> io::Result<Option<Distrust>> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok((!metadata.is_dir()).then_some(Distrust::NotAFolder))
    }

    /// Makes a new file that all users may read (as `%ProgramData%` has it), which is enough to lock it.
    pub(crate) fn create_for_all(path: &Path, _writable: bool) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    /// Opens for reading what another user may have put there.
    pub(crate) fn open_untrusted(path: &Path) -> io::Result<File> {
        if !std::fs::symlink_metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        OpenOptions::new().read(true).open(path)
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
    use crate::lock::Claims;
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
    fn shared_things_are_shared_whatever_the_umask_says() {
        let folder = tempfile::tempdir().unwrap();
        let (shared, lock, record) = (folder.path().join("shared"), folder.path().join("lock"), folder.path().join("record"));
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let made = (create_shared_dir(&shared), create_for_all(&lock, true), create_for_all(&record, false));
        rustix::process::umask(before);
        assert!(made.0.is_ok() && made.1.is_ok() && made.2.is_ok());
        assert_eq!([mode(&shared), mode(&lock), mode(&record)], [0o1777, 0o666, 0o644]);
    }

    #[test]
    fn the_folder_of_the_machine_is_nobodys_own_and_survives_a_reboot() {
        // `/run` and often `/tmp` are emptied; `$TMPDIR` and a home are one user's.
        assert!(machine_folder().starts_with("/var/tmp"), "{}", machine_folder().display());
    }

    #[test]
    fn a_folder_in_which_others_could_replace_things_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        create_shared_dir(&path).unwrap();
        assert_eq!(distrust(&path).unwrap(), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(distrust(&path).unwrap(), Some(Distrust::NotSticky));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(distrust(&path).unwrap(), None);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(distrust(&link).unwrap(), Some(Distrust::NotAFolder));
    }

    #[test]
    fn links_and_pipes_of_others_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        create_for_all(&file, false).unwrap();
        symlink(&file, &link).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        open_untrusted(&file).unwrap();
        open_untrusted(&link).unwrap_err();
        open_untrusted(&pipe).unwrap_err();
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
        let canonical = |text: &str| Claims::canonical(text, &real);
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
    fn a_machine_folder_that_is_a_link_or_open_to_all_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        Claims::at(&real).unwrap();
        symlink(&real, &link).unwrap();
        Claims::at(&link).unwrap_err();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o777)).unwrap();
        Claims::at(&real).unwrap_err();
    }
}
