//! Who has files open, as the Restart Manager tells: what installers ask before they replace something.
#![allow(unsafe_code, reason = "the Restart Manager is offered by no crate that is used here")]

use std::os::windows::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null;

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, NO_ERROR};
use windows_sys::Win32::System::RestartManager::{
    CCH_RM_SESSION_KEY, RM_PROCESS_INFO, RmEndSession, RmGetList, RmRegisterResources, RmStartSession,
};

/// The pids of those who have one of `files` open; none where the system does not tell.
pub(super) fn holders(files: &[PathBuf]) -> Vec<u32> {
    let mut session = 0;
    let mut key = [0_u16; CCH_RM_SESSION_KEY as usize + 1];
    // SAFETY: the key has the length that the call asks for.
    if unsafe { RmStartSession(&mut session, 0, key.as_mut_ptr()) } != NO_ERROR {
        return Vec::new();
    }
    let pids = ask(session, files);
    // SAFETY: the session was opened above.
    unsafe { RmEndSession(session) };
    pids.unwrap_or_default()
}

fn ask(session: u32, files: &[PathBuf]) -> Option<Vec<u32>> {
    let names: Vec<Vec<u16>> = files.iter().map(|file| wide(file)).collect();
    let names: Vec<*const u16> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the names end with a zero each and live through the call, which is told how many there are.
    let registered = unsafe { RmRegisterResources(session, names.len() as u32, names.as_ptr(), 0, null(), 0, null()) };
    if registered != NO_ERROR {
        return None;
    }
    let mut processes = vec![RM_PROCESS_INFO::default(); 16];
    loop {
        let (mut needed, mut count, mut reasons) = (0, processes.len() as u32, 0);
        // SAFETY: the call is told how many structures fit.
        match unsafe { RmGetList(session, &mut needed, &mut count, processes.as_mut_ptr(), &mut reasons) } {
            NO_ERROR => return Some(processes[..count as usize].iter().map(|process| process.Process.dwProcessId).collect()),
            ERROR_MORE_DATA if needed > count => processes.resize(needed as usize, RM_PROCESS_INFO::default()),
            _ => return None,
        }
    }
}

fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}
