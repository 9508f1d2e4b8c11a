//! Where a request or a jump may go: addresses that are refused to everyone, and how a literal target is written.
//!
//! Checked by control when the object is written and again by the gateway after each name resolution, at each connect
//! (INVENTORY 2.2, rule 3): a name that resolves to a forbidden address later is refused then.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::name::HostName;

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A literal address.
    Address(SocketAddr),
    /// A name that the gateway resolves.
    Name {
        /// The name.
        host: HostName,
        /// The port.
        port: u16,
    },
}

impl Target {
    /// Its port.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Forbidden {
    #[error("the address is loopback, which root alone may set")]
    Loopback,
    #[error("the address is link-local or a metadata service, which is refused to everyone")]
    LinkLocal,
    #[error("the address is unspecified, multicast or broadcast")]
    NotAHost,
    #[error(
        "the address is a listener of the gateway itself; publish our own services by name: control, novnc, ttyd"
    )]
    OwnListener,
}

/// Checks an address that is about to be dialled.
///
/// `loopback_ok` comes from the endpoint (control sets it where root wrote the target). `own` are the addresses that
/// this gateway listens on; a wildcard bind is matched on its port for loopback addresses. IPv4-mapped IPv6 counts
/// as the IPv4 address it is.
pub fn check(address: SocketAddr, loopback_ok: bool, own: &[SocketAddr]) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    match ip {
        IpAddr::V4(v4) => check_v4(v4)?,
        IpAddr::V6(v6) => check_v6(v6)?,
    }
    if own.iter().any(|listener| is_own(*listener, ip, address.port())) {
        return Err(Forbidden::OwnListener);
    }
    if ip.is_loopback() && !loopback_ok {
        return Err(Forbidden::Loopback);
    }
    Ok(())
}

/// Checks a connection that was just made: `local` and `peer` are its two ends.
///
/// A listener on every address cannot be told from its own address alone. A connection whose ends have one IP address
/// stayed on this machine, so with such a listener's port it came back to us.
pub fn check_connected(local: SocketAddr, peer: SocketAddr, own: &[SocketAddr]) -> Result<(), Forbidden> {
    let stayed_here = local.ip().to_canonical() == peer.ip().to_canonical();
    let everywhere = |listener: &SocketAddr| listener.ip().is_unspecified() && listener.port() == peer.port();
    if stayed_here && own.iter().any(everywhere) { Err(Forbidden::OwnListener) } else { Ok(()) }
}

fn check_v4(ip: Ipv4Addr) -> Result<(), Forbidden> {
    if ip.is_link_local() {
        return Err(Forbidden::LinkLocal);
    }
    // 0.0.0.0/8 reaches this host on Linux (RFC 1122 § 3.2.1.3 (a)); 240.0.0.0/4 is reserved (RFC 1112 § 4).
    if ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] >= 240 {
        return Err(Forbidden::NotAHost);
    }
    Ok(())
}

fn check_v6(ip: Ipv6Addr) -> Result<(), Forbidden> {
    // fd00:ec2::254 is the metadata service of one large provider inside unique-local space.
    if ip.is_unicast_link_local() || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        return Err(Forbidden::LinkLocal);
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(Forbidden::NotAHost);
    }
    Ok(())
}

fn is_own(listener: SocketAddr, ip: IpAddr, port: u16) -> bool {
    let own = listener.ip().to_canonical();
    listener.port() == port && (own == ip || (own.is_unspecified() && ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), Forbidden> {
        check(text.parse().unwrap(), false, &["0.0.0.0:443".parse().unwrap(), "10.0.0.1:80".parse().unwrap()])
    }

    #[test]
    fn addresses_that_nobody_may_reach_are_refused() {
        for (text, because) in [
            ("127.0.0.1:80", Forbidden::Loopback),
            ("[::1]:80", Forbidden::Loopback),
            ("[::ffff:127.0.0.1]:80", Forbidden::Loopback),
            ("127.9.9.9:443", Forbidden::OwnListener),
            ("10.0.0.1:80", Forbidden::OwnListener),
            ("169.254.169.254:80", Forbidden::LinkLocal),
            ("[fe80::1]:80", Forbidden::LinkLocal),
            ("[fd00:ec2::254]:80", Forbidden::LinkLocal),
            ("0.0.0.0:80", Forbidden::NotAHost),
            ("[::]:80", Forbidden::NotAHost),
            ("224.0.0.1:80", Forbidden::NotAHost),
            ("255.255.255.255:80", Forbidden::NotAHost),
        ] {
            assert_eq!(verdict(text), Err(because), "{text}");
        }
    }

    #[test]
    fn a_connection_that_came_back_to_a_listener_on_every_address_is_refused() {
        let own = ["0.0.0.0:443".parse().unwrap()];
        let ends = |local: &str, peer: &str| (local.parse().unwrap(), peer.parse().unwrap());
        let (local, peer) = ends("10.1.2.3:50000", "10.1.2.3:443");
        assert_eq!(check_connected(local, peer, &own), Err(Forbidden::OwnListener));
        for (local, peer) in [ends("10.1.2.3:50000", "10.1.2.4:443"), ends("10.1.2.3:50000", "10.1.2.3:8080")]
        {
            assert_eq!(check_connected(local, peer, &own), Ok(()));
        }
    }

    #[test]
    fn private_and_public_hosts_pass_and_loopback_where_root_set_it() {
        assert_eq!(verdict("10.0.0.1:81"), Ok(()));
        assert_eq!(verdict("203.0.113.7:80"), Ok(()));
        assert_eq!(check("127.0.0.1:80".parse().unwrap(), true, &[]), Ok(()));
    }
}
