//! What the file system says that std does not: free space, where volumes begin, when a file really changed.
#![allow(unsafe_code, reason = "these calls are offered by no crate that is used here")]

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FileBasicInfo,
    GetDiskFreeSpaceExW, GetFileInformationByHandle, GetFileInformationByHandleEx, GetVolumePathNameW,
};

/// These calls know no longer names, and no volume begins below one.
const LONGEST: usize = 248;

/// Bytes that this user may still write on the volume of the folder `path`.
pub(super) fn free_space(path: &Path) -> io::Result<u64> {
    let fits = |folder: &&Path| folder.as_os_str().len() < LONGEST && folder.is_dir();
    let folder = path.ancestors().find(fits).unwrap_or(path);
    let mut free = 0;
    // SAFETY: the name ends with a zero, and what is not asked for may be null.
    succeeded(unsafe { GetDiskFreeSpaceExW(wide(folder).as_ptr(), &mut free, null_mut(), null_mut()) }).map(|()| free)
}

/// Whether a volume or a share begins at `path`.
pub(super) fn is_root(path: &Path) -> io::Result<bool> {
    if path.as_os_str().len() >= LONGEST {
        return Ok(false);
    }
    let path = path.canonicalize()?;
    let mut buffer = vec![0_u16; 32 << 10];
    // SAFETY: the name ends with a zero, and the call is told how long the buffer is.
    succeeded(unsafe { GetVolumePathNameW(wide(&path).as_ptr(), buffer.as_mut_ptr(), buffer.len() as u32) })?;
    let length = buffer.iter().position(|unit| *unit == 0).unwrap_or_default();
    let begins = PathBuf::from(OsString::from_wide(&buffer[..length]));
    let plain = |path: &Path| crate::process::comparable(&path.to_string_lossy()).trim_end_matches('\\').to_owned();
    Ok(plain(&begins) == plain(&path))
}

/// When anything about a file changed, which nobody sets back as they may its other times, and its file id.
pub(super) fn changed_and_file_id(path: &Path) -> io::Result<(i64, u64)> {
    let file = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    // SAFETY: the handle is open; both structures are plain numbers for which zero is a value, and have the size that is told.
    unsafe {
        let (mut basic, mut whole): (FILE_BASIC_INFO, BY_HANDLE_FILE_INFORMATION) = zeroed();
        let (handle, size) = (file.as_raw_handle(), size_of::<FILE_BASIC_INFO>() as u32);
        succeeded(GetFileInformationByHandleEx(handle, FileBasicInfo, (&raw mut basic).cast(), size))?;
        succeeded(GetFileInformationByHandle(handle, &mut whole))?;
        Ok((basic.ChangeTime, u64::from(whole.nFileIndexHigh) << 32 | u64::from(whole.nFileIndexLow)))
    }
}

fn succeeded(returned: i32) -> io::Result<()> {
    if returned == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}
