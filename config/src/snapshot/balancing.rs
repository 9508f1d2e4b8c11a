//! How an upstream shares requests among its endpoints, talks to them and finds out whether they are well.

use crate::name::{HostName, PathPrefix};
use crate::secret::Secret;

/// What an upstream does besides round robin over plain HTTP/1.1. One that does no more has `None` in its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamPolicy {
    /// Which endpoint gets the next request.
    pub balance: Balance,
    /// What keeps a client at its endpoint.
    pub sticky: Option<Sticky>,
    /// What is spoken to the endpoints.
    pub protocol: Protocol,
    /// TLS to the endpoints; `None` is plain.
    pub tls: Option<UpstreamTls>,
    /// A PROXY protocol header before the first byte.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How endpoints are asked whether they are well.
    pub check: Option<ActiveCheck>,
    /// When failures of real requests take an endpoint out.
    pub ejection: Option<Ejection>,
    /// Time over which an endpoint that came back gets its share by and by, in milliseconds; 0 is at once.
    pub slow_start_ms: u32,
    /// Requests under way at once at one endpoint from one gateway; `None` is no bound.
    pub in_flight_max: Option<u32>,
    /// How often and when a request is tried again.
    pub retry: RetryPolicy,
}

/// Which endpoint gets the next request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// The same key goes to the same endpoint, by rendezvous hashing: a change of the endpoints moves few keys.
    Hash(HashKey),
    /// The one with the fewest requests under way for its weight.
    LeastConnections,
    /// The better of two taken at random.
    PowerOfTwo,
    /// In turn, by weight (smooth).
    #[default]
    RoundRobin,
}

/// What is hashed. A request without it is balanced in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address, after trusted proxies.
    Address,
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a header field; the name is in lower case.
    Header(Box<str>),
}

/// What keeps a client at its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// A cookie of ours that names the endpoint, sealed.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Its life in seconds; 0 is that of the browser's session.
        max_age_seconds: u32,
    },
    /// A key that a response header tells and a later request's path carries (INVENTORY B-44).
    Learned(Learned),
}

/// Stickiness learned from a response header and matched on a segment of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The response header that tells the key; in lower case.
    pub header: Box<str>,
    /// Only paths below this carry a key.
    pub path: PathPrefix,
    /// Which `/`-separated field of the path is the key, as HAProxy counts `field(N,/)`: the text before the first `/` is
    /// field 1, so `/infrastructures/X` has X in field 3.
    pub field: u8,
    /// Life of a key since it was last used, in seconds.
    pub expire_seconds: u32,
    /// Keys kept; beyond it the one used least recently goes.
    pub keys_max: u32,
}

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge over plain connections.
    Http2,
}

/// TLS to the endpoints of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// How the endpoint proves itself.
    pub verify: Verify,
    /// Name asked for and checked instead of the target's own.
    pub server_name: Option<HostName>,
    /// What we prove ourselves with.
    pub client: Option<ClientIdentity>,
}

/// How an endpoint proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// By a chain to one of these authorities, in DER.
    Authorities(Box<[Vec<u8>]>),
    /// By a leaf with this SHA-256, whatever else it says.
    Fingerprint([u8; 32]),
    /// Not at all: root set it.
    Nothing,
    /// By a chain to an authority that the gateway's system trusts.
    System,
}

/// A certificate chain with its key, for upstreams that ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Certificates in DER, leaf first.
    pub chain: Box<[Vec<u8>]>,
    /// The leaf's private key as PKCS#8 DER.
    pub key: Secret<Vec<u8>>,
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary header.
    V2,
}

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveCheck {
    /// The question.
    pub probe: Probe,
    /// Pause between two questions in milliseconds; up to a tenth more by chance.
    pub interval_ms: u32,
    /// Time for the answer in milliseconds.
    pub timeout_ms: u32,
    /// Good answers in a row that bring an endpoint back.
    pub rise: u8,
    /// Bad ones in a row that take it out.
    pub fall: u8,
}

/// The question of an active check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET.
    Http {
        /// The target, with its query.
        path: Box<str>,
        /// The `Host`; `None` is the target's own.
        host: Option<HostName>,
        /// Statuses that count as well, as ranges with both ends.
        statuses: Box<[(u16, u16)]>,
    },
    /// A connection, closed at once.
    Tcp,
}

/// When failures of real requests take an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row: connections refused, reset or late, answers that are no HTTP, and 502, 503, 504.
    pub failures: u32,
    /// Time the endpoint stays out, in milliseconds; it comes back by itself.
    pub for_ms: u32,
}

/// How often and when a request is tried again. Only what was surely not processed, or is idempotent and was on a
/// reused connection, ever is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included.
    pub tries_max: u8,
    /// Retries for each hundred requests that the upstream's budget allows.
    pub budget_percent: u8,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries_max: 3, budget_percent: 20 }
    }
}
