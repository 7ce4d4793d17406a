//! Job objects: what comes through a gate is in one, whatever becomes of its parents.
//!
//! ```text
//!  suspended ──> in a job that ends it when we end ──> journaled ──> a command stays so
//!                                                                └─> a service keeps the job, and the job loses its power
//! ```
//! A job is named after its first process. The name lives as long as a handle is open: ours of a command, and of a service the
//! one that is put into the service itself.
#![allow(unsafe_code, reason = "job objects and suspended threads are offered by no crate that is used here")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};

use tokio::process::{Child, Command};
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, OpenJobObjectW,
    QueryInformationJobObject, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NO_WINDOW, CREATE_SUSPENDED, GetCurrentProcess, OpenProcess, OpenThread, PROCESS_DUP_HANDLE,
    PROCESS_QUERY_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION, ResumeThread, THREAD_SUSPEND_RESUME,
};

use super::table::succeeded;

/// See `JOB_OBJECT_QUERY`.
const QUERY: u32 = 4;

/// Starts `command` suspended, with a console of its own that nobody sees: without one, Ctrl+C could never reach it.
pub fn spawn_suspended(command: &mut Command, outlives_us: bool) -> io::Result<Child> {
    let flags = CREATE_SUSPENDED | CREATE_NO_WINDOW;
    if outlives_us {
        match command.creation_flags(flags | CREATE_BREAKAWAY_FROM_JOB).spawn() {
            // We are in a job that nothing may leave, see `binds_us`.
            Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {}
            spawned => return spawned,
        }
    }
    command.creation_flags(flags).spawn()
}

/// Lets the only thread of a suspended process run.
pub fn resume(pid: u32) -> io::Result<()> {
    let thread = threads_of(pid)?.first().copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has ended"))?;
    // SAFETY: no pointers but the handle, which is checked before it is owned.
    unsafe {
        let thread = owned(OpenThread(THREAD_SUSPEND_RESUME, 0, thread))?;
        if ResumeThread(thread.as_raw_handle()) == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn threads_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut threads = Vec::new();
    // SAFETY: the snapshot is checked before it is owned, and the structure says how long it is.
    unsafe {
        let snapshot = owned(CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0))?;
        let mut thread: THREADENTRY32 = zeroed();
        thread.dwSize = size_of::<THREADENTRY32>() as u32;
        let mut more = Thread32First(snapshot.as_raw_handle(), &mut thread);
        while more != 0 {
            if thread.th32OwnerProcessID == pid {
                threads.push(thread.th32ThreadID);
            }
            more = Thread32Next(snapshot.as_raw_handle(), &mut thread);
        }
    }
    Ok(threads)
}

/// Whether we are in a job that ends all its processes with it and lets none of them leave.
pub fn binds_us() -> bool {
    const LEAVE: u32 = JOB_OBJECT_LIMIT_BREAKAWAY_OK | JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK;
    let mut in_job = 0;
    // SAFETY: the handle of ourselves needs no closing; no job means any job.
    let asked = unsafe { IsProcessInJob(GetCurrentProcess(), null_mut(), &mut in_job) };
    let flags = || limits(null_mut()).map_or(0, |limits| limits.BasicLimitInformation.LimitFlags);
    asked != 0 && in_job != 0 && flags() & JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE != 0 && flags() & LEAVE == 0
}

/// Limits of `job`, or of the one that we are in.
fn limits(job: RawHandle) -> io::Result<JOBOBJECT_EXTENDED_LIMIT_INFORMATION> {
    // SAFETY: the structure is plain numbers for which zero is a value, and the call is told its size.
    unsafe {
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = zeroed();
        let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
        let done = QueryInformationJobObject(job, JobObjectExtendedLimitInformation, (&raw mut limits).cast(), size, null_mut());
        succeeded(done).map(|()| limits)
    }
}

/// The job of what came through a gate.
#[derive(Debug)]
pub struct Job(OwnedHandle);

impl Job {
    /// A new one for the process that has `pid` and started at `started`; when the last handle is closed, all in it end.
    pub fn create(pid: u32, started: u64) -> io::Result<Self> {
        let name = name(pid, started);
        // SAFETY: the name ends with a zero; the handle is checked before it is owned.
        let job = Self(unsafe { owned(CreateJobObjectW(null(), name.as_ptr())) }?);
        job.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)?;
        Ok(job)
    }

    /// The one of that process; `None` where it came through no gate, or there is nothing left of it.
    pub fn open(pid: u32, started: u64) -> Option<Self> {
        let name = name(pid, started);
        // SAFETY: as above.
        unsafe { owned(OpenJobObjectW(QUERY, 0, name.as_ptr())) }.ok().map(Self)
    }

    /// Takes a process in.
    pub fn take(&self, process: RawHandle) -> io::Result<()> {
        // SAFETY: both handles are open.
        succeeded(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process) })
    }

    /// Whether `pid` is in it.
    pub fn holds(&self, pid: u32) -> bool {
        let mut holds = 0;
        // SAFETY: the process's handle is checked before it is owned, and open while it is asked about.
        let asked = unsafe {
            // The lesser right is enough on Windows, and the only one to be had of another user's process; Wine wants the other.
            let open = |rights| owned(OpenProcess(rights, 0, pid));
            let opened = open(PROCESS_QUERY_INFORMATION).or_else(|_| open(PROCESS_QUERY_LIMITED_INFORMATION));
            let Ok(process) = opened else { return false };
            IsProcessInJob(process.as_raw_handle(), self.0.as_raw_handle(), &mut holds)
        };
        asked != 0 && holds != 0
    }

    /// From now on its processes go on when we end, and its name lives as long as `pid`, which is handed a handle for that.
    pub fn let_outlive(&self, pid: u32) -> io::Result<()> {
        self.limit(0)?;
        let mut theirs = null_mut();
        // SAFETY: all handles are open; the new one belongs to the other process, which never hears of it.
        unsafe {
            let process = owned(OpenProcess(PROCESS_DUP_HANDLE, 0, pid))?;
            let (ours, us) = (self.0.as_raw_handle(), GetCurrentProcess());
            succeeded(DuplicateHandle(us, ours, process.as_raw_handle(), &mut theirs, 0, 0, DUPLICATE_SAME_ACCESS))
        }
    }

    fn limit(&self, flags: u32) -> io::Result<()> {
        let mut limits = limits(self.0.as_raw_handle())?;
        limits.BasicLimitInformation.LimitFlags = flags;
        let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
        // SAFETY: the structure lives through the call, which is told its size.
        let done =
            unsafe { SetInformationJobObject(self.0.as_raw_handle(), JobObjectExtendedLimitInformation, (&raw const limits).cast(), size) };
        succeeded(done)
    }
}

/// The same for all users and sessions of the machine, with a zero at its end.
fn name(pid: u32, started: u64) -> Vec<u16> {
    format!("Global\\almaplan-{pid}-{started}\0").encode_utf16().collect()
}

/// # Safety
/// `handle` is open and nobody else's, or one of the two values that mean that the last call failed.
unsafe fn owned(handle: RawHandle) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Stdio;

    use super::super::table;
    use super::*;

    #[tokio::test]
    async fn a_job_tells_its_own_and_takes_them_along() {
        let mut command = Command::new("ping");
        command.args(["-n", "60", "127.0.0.1"]).stdout(Stdio::null());
        let mut child = spawn_suspended(&mut command, false).unwrap();
        let pid = child.id().unwrap();
        let started = table::entry(pid).unwrap().started;
        assert!(Job::open(pid, started).is_none());
        let job = Job::create(pid, started).unwrap();
        assert!(!job.holds(pid));
        job.take(child.raw_handle().unwrap()).unwrap();
        let known = Job::open(pid, started).unwrap();
        assert!(known.holds(pid) && !known.holds(std::process::id()));
        resume(pid).unwrap();
        drop((known, job));
        child.wait().await.unwrap();
    }

    #[tokio::test]
    async fn what_outlives_us_keeps_its_job_and_loses_nothing_else() {
        let mut command = Command::new("ping");
        command.args(["-n", "60", "127.0.0.1"]).stdout(Stdio::null());
        let mut child = spawn_suspended(&mut command, true).unwrap();
        let pid = child.id().unwrap();
        let started = table::entry(pid).unwrap().started;
        let job = Job::create(pid, started).unwrap();
        job.take(child.raw_handle().unwrap()).unwrap();
        job.let_outlive(pid).unwrap();
        resume(pid).unwrap();
        drop(job);
        assert!(Job::open(pid, started).unwrap().holds(pid), "its name lives as long as it does");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().await.unwrap();
    }
}
