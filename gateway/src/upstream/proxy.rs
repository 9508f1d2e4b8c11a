//! The PROXY protocol towards an endpoint: who asks, before the first byte of anything else.
//!
//! Format: "The PROXY protocol, versions 1 & 2" (HAProxy, 2020/03/05), sections 2.1 and 2.2.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use config::snapshot::ProxyProtocol;

/// What begins a header of version 2.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The two ends of the connection that a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who asks, after trusted proxies; port 0 where that is not who connected to us.
    pub client: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

/// The header that tells of `ends`; without, that the gateway itself asks.
pub(super) fn header(version: ProxyProtocol, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(Ends::in_one_family);
    match version {
        ProxyProtocol::V1 => v1(ends),
        ProxyProtocol::V2 => v2(ends),
    }
}

impl Ends {
    /// Both of IPv4, or both of IPv6: the header has room for one family only.
    fn in_one_family(self) -> Self {
        let Self { client, local } = self;
        let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
        let is_mixed = from.is_ipv4() != to.is_ipv4();
        let fit = |ip: IpAddr| match ip {
            IpAddr::V4(v4) if is_mixed => IpAddr::V6(v4.to_ipv6_mapped()),
            IpAddr::V4(_) | IpAddr::V6(_) => ip,
        };
        Self {
            client: SocketAddr::new(fit(from), client.port()),
            local: SocketAddr::new(fit(to), local.port()),
        }
    }
}

fn v1(ends: Option<Ends>) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(Ends { client, local }) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing to a Vec cannot fail.
    let _ =
        write!(out, "PROXY {family} {} {} {} {}\r\n", client.ip(), local.ip(), client.port(), local.port());
    out
}

fn v2(ends: Option<Ends>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let Some(Ends { client, local }) = ends else {
        // Version 2, LOCAL; no family, no addresses.
        out.extend_from_slice(&[0x20, 0, 0, 0]);
        return out;
    };
    // Version 2, PROXY; a stream over IPv4 (two addresses and two ports are 12 bytes) or IPv6 (36).
    out.extend_from_slice(if client.is_ipv4() { &[0x21, 0x11, 0, 12] } else { &[0x21, 0x21, 0, 36] });
    for ip in [client.ip(), local.ip()] {
        match ip {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&local.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, local: &str) -> Option<Ends> {
        Some(Ends { client: client.parse().unwrap(), local: local.parse().unwrap() })
    }

    fn text(ends: Option<Ends>) -> String {
        String::from_utf8(header(ProxyProtocol::V1, ends)).unwrap()
    }

    #[test]
    fn a_line_tells_both_ends_in_one_family() {
        for (client, local, line) in [
            ("192.0.2.1:5", "10.0.0.1:443", "PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\n"),
            ("[2001:db8::1]:5", "[2001:db8::2]:443", "PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n"),
            ("[::ffff:192.0.2.1]:5", "10.0.0.1:443", "PROXY TCP4 192.0.2.1 10.0.0.1 5 443\r\n"),
            ("[2001:db8::1]:0", "10.0.0.1:443", "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 0 443\r\n"),
        ] {
            assert_eq!(text(ends(client, local)), line);
        }
        assert_eq!(text(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn the_binary_header_is_read_back_by_another_implementation() {
        use ppp::v2::{Addresses, Command, Header};
        for (client, local) in [("192.0.2.1:5", "10.0.0.1:443"), ("[2001:db8::1]:5", "[2001:db8::2]:443")] {
            let bytes = header(ProxyProtocol::V2, ends(client, local));
            let read = Header::try_from(bytes.as_slice()).unwrap();
            let (from, to): (SocketAddr, SocketAddr) = match read.addresses {
                Addresses::IPv4(a) => (
                    (a.source_address, a.source_port).into(),
                    (a.destination_address, a.destination_port).into(),
                ),
                Addresses::IPv6(a) => (
                    (a.source_address, a.source_port).into(),
                    (a.destination_address, a.destination_port).into(),
                ),
                other @ (Addresses::Unspecified | Addresses::Unix(_)) => panic!("{other:?}"),
            };
            assert_eq!((from.to_string().as_str(), to.to_string().as_str()), (client, local));
        }
        let local = header(ProxyProtocol::V2, None);
        assert_eq!(Header::try_from(local.as_slice()).unwrap().command, Command::Local);
    }
}
