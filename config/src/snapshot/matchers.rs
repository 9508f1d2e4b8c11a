//! What a request has to be for a route, besides host and path prefix.

use ipnet::IpNet;

/// Conditions of a route; all of them have to hold. A route without any has `None` in their place.
///
/// Order inside a virtual host: higher priority first, then an exact path, then the longer path, then more conditions
/// (methods, fields, query and clients each count), then the older route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matchers {
    /// Higher goes first; 0 is the default, the bounds are [`crate::limits::PRIORITY_MAX`] to both sides.
    pub priority: i16,
    /// The path has to be the route's path, not only begin with it.
    pub path_exact: bool,
    /// Any of these methods, as they are written (RFC 9110 § 9.1); none stands for every method.
    pub methods: Box<[Box<str>]>,
    /// All of these about header fields; names in lower case.
    pub headers: Box<[ValueMatch]>,
    /// All of these about parameters of the query, undecoded.
    pub query: Box<[ValueMatch]>,
    /// Any of these networks holds the client's address; none stands for every address.
    pub clients: Box<[IpNet]>,
}

/// A condition on a named value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueMatch {
    /// Whose value.
    pub name: Box<str>,
    /// What it has to be.
    pub test: Test,
}

/// What a value has to be. Of several fields or parameters with one name, one that fits is enough.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// It is not there.
    Absent,
    /// It is this, byte for byte.
    Equals(Box<str>),
    /// It begins with this.
    Prefix(Box<str>),
    /// It is there.
    Present,
}
