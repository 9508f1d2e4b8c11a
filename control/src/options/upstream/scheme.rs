//! Schemes of targets: what is spoken to the endpoints, in one word.

use config::snapshot::{Protocol, UpstreamPolicy};

/// What a target's URL begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl Scheme {
    /// Reads it; gRPC is HTTP/2.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "http" => Self::Http,
            "https" => Self::Https,
            "h2c" | "grpc" => Self::H2c,
            "h2" | "grpcs" => Self::H2,
            _ => return None,
        })
    }

    /// Of a route that is spoken to so.
    pub fn of(policy: Option<&UpstreamPolicy>) -> Self {
        let Some(policy) = policy else { return Self::Http };
        match (policy.protocol, policy.tls.is_some()) {
            (Protocol::Http1, false) => Self::Http,
            (Protocol::Http1, true) => Self::Https,
            (Protocol::Http2, false) => Self::H2c,
            (Protocol::Http2, true) => Self::H2,
        }
    }

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        }
    }

    /// Whether it is spoken over TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// Whether it is HTTP/2 by itself.
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// The port of a target that names none.
    pub const fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}
