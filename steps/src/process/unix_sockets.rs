//! Which sockets listen on a port, as the Linux kernel tells: by `sock_diag`, which looks at listening sockets alone (tens of
//! microseconds), else by `/proc/net/tcp`, for which the kernel walks through all connections that there could be (milliseconds,
//! and it is asked again and again while a service is down).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

const LISTEN: u8 = 10;

/// A socket, as its inode.
pub type Socket = u64;

/// The sockets that listen on `port`, by inode.
pub fn listening(port: u16) -> io::Result<HashSet<Socket>> {
    let mut inodes = HashSet::new();
    for (family, table) in [(AddressFamily::INET, "/proc/net/tcp"), (AddressFamily::INET6, "/proc/net/tcp6")] {
        match ask_kernel(family, port) {
            Ok(found) => inodes.extend(found),
            // A container may forbid it.
            Err(_) => inodes.extend(read_table(table, port)?),
        }
    }
    Ok(inodes)
}

/// See sock_diag(7).
fn ask_kernel(family: AddressFamily, port: u16) -> io::Result<Vec<u64>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    send(&socket, &question(family, port), SendFlags::empty())?;
    let mut inodes = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        // The kernel has answered before `send` returned: there is nothing to wait for.
        let (length, _) = recv(&socket, &mut *buffer, RecvFlags::DONTWAIT)?;
        if take_answers(&buffer[..length], port, &mut inodes)? {
            return Ok(inodes);
        }
    }
}

fn question(family: AddressFamily, port: u16) -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST_AND_DUMP: u16 = 0x301;
    const TCP: u8 = 6;
    const ANY_COOKIE: [u8; 8] = [0xFF; 8];
    let mut message = Vec::with_capacity(72);
    // nlmsghdr: length, type, flags, sequence, sender.
    message.extend(72_u32.to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_AND_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    // inet_diag_req_v2: family, protocol, no extensions, padding, states, then a socket of which only the port is given.
    message.extend([family.as_raw() as u8, TCP, 0, 0]);
    message.extend((1_u32 << LISTEN).to_ne_bytes());
    message.extend(port.to_be_bytes());
    message.extend([0; 2 + 16 + 16 + 4]);
    message.extend(ANY_COOKIE);
    message
}

/// Adds the inodes of one datagram to `inodes`; whether it was the last one.
fn take_answers(mut datagram: &[u8], port: u16, inodes: &mut Vec<u64>) -> io::Result<bool> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not understood");
    while !datagram.is_empty() {
        let length = u32_at(datagram, 0).ok_or_else(broken)? as usize;
        let kind = u16::from_ne_bytes(datagram.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?);
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(broken()),
            _ => {}
        }
        // inet_diag_msg after the header: family, state, two more; the port; much else; the inode as its last field.
        let socket = datagram.get(16..length).filter(|socket| socket.len() >= 72).ok_or_else(broken)?;
        if socket[1] == LISTEN && socket[4..6] == port.to_be_bytes() {
            inodes.push(u32_at(socket, 68).ok_or_else(broken)?.into());
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_table(table: &str, port: u16) -> io::Result<Vec<u64>> {
    let file = match File::open(table) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()), // a kernel without IPv6
        Err(error) => return Err(error),
    };
    let mut inodes = Vec::new();
    for line in BufReader::new(file).lines().skip(1) {
        inodes.extend(parse_listening(&line?).filter(|(local, _)| *local == port).map(|(_, inode)| inode));
    }
    Ok(inodes)
}

/// Port and inode of a listening socket; `None` for any other.
fn parse_listening(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    (u8::from_str_radix(state, 16).ok()? == LISTEN).then_some((port, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernel_and_its_tables_agree_on_who_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            // A connection has the same local port and does not listen.
            let _connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let _accepted = listener.accept().unwrap();
            let (family, table) = match listener.local_addr().unwrap().is_ipv4() {
                true => (AddressFamily::INET, "/proc/net/tcp"),
                false => (AddressFamily::INET6, "/proc/net/tcp6"),
            };
            let asked = ask_kernel(family, port).unwrap();
            assert_eq!(asked.len(), 1, "{address}");
            assert_eq!(asked, read_table(table, port).unwrap());
            drop(listener);
            assert!(ask_kernel(family, port).unwrap().is_empty());
        }
    }
}
