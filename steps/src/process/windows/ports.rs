//! Who listens on a port, as the system's table of connections tells, with the process of each.
#![allow(unsafe_code, reason = "GetExtendedTcpTable is offered by no crate that is used here")]

use std::collections::HashSet;
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

/// A socket that listens: its address, and who made it. Windows has no number for a socket, and lets several share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socket {
    address: Ipv6Addr,
    /// 0 where the system does not tell.
    pid: u32,
}

/// The sockets that listen on `port`.
pub fn listening(port: u16) -> io::Result<HashSet<Socket>> {
    let at = |raw: u32| u16::from_be(raw as u16) == port;
    let mut found = HashSet::new();
    for row in rows::<MIB_TCPROW_OWNER_PID>(AF_INET)?.into_iter().filter(|row| at(row.dwLocalPort)) {
        let address = Ipv4Addr::from(u32::from_be(row.dwLocalAddr)).to_ipv6_mapped();
        found.insert(Socket { address, pid: row.dwOwningPid });
    }
    for row in rows::<MIB_TCP6ROW_OWNER_PID>(AF_INET6)?.into_iter().filter(|row| at(row.dwLocalPort)) {
        found.insert(Socket { address: row.ucLocalAddr.into(), pid: row.dwOwningPid });
    }
    Ok(found)
}

/// Which of the processes `among` (`None`: all) hold which of `sockets`. Who made a socket and has ended holds it no more: then
/// somebody who inherited it does, and the system does not tell who.
pub fn holders(sockets: &HashSet<Socket>, among: Option<&[u32]>) -> Vec<(u32, HashSet<Socket>)> {
    let pids: HashSet<u32> = sockets.iter().map(|socket| socket.pid).filter(|pid| *pid != 0).collect();
    let asked = |pid: &u32| among.is_none_or(|among| among.contains(pid));
    let held = |pid: u32| sockets.iter().copied().filter(|socket| socket.pid == pid).collect();
    pids.into_iter().filter(asked).filter(|pid| crate::process::running(*pid).is_some()).map(|pid| (pid, held(pid))).collect()
}

/// The listeners of a family; `Row` is the row of that family's table.
fn rows<Row: Copy>(family: u16) -> io::Result<Vec<Row>> {
    // Rows are aligned to four bytes, and so is this.
    let mut buffer: Vec<u32> = vec![0; 4 << 10];
    loop {
        let mut size = (buffer.len() * 4) as u32;
        // SAFETY: the call is told how long the buffer is.
        let result = unsafe {
            GetExtendedTcpTable(buffer.as_mut_ptr().cast::<c_void>(), &mut size, 0, family.into(), TCP_TABLE_OWNER_PID_LISTENER, 0)
        };
        match result {
            NO_ERROR => break,
            ERROR_INSUFFICIENT_BUFFER => buffer.resize(size as usize / 4 + 256, 0),
            // A system without this family.
            50 | 232 | 10047 => return Ok(Vec::new()),
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    let count = buffer[0] as usize;
    let words = size_of::<Row>() / 4;
    let rows = buffer[1..].chunks_exact(words).take(count);
    // SAFETY: each chunk is as long as a row, which is made of plain numbers of at most four bytes.
    Ok(rows.map(|row| unsafe { row.as_ptr().cast::<Row>().read_unaligned() }).collect())
}
