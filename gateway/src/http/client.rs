//! Who asked, through which trusted proxies.

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
        let said =
            head.all(Known::XForwardedProto).last().and_then(|field| list(field.value.of(bytes)).next());
        let is_secured = said.map_or(is_tls, |proto| proto.eq_ignore_ascii_case(b"https"));
        Self { peer, address, is_trusted: true, is_secured }
    }

    /// Who asks and where, for endpoints that are told by a PROXY header. A trusted proxy does not say by which port it
    /// was asked.
    pub(super) const fn ends(&self, peer: SocketAddr, local: SocketAddr) -> Ends {
        let port = if self.is_trusted { 0 } else { peer.port() };
        Ends { client: SocketAddr::new(self.address, port), local }
    }
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
