//! Who listens on a port.

use std::collections::HashSet;
use std::time::Duration;

use almaplan_engine::event::ProcessIdentity;
use almaplan_engine::words::verbatim;
use serde::Serialize;

use super::system::{self, Socket};
use super::{Tree, identify, is_alive};

/// Why it cannot be told who listens.
#[derive(Debug, Serialize, thiserror::Error)]
pub enum PortError {
    /// Another user's process, or one in another container.
    #[error(
        "something listens on port {port}, but this user may not see which process; run almaplan as the user of that service, or as administrator"
    )]
    Hidden {
        /// The port.
        port: u16,
    },
    /// The system does not tell.
    #[error("it cannot be told who listens on port {port}: {source}")]
    Unreadable {
        /// The port.
        port: u16,
        /// Why.
        #[serde(serialize_with = "verbatim")]
        source: std::io::Error,
    },
}

/// The processes that listen on TCP `port`, on whatever address; several where a socket is shared. Empty: the port is free.
///
/// # Errors
/// Someone listens who may not be seen.
pub fn listeners(port: u16) -> Result<Vec<ProcessIdentity>, PortError> {
    // A socket closed between the two looks has no holder, and not every system knows at once whose a new one is: look again
    // before calling it hidden.
    for pause in [0, 0, 5, 20, 100, 200].map(Duration::from_millis) {
        std::thread::sleep(pause);
        let sockets = sockets(port)?;
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let holders = holders(&sockets, None);
        if !holders.is_empty() {
            return Ok(holders.into_iter().map(|(process, _)| process).collect());
        }
    }
    Err(PortError::Hidden { port })
}

/// Whether anyone listens on `port`. Cheap enough to ask every few milliseconds.
///
/// # Errors
/// The system does not tell.
pub fn is_listened_on(port: u16) -> Result<bool, PortError> {
    Ok(!sockets(port)?.is_empty())
}

/// Who listens on a port, seen from a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listening {
    /// Nobody.
    Nobody,
    /// This process of the tree and nobody else: the proof that an answer comes from it.
    Member(ProcessIdentity),
    /// Somebody of no such tree, be it beside one of it.
    Other,
}

/// Who listens on `port`, seen from `tree`. Cheap while nobody does.
///
/// # Errors
/// The system does not tell.
pub fn listening(tree: &mut Tree, port: u16) -> Result<Listening, PortError> {
    let sockets = sockets(port)?;
    if sockets.is_empty() {
        return Ok(Listening::Nobody);
    }
    // The root alone first: usually it is the one, and looking for its children takes longer.
    let root = Some(tree.root()).filter(|root| is_alive(root)).map(|root| root.pid);
    let member = root.and_then(|root| sole_holder(&sockets, &[root])).or_else(|| sole_holder(&sockets, &tree.refresh()));
    Ok(member.map_or(Listening::Other, Listening::Member))
}

/// One of `pids` that holds a socket, where every socket is held by one of them: who shares a port with others proves nothing.
fn sole_holder(sockets: &HashSet<Socket>, pids: &[u32]) -> Option<ProcessIdentity> {
    let holders = holders(sockets, Some(pids));
    let held: HashSet<Socket> = holders.iter().flat_map(|(_, held)| held.iter().copied()).collect();
    holders.into_iter().next().map(|(process, _)| process).filter(|_| held == *sockets)
}

/// Which of the processes `among` (`None`: all) hold which of `sockets`.
fn holders(sockets: &HashSet<Socket>, among: Option<&[u32]>) -> Vec<(ProcessIdentity, HashSet<Socket>)> {
    system::holders(sockets, among).into_iter().filter_map(|(pid, _)| holder(pid, sockets)).collect()
}

/// Who `pid` is and what of `sockets` that very process holds: one that ran before and after the look is the one looked at.
fn holder(pid: u32, sockets: &HashSet<Socket>) -> Option<(ProcessIdentity, HashSet<Socket>)> {
    let process = identify(pid)?;
    let (_, held) = system::holders(sockets, Some(&[pid])).pop()?;
    is_alive(&process).then_some((process, held))
}

fn sockets(port: u16) -> Result<HashSet<Socket>, PortError> {
    system::listening(port).map_err(|source| PortError::Unreadable { port, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listeners(port).unwrap().contains(&identify(std::process::id()).unwrap()));
        drop(listener);
        // A child that another test starts just now may hold it for a moment longer.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !listeners(port).unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "a closed socket still counts as listening");
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_shares_a_port_with_a_stranger_does_not_prove_anything() {
        let ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let us = identify(std::process::id()).unwrap();
        let mut tree = Tree::of(&us);
        assert_eq!(listening(&mut tree, port).unwrap(), Listening::Member(us));
        // Another address of the same port, as a socket that is shared would look.
        let code = format!("import socket,sys; s=socket.create_server(('127.0.0.2',{port})); print(flush=True); sys.stdin.read()");
        let mut stranger = std::process::Command::new("python3");
        stranger.args(["-c", &code]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut stranger = stranger.spawn().unwrap();
        std::io::Read::read(stranger.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert_eq!(listening(&mut tree, port).unwrap(), Listening::Other);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
