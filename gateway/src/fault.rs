//! The error of the data plane: whose fault, what kind, and whether another try could help.
//!
//! Status codes are chosen in one place, `http::respond`; nothing here knows HTTP.

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The person or program that asked.
    Downstream,
    /// The origin.
    Upstream,
    /// The gateway itself.
    Internal,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that is ambiguous or out of grammar.
    BadRequest,
    /// A head, target or field section over its limit.
    HeadTooLarge,
    /// A target over its limit.
    TargetTooLong,
    /// A request head that did not arrive in time.
    RequestTimeout,
    /// A request body that stopped coming, or comes too slowly.
    RequestBodyTimeout,
    /// A client that does not take its answer.
    SlowReader,
    /// A method or expectation we do not serve.
    NotImplemented,
    /// An HTTP version we do not speak.
    VersionNotSupported,
    /// No route for this name and path.
    NoRoute,
    /// This name is not served on this connection.
    Misdirected,
    /// An upgrade on a route without WebSocket.
    UpgradeRequired,
    /// A console without a ticket that opens it.
    Ticket(crate::console::Refusal),
    /// The client's address may not ask.
    ClientForbidden,
    /// The client's certificate does not satisfy the route, or there is none.
    ClientCertificate,
    /// The route is served over TLS to the gateway itself, and this was not.
    TlsRequired,
    /// A name and password are wanted, or were wrong.
    Unauthorized,
    /// More requests than the route lets through.
    TooMany,
    /// A body larger than the route takes.
    BodyTooLarge,
    /// The route is closed for work.
    Maintenance,
    /// The route has as many requests under way as it may.
    RouteFull,
    /// No generation in force yet.
    NotReady,
    /// Every endpoint is away or forbidden.
    NoEndpoint,
    /// Every endpoint that could take the request has as much to do as it may.
    CircuitOpen,
    /// The origin refused or reset the connection.
    Refused,
    /// The origin's name does not resolve.
    Unresolved,
    /// The address may not be dialled.
    Forbidden,
    /// The origin did not prove itself, or we cannot speak TLS to it.
    UpstreamTls,
    /// The origin took too long to connect or answer.
    Timeout,
    /// The response head did not come in time.
    ResponseHeadTimeout,
    /// A response body stopped coming.
    IdleBody,
    /// The exchange took longer than its route allows in all.
    WholeTimeout,
    /// The origin's answer is not HTTP.
    BadResponse,
    /// The other end went away.
    Closed,
    /// A limit of the gateway is reached.
    Overloaded,
}

/// Whether another try could help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was sent: any request may be tried again.
    Safe,
    /// It was on a reused connection that closed before an answer: an idempotent request may be.
    IfIdempotent,
    /// No.
    Never,
}

/// One failure of the data plane.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?} ({side:?})")]
pub struct Fault {
    /// Whose fault.
    pub side: Side,
    /// What went wrong.
    pub kind: Kind,
    /// Whether another try could help.
    pub retry: Retry,
    /// The cause, for the log only: it may name internal addresses.
    #[source]
    pub cause: Option<Cause>,
}

/// What lies behind a fault; for the log only.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A rule was broken, named.
    #[error("{0}")]
    Rule(&'static str),
}

impl Fault {
    /// A fault of the downstream side; never tried again.
    pub const fn downstream(kind: Kind, rule: &'static str) -> Self {
        Self { side: Side::Downstream, kind, retry: Retry::Never, cause: Some(Cause::Rule(rule)) }
    }

    /// A fault of the upstream side with its cause.
    pub fn upstream(kind: Kind, retry: Retry, cause: impl Into<Cause>) -> Self {
        Self { side: Side::Upstream, kind, retry, cause: Some(cause.into()) }
    }

    /// A fault of our own, or a state of the gateway that explains itself.
    pub const fn internal(kind: Kind) -> Self {
        Self { side: Side::Internal, kind, retry: Retry::Never, cause: None }
    }
}
