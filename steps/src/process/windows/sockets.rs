//! Who holds a socket of which the table of connections does not tell: whoever has a handle of it. That is so where its maker has
//! ended and somebody inherited it.
#![allow(unsafe_code, reason = "the handles of other processes are offered by no crate that is used here")]

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::io;
use std::mem::{ManuallyDrop, size_of};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, FromRawSocket, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, STATUS_INFO_LENGTH_MISMATCH};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcess, PROCESS_DUP_HANDLE};

/// An entry of the system's table of handles, as that lays it out.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    object: usize,
    pid: usize,
    handle: usize,
    access: u32,
    backtrace: u16,
    kind: u16,
    attributes: u32,
    reserved: u32,
}

/// Which processes hold sockets that listen at one of `addresses`, as far as this user may look into them.
pub(super) fn holders(addresses: &HashSet<SocketAddr>) -> io::Result<HashSet<(u32, SocketAddr)>> {
    // A pipe that somebody reads from would not even tell what it is: only what looks like a socket of ours is looked at.
    let ours = UdpSocket::bind("127.0.0.1:0")?;
    let handles = handles()?;
    let is_ours = |entry: &&Entry| entry.pid == std::process::id() as usize && entry.handle as u64 == ours.as_raw_socket();
    let like = handles.iter().find(is_ours).map(|entry| (entry.kind, entry.access));
    let mut processes = HashMap::new();
    let alike = handles.iter().filter(|entry| Some((entry.kind, entry.access)) == like);
    let held = alike.filter_map(|entry| {
        let pid = u32::try_from(entry.pid).ok()?;
        let process = processes.entry(pid).or_insert_with(|| open(pid)).as_ref()?;
        listens_at(&copy(process, entry.handle)?).filter(|address| addresses.contains(address)).map(|address| (pid, address))
    });
    Ok(held.collect())
}

/// All handles of all processes.
fn handles() -> io::Result<Vec<Entry>> {
    const EXTENDED_HANDLE_INFORMATION: i32 = 64;
    /// How many there are, and a reserved number.
    const HEAD: usize = 2;
    let mut buffer: Vec<usize> = vec![0; 256 << 10];
    loop {
        let size = u32::try_from(buffer.len() * size_of::<usize>()).map_err(io::Error::other)?;
        // SAFETY: the call is told how long the buffer is.
        let status =
            unsafe { NtQuerySystemInformation(EXTENDED_HANDLE_INFORMATION, buffer.as_mut_ptr().cast::<c_void>(), size, null_mut()) };
        match status {
            0 => break,
            STATUS_INFO_LENGTH_MISMATCH => buffer.resize(buffer.len() * 2, 0),
            status => return Err(io::Error::other(format!("the handles of processes cannot be read: {status:#x}"))),
        }
    }
    let entries = buffer[HEAD..].chunks_exact(size_of::<Entry>() / size_of::<usize>()).take(buffer[0]);
    // SAFETY: each chunk is as long as an entry, which is made of plain numbers.
    Ok(entries.map(|entry| unsafe { entry.as_ptr().cast::<Entry>().read() }).collect())
}

fn open(pid: u32) -> Option<OwnedHandle> {
    // SAFETY: no memory is touched; what is returned is ours, or null.
    unsafe {
        let process = OpenProcess(PROCESS_DUP_HANDLE, 0, pid);
        (!process.is_null()).then(|| OwnedHandle::from_raw_handle(process))
    }
}

/// A handle of our own for what `handle` of `process` is, if that still is anything.
fn copy(process: &OwnedHandle, handle: usize) -> Option<OwnedHandle> {
    let mut copied = null_mut();
    // SAFETY: the process is open, and what is copied is ours.
    unsafe {
        let handle = std::ptr::without_provenance_mut(handle);
        let done = DuplicateHandle(process.as_raw_handle(), handle, GetCurrentProcess(), &mut copied, 0, 0, DUPLICATE_SAME_ACCESS);
        (done != 0).then(|| OwnedHandle::from_raw_handle(copied))
    }
}

/// Where a socket listens; `None` for one that does not, and for what is none.
fn listens_at(handle: &OwnedHandle) -> Option<SocketAddr> {
    // Closed as a handle, not as a socket: that could end the connection of whoever it belongs to.
    // SAFETY: the handle outlives it. What is no socket fails as one.
    let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(handle.as_raw_handle().addr() as u64) });
    let address = socket.local_addr().ok()?;
    socket.peer_addr().is_err().then_some(address)
}
