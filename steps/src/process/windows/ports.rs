//! Who listens on a port, as the system's table of connections tells, with the process of each.
#![allow(unsafe_code, reason = "GetExtendedTcpTable is offered by no crate that is used here")]

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID, TCP_TABLE_OWNER_PID_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

use super::sockets;
use crate::process::running;

/// A socket that listens: where, and who made it. Windows has no number for a socket, and lets several share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socket {
    address: SocketAddr,
    /// 0 where the system does not tell.
    pid: u32,
}

/// The sockets that listen on `port`.
pub fn listening(port: u16) -> io::Result<HashSet<Socket>> {
    let at = |raw: u32| u16::from_be(raw as u16) == port;
    let socket = |ip: IpAddr, pid: u32| Socket { address: (ip, port).into(), pid };
    let v4 = rows::<MIB_TCPROW_OWNER_PID>(AF_INET)?.into_iter().filter(|row| at(row.dwLocalPort));
    let v6 = rows::<MIB_TCP6ROW_OWNER_PID>(AF_INET6)?.into_iter().filter(|row| at(row.dwLocalPort));
    let v4 = v4.map(|row| socket(Ipv4Addr::from(u32::from_be(row.dwLocalAddr)).into(), row.dwOwningPid));
    let v6 = v6.map(|row| socket(IpAddr::from(row.ucLocalAddr), row.dwOwningPid));
    Ok(v4.chain(v6).collect())
}

/// Which of the processes `among` (`None`: all) hold which of `sockets`. Who made a socket and has ended holds it no more: then
/// somebody who inherited it does.
pub fn holders(sockets: &HashSet<Socket>, among: Option<&[u32]>) -> Vec<(u32, HashSet<Socket>)> {
    let (told, untold): (HashSet<Socket>, HashSet<Socket>) =
        sockets.iter().partition(|socket| socket.pid != 0 && running(socket.pid).is_some());
    let mut held: HashMap<u32, HashSet<Socket>> = HashMap::new();
    for socket in told {
        held.entry(socket.pid).or_default().insert(socket);
    }
    if !untold.is_empty() {
        // Whoever may not be looked into holds nothing that can be told, as where all of them may not.
        for (pid, address) in sockets::holders(&untold.iter().map(|socket| socket.address).collect()).unwrap_or_default() {
            held.entry(pid).or_default().extend(untold.iter().filter(|socket| socket.address == address));
        }
    }
    held.into_iter().filter(|(pid, _)| among.is_none_or(|among| among.contains(pid))).collect()
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
