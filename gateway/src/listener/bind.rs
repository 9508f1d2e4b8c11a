//! Opens the listening sockets of one address: one for each worker, sharing the port by SO_REUSEPORT.
//!
//! With SO_REUSEPORT the kernel lets two servers of one user share a port in silence. So the first socket binds
//! without it, which fails if anybody listens there, and only then gets it, so that its siblings may join. The port is
//! never free in between.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use config::limits;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(cause, *address))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said; not repeated as the source, for the message names it.
    pub cause: io::Error,
}

fn reason(cause: &io::Error, address: SocketAddr) -> String {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let kind = cause.kind();
    if kind == AddrInUse {
        "address in use".to_owned()
    } else if kind == AddrNotAvailable {
        "this machine has no such address".to_owned()
    } else if kind == PermissionDenied && address.port() < 1024 {
        "permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE; set another port otherwise"
            .to_owned()
    } else if kind == PermissionDenied {
        "permission denied".to_owned()
    } else {
        cause.to_string()
    }
}

/// The sockets of one listener, all on the same port.
#[derive(Debug)]
pub struct Bound {
    /// The address in force, with the real port.
    pub address: SocketAddr,
    /// One for each worker; non-blocking.
    pub sockets: Vec<TcpListener>,
}

/// Listens on `address` with `workers` sockets. Port 0 is any free port.
///
/// Errors: the address is taken, not ours to take, or not this machine's.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Bound, BindError> {
    open(address, workers.max(1)).map_err(|cause| BindError { address, cause })
}

/// Listens beside sockets of ours that are there, with `more` sockets.
///
/// Errors: nobody shares the address, or it is not ours.
pub(crate) fn join(address: SocketAddr, more: usize) -> Result<Vec<TcpListener>, BindError> {
    let one = || -> io::Result<TcpListener> {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into())?;
        next.listen(limits::LISTEN_BACKLOG)?;
        Ok(next.into())
    };
    (0..more).map(|_| one()).collect::<io::Result<_>>().map_err(|cause| BindError { address, cause })
}

fn open(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let first = socket(address)?;
    first.bind(&address.into())?;
    let bound = first.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))?;
    // The first listens before it may be joined: of two processes that got here at once, one fails.
    first.set_reuse_port(true)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        sockets.push(next);
    }
    for socket in &sockets {
        socket.listen(limits::LISTEN_BACKLOG)?;
    }
    Ok(Bound { address: bound, sockets: sockets.into_iter().map(TcpListener::from).collect() })
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are in TIME_WAIT is free to listen on.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners; which one took a connection must not depend on a sysctl.
        socket.set_only_v6(true)?;
    }
    // Every connection that is accepted has it from here: a client that is gone without a word is found out long before
    // the silence of a tunnel is over.
    let (idle_ms, interval_ms, probes) = limits::UPSTREAM_KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_millis(idle_ms))
        .with_interval(Duration::from_millis(interval_ms))
        .with_retries(probes);
    socket.set_tcp_keepalive(&keepalive)?;
    // What is accepted from it has it from the start, without being told one by one.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn any() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[test]
    fn every_worker_gets_a_socket_on_one_port() {
        let bound = bind(any(), 3).unwrap();

        assert_eq!(bound.sockets.len(), 3);
        for socket in &bound.sockets {
            assert_eq!(socket.local_addr().unwrap(), bound.address);
        }
    }

    #[test]
    fn a_connection_that_is_accepted_is_kept_alive_by_probes() {
        let bound = bind(any(), 1).unwrap();
        let _client = TcpStream::connect(bound.address).unwrap();
        let socket = bound.sockets.first().unwrap();
        socket.set_nonblocking(false).unwrap();
        let (accepted, _) = socket.accept().unwrap();

        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        let (idle_ms, interval_ms, probes) = limits::UPSTREAM_KEEPALIVE;
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_millis(idle_ms));
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_millis(interval_ms));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), probes);
    }

    #[test]
    fn connections_reach_every_socket_of_a_set() {
        let bound = bind(any(), 2).unwrap();

        let _open: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(bound.address).unwrap()).collect();

        let accepted: Vec<usize> =
            bound.sockets.iter().map(|socket| std::iter::from_fn(|| socket.accept().ok()).count()).collect();
        assert_eq!(accepted.iter().sum::<usize>(), 64);
        assert!(accepted.iter().all(|n| *n > 0), "{accepted:?}");
    }

    #[test]
    fn a_port_that_another_gateway_shares_by_reuseport_is_taken() {
        let theirs = bind(any(), 2).unwrap();

        let error = bind(theirs.address, 2).unwrap_err();

        assert_eq!(error.to_string(), format!("cannot listen on {}: address in use", theirs.address));
    }

    #[test]
    fn a_port_that_a_plain_server_holds_is_taken() {
        let theirs = TcpListener::bind(any()).unwrap();
        let error = bind(theirs.local_addr().unwrap(), 2).unwrap_err();
        assert!(error.to_string().ends_with("address in use"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = bind(([192, 0, 2, 1], 0).into(), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0: this machine has no such address");
    }

    #[test]
    fn a_low_port_without_permission_comes_with_advice() {
        let error = BindError {
            address: ([0, 0, 0, 0], 80).into(),
            cause: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        assert!(error.to_string().contains("CAP_NET_BIND_SERVICE"), "{error}");
    }
}
