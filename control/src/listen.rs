//! Where control listens: admin API on TCP, the same on a unix socket for whoever owns the machine.
//!
//! Binding happens here and names what is wrong; [`serve`] answers requests; [`secured`] puts TLS before them;
//! [`directory`] owns the data directory and its lock.

pub mod directory;
pub mod ports;
pub mod secured;
pub mod serve;
pub mod socket;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use config::limits;

/// Why control cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error("cannot listen on {address}: {why}", why = why(cause))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The socket's path does not fit into the kernel's structure.
    #[error(
        "the path of the unix socket {path} has {bytes} bytes and the system takes {max}; choose a shorter data directory",
        path = path.display(), max = limits::SOCKET_PATH_BYTES_MAX
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The socket cannot be made.
    #[error("cannot listen on the unix socket {path}: {why}", path = path.display(), why = why(cause))]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// What people call the errors of a bind; the system's own words and number otherwise.
fn why(cause: &io::Error) -> String {
    let known = [
        (io::ErrorKind::AddrInUse, "address in use"),
        (io::ErrorKind::AddrNotAvailable, "this machine has no such address"),
        (
            io::ErrorKind::PermissionDenied,
            "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
        ),
    ];
    let said = known.iter().find(|(kind, _)| *kind == cause.kind());
    said.map_or_else(|| cause.to_string(), |(_, said)| (*said).to_owned())
}

/// Binds one address for a tokio listener.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|cause| ListenError::Bind { address, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_as_people_name_it() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr();
        let holder = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}: address in use"));
        drop(taken);
    }
}
