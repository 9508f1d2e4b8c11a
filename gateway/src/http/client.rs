//! Who asked, through which trusted proxies.
//!
//! `X-Forwarded-For` is read, and `Forwarded` (RFC 7239) only where there is none: two chains that disagree would let a
//! client choose. A trusted proxy therefore has to write or remove `X-Forwarded-For` itself, as all common ones do; one
//! that writes `Forwarded` alone has to remove what clients send of the other. The scheme comes from
//! `X-Forwarded-Proto`, or else from the element of `Forwarded` that names the client.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::codec::{Head, Known, list};
use crate::upstream::Ends;

/// The far end of a downstream connection, as far as one request shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Who connected to us.
    pub(super) peer: IpAddr,
    /// Who asked: the right-most address that is no trusted proxy's.
    pub(super) address: IpAddr,
    /// Whether the peer's forwarding fields count.
    pub(super) is_trusted: bool,
    /// Whether the person's own connection is TLS: ours, or the trusted proxy's.
    pub(super) is_secured: bool,
}

impl Client {
    /// Reads the forwarding fields if `peer` is one of `trusted`, and otherwise none.
    pub(super) fn of(peer: SocketAddr, is_tls: bool, trusted: &[IpNet], head: &Head, bytes: &[u8]) -> Self {
        let peer = peer.ip().to_canonical();
        let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
        if trusted.is_empty() || !is_trusted(peer) {
            return Self { peer, address: peer, is_trusted: false, is_secured: is_tls };
        }
        if head.all(Known::XForwardedFor).next().is_none() && head.all(Known::Forwarded).next().is_some() {
            return Self::of_forwarded(peer, is_tls, &is_trusted, head, bytes);
        }
        let mut address = peer;
        let hops = head.all(Known::XForwardedFor).rev().flat_map(|field| list(field.value.of(bytes)).rev());
        for hop in hops {
            // What cannot be read cannot be trusted to be a proxy either: the last good address stands.
            let Some(ip) = parse_hop(hop) else { break };
            address = ip;
            if !is_trusted(ip) {
                break;
            }
        }
        let is_secured = said_proto(head, bytes).map_or(is_tls, is_https);
        Self { peer, address, is_trusted: true, is_secured }
    }

    fn of_forwarded(
        peer: IpAddr,
        is_tls: bool,
        is_trusted: &impl Fn(IpAddr) -> bool,
        head: &Head,
        bytes: &[u8],
    ) -> Self {
        let (mut address, mut proto) = (peer, None);
        let hops = head.all(Known::Forwarded).rev().flat_map(|field| list(field.value.of(bytes)).rev());
        for hop in hops {
            // `unknown` and hidden names are no addresses: the last good one stands.
            let Some(ip) = parameter(hop, b"for").and_then(parse_hop) else { break };
            address = ip;
            proto = parameter(hop, b"proto");
            if !is_trusted(ip) {
                break;
            }
        }
        let is_secured = said_proto(head, bytes).or(proto).map_or(is_tls, is_https);
        Self { peer, address, is_trusted: true, is_secured }
    }

    /// Who asks and where, for endpoints that are told by a PROXY header.
    pub(super) const fn ends(&self, peer: SocketAddr, local: SocketAddr) -> Ends {
        Ends { client: self.behind(peer), local }
    }

    /// Who asks. A trusted proxy does not say by which port it was asked: that is 0.
    pub(super) const fn behind(&self, peer: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.address, if self.is_trusted { 0 } else { peer.port() })
    }
}

fn said_proto<'a>(head: &Head, bytes: &'a [u8]) -> Option<&'a [u8]> {
    head.all(Known::XForwardedProto).last().and_then(|field| list(field.value.of(bytes)).next())
}

fn is_https(proto: &[u8]) -> bool {
    proto.eq_ignore_ascii_case(b"https")
}

/// The value of a parameter of one element of `Forwarded`, without its quotes; `None` also where it stands twice.
fn parameter<'a>(element: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut values = element.split(|byte| *byte == b';').filter_map(|pair| {
        let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        name.trim_ascii()
            .eq_ignore_ascii_case(wanted)
            .then(|| value.get(1..).unwrap_or_default().trim_ascii())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value))
}

/// An address, perhaps with a port.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, fields: &str) -> Client {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = Head::default();
        head.parse_request(bytes.as_bytes()).unwrap();
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Client::of(peer.parse().unwrap(), false, &trusted, &head, bytes.as_bytes())
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        for (fields, address) in [
            ("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.2\r\n", "203.0.113.9"),
            ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9:4711\r\n", "203.0.113.9"),
            ("X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1"),
            ("X-Forwarded-For: 1.1.1.1, nonsense, 10.0.0.2\r\n", "10.0.0.2"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1:5", fields).address.to_string(), address, "{fields}");
        }
    }

    #[test]
    fn forwarded_is_read_where_the_other_field_is_absent() {
        for (fields, address, is_secured) in [
            (
                "Forwarded: for=1.1.1.1, for=203.0.113.9;proto=https, for=10.0.0.2;proto=http\r\n",
                "203.0.113.9",
                true,
            ),
            ("Forwarded: for=1.1.1.1\r\nForwarded: For=\"[2001:db8::1]:4711\"\r\n", "2001:db8::1", false),
            ("Forwarded: for=1.1.1.1, for=unknown\r\n", "10.0.0.1", false),
            ("Forwarded: for=1.1.1.1, for=_hidden;proto=https\r\n", "10.0.0.1", false),
            ("Forwarded: for=1.1.1.1;for=2.2.2.2\r\n", "10.0.0.1", false),
            ("Forwarded: for=\"1.1.1.1\r\n", "10.0.0.1", false),
            ("Forwarded: by=10.0.0.1;proto=https\r\n", "10.0.0.1", false),
            ("Forwarded: for=1.1.1.1;proto=https\r\nX-Forwarded-Proto: http\r\n", "1.1.1.1", false),
            ("Forwarded: for=1.1.1.1;proto=https\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9", false),
        ] {
            let client = client("10.0.0.1:5", fields);
            assert_eq!(
                (client.address.to_string(), client.is_secured),
                (address.into(), is_secured),
                "{fields}"
            );
        }
        assert_eq!(client("192.0.2.1:5", "Forwarded: for=1.1.1.1\r\n").address.to_string(), "192.0.2.1");
    }

    #[test]
    fn a_stranger_says_nothing_about_itself() {
        let client = client("192.0.2.1:5", "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n");
        assert_eq!(client.address.to_string(), "192.0.2.1");
        assert!(!client.is_secured && !client.is_trusted);
    }

    #[test]
    fn a_trusted_proxy_says_how_the_person_came() {
        assert!(client("10.0.0.1:5", "X-Forwarded-Proto: https\r\n").is_secured);
        assert!(client("[::ffff:10.0.0.1]:5", "").is_trusted);
    }
}
