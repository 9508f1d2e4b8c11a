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

/// Metadata services of providers that are not link-local: they give the machine's own credentials to who asks.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// The same inside unique-local space.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Checks an address that is about to be dialled.
///
/// `loopback_ok` comes from the endpoint (control sets it where root wrote the target). `own` are the addresses that
/// this gateway listens on; a wildcard bind is matched on its port for loopback addresses. IPv4-mapped IPv6 counts
/// as the IPv4 address it is; an IPv6 address by which a translator or a tunnel reaches an IPv4 address counts as that
/// one, too, and never as loopback of ours.
pub fn check(address: SocketAddr, loopback_ok: bool, own: &[SocketAddr]) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    match ip {
        IpAddr::V4(v4) => check_v4(v4)?,
        IpAddr::V6(v6) => check_v6(v6)?,
    }
    if let IpAddr::V6(v6) = ip
        && let Some(v4) = embedded(v6)
    {
        check(SocketAddr::new(v4.into(), address.port()), false, own)?;
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
    if ip.is_link_local() || METADATA_V4.contains(&ip) {
        return Err(Forbidden::LinkLocal);
    }
    // 0.0.0.0/8 reaches this host on Linux (RFC 1122 § 3.2.1.3 (a)); 240.0.0.0/4 is reserved (RFC 1112 § 4).
    if ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] >= 240 {
        return Err(Forbidden::NotAHost);
    }
    Ok(())
}

fn check_v6(ip: Ipv6Addr) -> Result<(), Forbidden> {
    if ip.is_unicast_link_local() || METADATA_V6.contains(&ip) {
        return Err(Forbidden::LinkLocal);
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(Forbidden::NotAHost);
    }
    Ok(())
}

/// The IPv4 address that somebody on the way makes of an IPv6 one: NAT64 (RFC 6052 § 2.1, RFC 8215), 6to4 (RFC 3056 § 2), and
/// IPv4-compatible addresses (RFC 4291 § 2.5.5.1).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |bits: u128| {
        Some(Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()))
    };
    let bits = ip.to_bits();
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => of(bits),
        [0x2002, ..] => of(bits >> 80),
        [0, 0, 0, 0, 0, 0, ..] if !ip.is_loopback() => of(bits),
        _ => None,
    }
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
            ("[fd20:ce::254]:80", Forbidden::LinkLocal),
            ("[fd00:42::42]:80", Forbidden::LinkLocal),
            ("[fd00:c1::a9fe:a9fe]:80", Forbidden::LinkLocal),
            ("100.100.100.200:80", Forbidden::LinkLocal),
            ("168.63.129.16:80", Forbidden::LinkLocal),
            ("192.0.0.192:80", Forbidden::LinkLocal),
            ("[::ffff:100.100.100.200]:80", Forbidden::LinkLocal),
            ("[64:ff9b::127.0.0.1]:80", Forbidden::Loopback),
            ("[64:ff9b::169.254.169.254]:80", Forbidden::LinkLocal),
            ("[64:ff9b::100.100.100.200]:80", Forbidden::LinkLocal),
            ("[64:ff9b::0.0.0.1]:80", Forbidden::NotAHost),
            ("[64:ff9b::10.0.0.1]:80", Forbidden::OwnListener),
            ("[64:ff9b:1::169.254.169.254]:80", Forbidden::LinkLocal),
            ("[2002:7f00:1::]:80", Forbidden::Loopback),
            ("[2002:a9fe:a9fe::1]:80", Forbidden::LinkLocal),
            ("[::127.0.0.1]:80", Forbidden::Loopback),
            ("[::169.254.169.254]:80", Forbidden::LinkLocal),
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
        assert_eq!(verdict("[64:ff9b::203.0.113.7]:80"), Ok(()));
        assert_eq!(verdict("[2002:cb00:7107::1]:80"), Ok(()));
        assert_eq!(verdict("[fd00:ec2::255]:80"), Ok(()));
        let through_nat64 = "[64:ff9b::127.0.0.1]:80".parse().unwrap();
        assert_eq!(check(through_nat64, true, &[]), Err(Forbidden::Loopback), "the translator's, not ours");
        assert_eq!(check("[::1]:80".parse().unwrap(), true, &[]), Ok(()));
        assert_eq!(check("127.0.0.1:80".parse().unwrap(), true, &[]), Ok(()));
    }
}
