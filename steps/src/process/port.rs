//! Who listens on a port.

use super::{Tree, is_alive, system};

/// Why it cannot be told who listens.
#[derive(Debug, thiserror::Error)]
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
        source: std::io::Error,
    },
}

/// The processes that listen on TCP `port`, on whatever address; several where a socket is shared. Empty: the port is free.
///
/// # Errors
/// Someone listens who may not be seen.
pub fn listeners(port: u16) -> Result<Vec<u32>, PortError> {
    // A socket closed between the two looks has no holder: look again before calling it hidden.
    for _ in 0..3 {
        let sockets = sockets(port)?;
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let (holders, _) = system::holders(&sockets, None);
        if !holders.is_empty() {
            return Ok(holders);
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// Nobody.
    Nobody,
    /// This process of the tree: the proof that an answer comes from it.
    Member(u32),
    /// Somebody, but none of the tree.
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
    if let Some(root) = root.filter(|root| !system::holders(&sockets, Some(&[*root])).0.is_empty()) {
        return Ok(Listening::Member(root));
    }
    Ok(system::holders(&sockets, Some(&tree.refresh())).0.first().map_or(Listening::Other, |pid| Listening::Member(*pid)))
}

fn sockets(port: u16) -> Result<std::collections::HashSet<u64>, PortError> {
    system::listening(port).map_err(|source| PortError::Unreadable { port, source })
}
