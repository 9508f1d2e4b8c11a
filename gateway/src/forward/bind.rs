//! Opens the sockets of one spot: one for each worker that serves it, sharing the port by SO_REUSEPORT.
//!
//! As in [`crate::listener::bind`], the first binds without it, so that a port is never shared with a stranger in
//! silence. Only where a socket of our own is in the way, which is about to go, the port is joined.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use config::limits;
use config::snapshot::Transport;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::Spot;

/// One socket to accept or receive on; non-blocking.
#[derive(Debug)]
pub(crate) enum Open {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Open {
    /// The kernel's number of the socket, the same in every process that has it.
    pub(super) fn cookie(&self) -> Option<u64> {
        match self {
            // No connection is handed over.
            Self::Tcp(_) => None,
            Self::Udp(socket) => rustix::net::sockopt::socket_cookie(socket).ok(),
        }
    }
}

/// Listens on `spot` with so many sockets; `joins` shares it with those of our own that are there.
pub(super) fn bind(spot: Spot, sockets: usize, joins: bool) -> io::Result<Vec<Open>> {
    let address = SocketAddr::new(spot.ip, spot.port);
    let mut opened = Vec::new();
    for nth in 0..sockets.max(1) {
        let next = socket(spot.transport, address)?;
        if joins || nth > 0 {
            next.set_reuse_port(true)?;
            next.bind(&address.into())?;
        } else {
            next.bind(&address.into())?;
            next.set_reuse_port(true)?;
        }
        opened.push(next);
    }
    let finish = |socket: Socket| match spot.transport {
        Transport::Tcp => {
            socket.listen(limits::LISTEN_BACKLOG)?;
            Ok(Open::Tcp(socket.into()))
        }
        Transport::Udp => Ok(Open::Udp(socket.into())),
    };
    opened.into_iter().map(finish).collect()
}

/// Whether another program has this spot: it is bound for a moment, and nobody is listened to. A spot that cannot be had
/// for another reason is nobody's.
pub(super) fn is_taken(spot: Spot) -> bool {
    let address = SocketAddr::new(spot.ip, spot.port);
    let bound = socket(spot.transport, address).and_then(|socket| socket.bind(&address.into()));
    bound.is_err_and(|cause| cause.kind() == io::ErrorKind::AddrInUse)
}

/// A socket from this spot to one client, which gets that client's datagrams instead of those that listen there.
pub(super) fn bind_for(spot: Spot, local: std::net::IpAddr, client: SocketAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(local, spot.port);
    let socket = socket(Transport::Udp, address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.connect(&client.into())?;
    Ok(socket.into())
}

fn socket(transport: Transport, address: SocketAddr) -> io::Result<Socket> {
    let (form, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), form, Some(protocol))?;
    match transport {
        // A port whose last connections are in TIME_WAIT is free to listen on.
        Transport::Tcp => socket.set_reuse_address(true)?,
        // With it, UDP would share the port with anybody. The size is a wish: the kernel has its own most.
        Transport::Udp => drop(socket.set_recv_buffer_size(limits::UDP_SOCKET_BYTES)),
    }
    if address.is_ipv6() {
        // Each family has a socket of its own: whose port it is must not depend on a sysctl.
        socket.set_only_v6(true)?;
    }
    if transport == Transport::Udp && address.ip().is_unspecified() {
        // Which address a client used is noted when its datagram comes in: asked after the bind, the first would be of
        // nowhere.
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Why a spot cannot be had, for people.
pub(super) fn reason(cause: &io::Error, spot: Spot) -> String {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let kind = cause.kind();
    if kind == AddrInUse {
        format!("{spot} is taken by another program ({cause})")
    } else if kind == AddrNotAvailable {
        format!("{spot}: this machine has no such address ({cause})")
    } else if kind == PermissionDenied && spot.port < 1024 {
        format!("{spot}: ports below 1024 need root or CAP_NET_BIND_SERVICE ({cause})")
    } else {
        format!("{spot} cannot be listened on: {cause}")
    }
}
