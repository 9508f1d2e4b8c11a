//! What a route does to requests and answers on their way.
//!
//! Order on a request: maintenance, client address, rate, basic auth, in-flight, body size; then the action. What is
//! refused costs as little as possible.

use ipnet::IpNet;

use crate::name::PathPrefix;
use crate::secret::Secret;

/// Filters of a route. A route without any has `None` in their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Answer everything with 503 and this page.
    pub maintenance: Option<Maintenance>,
    /// Clients that may ask; none stands for all. Others get 403.
    pub allow: Box<[IpNet]>,
    /// Clients that may not, before `allow` is looked at.
    pub deny: Box<[IpNet]>,
    /// Requests in a time; more get 429.
    pub rate: Option<RateLimit>,
    /// Who may ask, by name and password; others get 401.
    pub basic_auth: Option<BasicAuth>,
    /// Requests under way at once in one gateway; more get 503.
    pub in_flight_max: Option<u32>,
    /// Largest request body in bytes; larger ones get 413.
    pub body_bytes_max: Option<u64>,
    /// How the path is changed on the way to the upstream.
    pub path: Option<PathRewrite>,
    /// Changes to the request's fields, in order.
    pub request_fields: Box<[FieldEdit]>,
    /// Changes to the response's fields, in order.
    pub response_fields: Box<[FieldEdit]>,
    /// Pages instead of our own or the origin's answers with these statuses.
    pub error_pages: Box<[ErrorPage]>,
    /// Compress what gains by it, where the client takes it.
    pub gzip: bool,
    /// Protocols other than WebSocket that a request may be upgraded to, as `Upgrade` names them.
    pub upgrades: Box<[Box<str>]>,
}

/// A route that is closed for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What to show; `None` is our own page.
    pub page: Option<Content>,
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: u32,
}

/// A body with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `Content-Type`.
    pub media_type: Box<str>,
    /// At most [`crate::limits::PAGE_BYTES_MAX`].
    pub body: Box<[u8]>,
}

/// Requests in a time, by a bucket of tokens (GCRA) for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that one period lets through.
    pub requests: u32,
    /// The period in milliseconds.
    pub per_ms: u32,
    /// Requests that may come at once.
    pub burst: u32,
    /// What is counted together.
    pub key: RateKey,
}

/// What a rate limit counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateKey {
    /// Each client by its address, after trusted proxies; IPv6 by its /64.
    Client,
    /// All requests of the route.
    Route,
}

/// Names and passwords (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// What the browser shows.
    pub realm: Box<str>,
    /// At least one.
    pub users: Box<[BasicUser]>,
}

/// One name with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicUser {
    /// Without a colon.
    pub name: Box<str>,
    /// Argon2id in PHC form.
    pub password_hash: Secret<String>,
}

/// Prefixes taken away and put before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRewrite {
    /// Taken away where the path begins with it on a segment boundary.
    pub strip: PathPrefix,
    /// Put before what is left.
    pub add: PathPrefix,
}

/// One change to the fields of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldEdit {
    /// As it is to be written; compared without regard to case. Never a field of framing or of the connection.
    pub name: Box<str>,
    /// The change.
    pub edit: Edit,
    /// Of a response: also on our own answers (nginx's `always`).
    pub always: bool,
}

/// A change to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// One more with this value.
    Add(Box<str>),
    /// None is left.
    Remove,
    /// This value instead of whatever is there.
    Set(Box<str>),
}

/// A page instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// Statuses from 400 to 599.
    pub statuses: Box<[u16]>,
    /// What to show; the status stays.
    pub content: Content,
    /// Also instead of the origin's own answers, not only of ours.
    pub replaces_origin: bool,
}

/// Times of a route in milliseconds; `None` is the default of [`crate::limits`]. Each has its own fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// For one upstream connection to be made.
    pub connect_ms: Option<u32>,
    /// Silence inside a request body.
    pub request_body_ms: Option<u32>,
    /// For the response head, once the request is sent.
    pub response_head_ms: Option<u32>,
    /// Silence inside a response body.
    pub idle_body_ms: Option<u32>,
    /// For the whole exchange, tunnels excepted; by default there is no such bound.
    pub whole_ms: Option<u32>,
    /// Silence of a tunnel.
    pub tunnel_ms: Option<u32>,
}
