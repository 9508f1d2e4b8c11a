//! What became of one request.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::id::{EndpointId, RouteId};
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What became of one request. Texts are as they came: whatever a stranger sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it ended, since 1970 UTC.
    pub at: Duration,
    /// Number of the request, as sent in `X-Request-Id`.
    pub request: &'a [u8],
    /// The trace it belongs to.
    pub trace: [u8; 16],
    /// Who asked, through trusted proxies.
    pub client: IpAddr,
    /// Who connected.
    pub peer: SocketAddr,
    /// Whether it came by https, to the gateway or a trusted proxy before it.
    pub is_secured: bool,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The host it was for.
    pub host: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The path without its query.
    pub path: &'a [u8],
    /// The query without its `?`. Its secrets are hidden when it is written.
    pub query: &'a [u8],
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// Bytes of the bodies, towards the VM and towards the user.
    pub bytes: (u64, u64),
    /// From the complete head to the last byte of the answer, in microseconds.
    pub micros: u64,
    /// The generation it was served by; 0 if there was none.
    pub generation: u64,
    /// The route it matched.
    pub route: Option<RouteId>,
    /// Its way to an endpoint.
    pub upstream: Option<UpstreamWay>,
    /// What the TLS handshake agreed on, and the name asked for.
    pub tls: Option<(TlsFacts, &'a [u8])>,
    /// Who logged in.
    pub user: &'a [u8],
    /// What went wrong, by its kind.
    pub fault: &'a [u8],
    /// `User-Agent`.
    pub agent: &'a [u8],
    /// `Referer`.
    pub referer: &'a [u8],
}

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the protocol of that name")]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Tls,
    Tcp,
    Udp,
}

impl Protocol {
    /// As logs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// The way of a request to an endpoint. Times are in microseconds since the request was sent on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamWay {
    /// The endpoint it ended at.
    pub endpoint: Option<EndpointId>,
    /// The address of that.
    pub address: Option<SocketAddr>,
    /// Until there was a connection; `None` if there was none, nearly 0 if one stood already.
    pub connected: Option<u64>,
    /// Until the head of the response was whole.
    pub head: Option<u64>,
    /// Until the end.
    pub total: u64,
    /// Tries after the first.
    pub retries: u8,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub(super) version: u16,
    pub(super) suite: u16,
    pub(super) alpn: u8,
    pub(super) is_resumed: bool,
}

impl TlsFacts {
    /// Reads them off a connection whose handshake is done.
    pub fn of(state: &CommonState) -> Self {
        Self {
            version: state.protocol_version().map_or(0, u16::from),
            suite: state.negotiated_cipher_suite().map_or(0, |suite| u16::from(suite.suite())),
            alpn: match state.alpn_protocol() {
                Some(b"http/1.1") => 1,
                Some(b"h2") => 2,
                Some(_) | None => 0,
            },
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// As logs write it: `TLSv1.3`.
    pub fn version(self) -> &'static str {
        if self.version == u16::from(ProtocolVersion::TLSv1_3) {
            "TLSv1.3"
        } else if self.version == u16::from(ProtocolVersion::TLSv1_2) {
            "TLSv1.2"
        } else {
            ""
        }
    }

    /// Whether it is TLS 1.3.
    pub fn is_tls_1_3(self) -> bool {
        self.version == u16::from(ProtocolVersion::TLSv1_3)
    }

    /// The name of the cipher suite.
    pub fn cipher(self) -> &'static str {
        CipherSuite::from(self.suite).as_str().unwrap_or_default()
    }

    /// The application protocol, if one was agreed on.
    pub const fn alpn(self) -> &'static str {
        match self.alpn {
            1 => "http/1.1",
            2 => "h2",
            _ => "",
        }
    }

    /// Whether an earlier session was resumed.
    pub const fn is_resumed(self) -> bool {
        self.is_resumed
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record with everything in it.
    pub(in super::super) fn full() -> Record<'static> {
        Record {
            at: Duration::from_millis(1_792_345_678_042),
            request: b"r-1",
            trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(),
            client: [203, 0, 113, 9].into(),
            peer: ([192, 0, 2, 7], 999).into(),
            is_secured: true,
            protocol: Protocol::Http11,
            host: b"app.example",
            method: b"GET",
            path: b"/a/b",
            query: b"q=1&token=abc",
            status: 200,
            bytes: (1, 2),
            micros: 1_234_567,
            generation: 3,
            route: Some(RouteId::from_bytes([1; 16])),
            upstream: Some(UpstreamWay {
                endpoint: Some(EndpointId::from_bytes([2; 16])),
                address: Some(([10, 0, 0, 1], 8080).into()),
                connected: Some(12),
                head: Some(345),
                total: 6_789,
                retries: 1,
            }),
            tls: Some((
                TlsFacts {
                    version: ProtocolVersion::TLSv1_3.into(),
                    suite: CipherSuite::TLS13_AES_128_GCM_SHA256.into(),
                    alpn: 2,
                    is_resumed: true,
                },
                b"app.example",
            )),
            user: b"anna",
            fault: b"",
            agent: b"curl/8",
            referer: b"https://other.example/x?code=y",
        }
    }
}
