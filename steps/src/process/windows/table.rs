//! The system's process table, and looking at one process.
#![allow(unsafe_code, reason = "the calls of the Windows API that neither std nor sysinfo offers")]

use std::ffi::{OsString, c_void};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::time::Duration;

use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemProcessInformation};
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, FILETIME, STATUS_INFO_LENGTH_MISMATCH, UNICODE_STRING, WAIT_OBJECT_0};
use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_BASIC_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE,
    QueryFullProcessImageNameW, TerminateProcess, WaitForSingleObject,
};

use crate::process::vocabulary::Entry;

/// The process that is the system itself, and that starts with it.
const SYSTEM: u32 = 4;

/// When the system's own process started, to 100 ns: other than the time since the boot it does not move when the clock is set.
/// Where that has no time (Wine), the oldest process that has one.
pub fn boot() -> String {
    let table = entries();
    let started = |entry: &Entry| Some(entry.started).filter(|started| *started > 0);
    let system = table.iter().find(|entry| entry.pid == SYSTEM).and_then(started);
    system.or_else(|| table.iter().filter_map(started).min()).map(|started| started.to_string()).unwrap_or_default()
}

/// The row of `pid`.
pub fn entry(pid: u32) -> Option<Entry> {
    if pid == 0 {
        return None;
    }
    match open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE) {
        Ok(process) => look(pid, &process),
        // Another user's: it may not be opened, but is in the table.
        Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {
            entries().into_iter().find(|entry| entry.pid == pid)
        }
        Err(_) => None,
    }
}

/// The file that `pid` executes; `None` also where it may not be seen.
pub fn executable(pid: u32) -> Option<PathBuf> {
    let process = open(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
    let mut buffer = vec![0_u16; 32 << 10];
    let mut length = buffer.len() as u32;
    // SAFETY: the handle is open, and the length is that of the buffer.
    let done = unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), 0, buffer.as_mut_ptr(), &mut length) };
    (done != 0).then(|| OsString::from_wide(&buffer[..length as usize]).into())
}

/// Ends the process that has `pid` and started at `started`; nothing where that one has ended.
pub fn terminate(pid: u32, started: u64) -> io::Result<()> {
    const KILLED: u32 = 1;
    let rights = PROCESS_TERMINATE | PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
    let runs = || entry(pid).is_some_and(|entry| entry.started == started && !entry.ended);
    // The handle stands for one process for good: what is checked after it was opened cannot change any more.
    let ended = open(pid, rights).and_then(|process| {
        if look(pid, &process).is_none_or(|entry| entry.started != started || entry.ended) {
            return Ok(());
        }
        // SAFETY: the handle is open.
        succeeded(unsafe { TerminateProcess(process.as_raw_handle(), KILLED) })
    });
    // One that is just ending may not be opened or ended any more.
    ended.or_else(|error| if runs() { Err(error) } else { Ok(()) })
}

fn open(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: no pointers; the handle that comes back is checked, and nobody else's.
    unsafe {
        let process = OpenProcess(rights, 0, pid);
        if process.is_null() { Err(io::Error::last_os_error()) } else { Ok(OwnedHandle::from_raw_handle(process)) }
    }
}

fn look(pid: u32, process: &OwnedHandle) -> Option<Entry> {
    let process = process.as_raw_handle();
    // SAFETY: the handle is open, every structure is plain numbers for which zero is a value, and each call is told its size.
    unsafe {
        let [mut created, mut exited, mut kernel, mut user]: [FILETIME; 4] = zeroed();
        succeeded(GetProcessTimes(process, &mut created, &mut exited, &mut kernel, &mut user)).ok()?;
        let mut basic: PROCESS_BASIC_INFORMATION = zeroed();
        let size = size_of::<PROCESS_BASIC_INFORMATION>() as u32;
        NtQueryInformationProcess(process, ProcessBasicInformation, (&raw mut basic).cast(), size, std::ptr::null_mut());
        let mut memory: PROCESS_MEMORY_COUNTERS = zeroed();
        K32GetProcessMemoryInfo(process, &mut memory, size_of::<PROCESS_MEMORY_COUNTERS>() as u32);
        Some(Entry {
            pid,
            parent: basic.InheritedFromUniqueProcessId as u32,
            group: 0,
            session: 0,
            started: ticks(created),
            ended: WaitForSingleObject(process, 0) == WAIT_OBJECT_0,
            suspended: false,
            cpu: duration(ticks(kernel) + ticks(user)),
            memory: memory.WorkingSetSize as u64,
        })
    }
}

/// The beginning of what the system writes for each process, as far as it is used here.
#[repr(C)]
#[derive(Clone, Copy)]
struct Row {
    next: u32,
    threads: u32,
    reserved: [u64; 3],
    created: u64,
    user: u64,
    kernel: u64,
    name: UNICODE_STRING,
    priority: i32,
    pid: usize,
    parent: usize,
    handles: u32,
    session: u32,
    key: usize,
    peak_virtual: usize,
    virtual_size: usize,
    page_faults: u32,
    peak_working_set: usize,
    working_set: usize,
}

/// Every row, in no order, those of other users as well, but for those that keep the consoles of others.
pub fn entries() -> Vec<Entry> {
    let table = read_table();
    let mut entries = Vec::new();
    let mut at = 0;
    while at + size_of::<Row>() <= table.len() {
        // SAFETY: a whole row fits in what is left of the table, and any bytes make one.
        let row: Row = unsafe { table.as_ptr().add(at).cast::<Row>().read_unaligned() };
        // It is a child of whom it keeps the console for, and ends by itself once nobody is on that any more: it was taken for a
        // program that a command had left running.
        let keeps_a_console = name(&row).eq_ignore_ascii_case("conhost.exe");
        let entry = Entry {
            pid: row.pid as u32,
            parent: row.parent as u32,
            group: 0,
            session: 0,
            started: row.created,
            // Somebody still has a handle of it.
            ended: row.threads == 0 && row.pid != 0,
            suspended: false,
            cpu: duration(row.user + row.kernel),
            memory: row.working_set as u64,
        };
        entries.extend((!keeps_a_console).then_some(entry));
        if row.next == 0 {
            break;
        }
        at += row.next as usize;
    }
    entries
}

/// The file name of its program.
fn name(row: &Row) -> String {
    if row.name.Buffer.is_null() {
        return String::new();
    }
    // SAFETY: the name is in the table that the row is of, as long as the row says.
    let letters = unsafe { std::slice::from_raw_parts(row.name.Buffer, usize::from(row.name.Length) / 2) };
    String::from_utf16_lossy(letters)
}

fn read_table() -> Vec<u8> {
    let mut buffer: Vec<u8> = vec![0; 256 << 10];
    loop {
        let mut length = 0;
        // SAFETY: the call is told how long the buffer is.
        let status = unsafe {
            NtQuerySystemInformation(SystemProcessInformation, buffer.as_mut_ptr().cast::<c_void>(), buffer.len() as u32, &mut length)
        };
        match status {
            // As long as it is: Wine says less than it wrote. Each row says where the next one begins.
            0 => return buffer,
            STATUS_INFO_LENGTH_MISMATCH => buffer.resize(buffer.len().max(length as usize) * 2, 0),
            _ => return Vec::new(),
        }
    }
}

fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Of what Windows counts in 100 ns.
fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(100))
}

/// What the calls mean that return zero when they fail.
pub fn succeeded(returned: i32) -> io::Result<()> {
    if returned == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_table_and_a_look_at_a_process_agree() {
        let looked = entry(std::process::id()).unwrap();
        let listed = entries().into_iter().find(|entry| entry.pid == std::process::id()).unwrap();
        assert_eq!((looked.started, looked.parent, looked.ended), (listed.started, listed.parent, listed.ended));
        assert!(looked.started > 0 && looked.memory > 0 && !looked.ended);
        assert_eq!(boot(), boot());
    }

    #[test]
    fn only_the_process_that_started_then_is_ended() {
        let mut bystander = Command::new("ping").args(["-n", "60", "127.0.0.1"]).stdout(Stdio::null()).spawn().unwrap();
        let seen = entry(bystander.id()).unwrap();
        terminate(seen.pid, seen.started + 1).unwrap();
        assert!(bystander.try_wait().unwrap().is_none());
        terminate(seen.pid, seen.started).unwrap();
        bystander.wait().unwrap();
        assert!(entry(seen.pid).is_none_or(|entry| entry.ended), "a handle is still open, and it counts as ended");
        terminate(seen.pid, seen.started).unwrap();
    }
}
