//! What a request has to be for a route, besides host and path prefix.

use std::fmt;

use ipnet::IpNet;

/// Conditions of a route; all of them have to hold. A route without any has `None` in their place.
///
/// Order inside a virtual host: higher priority first, then an exact path, then the longer path, then more conditions
/// (see [`Matchers::conditions_len`]), then the older route, which is the one with the smaller id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

impl Matchers {
    /// How many conditions there are: each about a field or a parameter is one, all methods together are one, and all
    /// networks together. An exact path is none; it has its own place in the order.
    pub const fn conditions_len(&self) -> usize {
        let sets = !self.methods.is_empty() as usize + !self.clients.is_empty() as usize;
        sets + self.headers.len() + self.query.len()
    }

    /// The same conditions in the one order and without repetitions: equal exactly where the same requests are asked
    /// for in the same words.
    #[must_use]
    pub fn canonical(&self) -> Self {
        fn ordered<T: Ord + Clone>(items: &[T]) -> Box<[T]> {
            let mut items = items.to_vec();
            items.sort_unstable();
            items.dedup();
            items.into_boxed_slice()
        }
        Self {
            priority: self.priority,
            path_exact: self.path_exact,
            methods: ordered(&self.methods),
            headers: ordered(&self.headers),
            query: ordered(&self.query),
            clients: ordered(&self.clients),
        }
    }
}

/// For people: `exact path, priority 5, GET, header x-tenant`; empty where nothing is asked. Names without their values,
/// which may be secrets.
impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.path_exact.then(|| "exact path".to_owned());
        let priority = (self.priority != 0).then(|| format!("priority {}", self.priority));
        let methods = (!self.methods.is_empty()).then(|| self.methods.join(" or "));
        let headers = self.headers.iter().map(|condition| format!("header {}", condition.name));
        let query = self.query.iter().map(|condition| format!("query {}", condition.name));
        let clients = self.clients.iter().map(|network| format!("client {network}"));
        let sets = [exact, priority, methods].into_iter().flatten();
        for (place, part) in sets.chain(headers).chain(query).chain(clients).enumerate() {
            write!(f, "{}{part}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
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
