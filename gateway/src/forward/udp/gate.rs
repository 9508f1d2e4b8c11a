//! The socket that clients send to. One of every address also says which of them a client used, so that the answer
//! comes from there: a client takes no answer from another one.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrLike, SockaddrStorage, recvmsg,
    sendmmsg,
};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::UdpSocket;

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// A datagram's length, who sent it, and to which address of ours, where there are several.
pub(super) type Heard = (usize, SocketAddr, Option<IpAddr>);

/// A socket that clients send to.
pub(super) struct Gate {
    socket: UdpSocket,
    /// Where the socket has several addresses: room for what the kernel says about a datagram, and for what it is told
    /// about an answer.
    several: Option<Several>,
}

struct Several {
    heard: RefCell<Vec<u8>>,
    told: RefCell<MultiHeaders<SockaddrStorage>>,
}

impl Gate {
    /// A gate of a socket that is bound to this address.
    pub(super) fn new(socket: std::net::UdpSocket, ip: IpAddr) -> io::Result<Self> {
        // What the kernel says was asked for before the bind.
        let room = match ip {
            IpAddr::V4(_) => nix::cmsg_space!(libc::in_pktinfo),
            IpAddr::V6(_) => nix::cmsg_space!(libc::in6_pktinfo),
        };
        let several = ip.is_unspecified().then(|| Several {
            told: RefCell::new(MultiHeaders::preallocate(1, Some(room.clone()))),
            heard: RefCell::new(room),
        });
        Ok(Self { socket: UdpSocket::from_std(socket)?, several })
    }

    /// A second descriptor of the socket.
    pub(super) fn lend(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The kernel's number of the socket.
    pub(super) fn cookie(&self) -> io::Result<u64> {
        Ok(rustix::net::sockopt::socket_cookie(&self.socket)?)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// A datagram's length, who sent it, and to which address of ours, where there are several.
    pub(super) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Heard> {
        self.socket.try_io(Interest::READABLE, || self.recv(buffer))
    }

    /// The same without regard to readiness, which tells of what came last only after another look of the runtime.
    pub(super) fn recv(&self, buffer: &mut [u8]) -> io::Result<Heard> {
        let nobody = || io::Error::other("a datagram of nobody");
        let Some(several) = &self.several else {
            let (count, _, client) = rustix::net::recvfrom(&self.socket, buffer, RecvFlags::DONTWAIT)?;
            let client = client.and_then(|client| SocketAddr::try_from(client).ok()).ok_or_else(nobody)?;
            return Ok((count, client, None));
        };
        let mut control = several.heard.borrow_mut();
        // Its length is what is offered to the kernel.
        let room = control.capacity();
        control.resize(room, 0);
        let mut parts = [IoSliceMut::new(buffer)];
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let came = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)?;
        let client = came.address.as_ref().and_then(address).ok_or_else(nobody)?;
        Ok((came.bytes, client, came.cmsgs()?.find_map(local)))
    }

    /// Sends to a client, from the address that it uses. Allocates nothing.
    ///
    /// Never waits: what does not fit is lost, as on any way of a datagram.
    pub(super) fn send(&self, datagram: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<usize> {
        let (Some(from), Some(several)) = (from, &self.several) else {
            return Ok(rustix::net::sendto(&self.socket, datagram, SEND, &to)?);
        };
        match from {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                self.send_telling(several, datagram, to, ControlMessage::Ipv4PacketInfo(&info))
            }
            IpAddr::V6(ip) => {
                let info =
                    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                self.send_telling(several, datagram, to, ControlMessage::Ipv6PacketInfo(&info))
            }
        }
    }

    /// By the call for several datagrams: that for one has `nix` make room for what is told each time.
    fn send_telling(
        &self,
        several: &Several,
        datagram: &[u8],
        to: SocketAddr,
        told: ControlMessage<'_>,
    ) -> io::Result<usize> {
        let mut headers = several.told.borrow_mut();
        let (parts, to) = ([IoSlice::new(datagram)], [Some(SockaddrStorage::from(to))]);
        sendmmsg(self.socket.as_raw_fd(), &mut headers, [&parts], to, [told], MsgFlags::MSG_DONTWAIT)?;
        Ok(datagram.len())
    }
}

/// Sends on a connected socket. Not by its readiness, of which a new socket knows nothing yet.
pub(super) fn send(socket: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, datagram, SEND)?)
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    storage.family()?;
    if let Some(v4) = storage.as_sockaddr_in() {
        Some(SocketAddr::V4(SocketAddrV4::from(*v4)))
    } else {
        storage.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
    }
}

/// The address to answer from; none for a datagram to a group.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else was asked for")]
fn local(said: ControlMessageOwned) -> Option<IpAddr> {
    match said {
        // Not `ipi_addr`, which may be a broadcast address.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            (!ip.is_multicast()).then_some(IpAddr::V6(ip))
        }
        _ => None,
    }
}
