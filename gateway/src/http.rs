//! HTTP: the strict door, routing, the exchange with an upstream. [`h2`] shows each stream of HTTP/2 to it as HTTP/1.1.
//!
//! One task serves a downstream connection and, while a request is under way, the upstream connection as well. Start at
//! [`serve()`]; `LIFECYCLE.md` beside this module follows one request through the files. Nothing here allocates for a
//! forwarded request once the worker is warm.

mod answer;
mod client;
pub mod codec;
mod console;
mod deadline;
mod decide;
pub mod door;
mod downstream;
mod exchange;
mod filters;
mod forward;
pub(crate) mod h2;
mod headers;
mod intake;
mod journey;
pub mod measure;
mod redirect;
pub mod respond;
mod scratch;
mod secured;
mod serve;
mod trace;
mod upgrade;

use std::net::SocketAddr;

use crate::listener::Kind;
pub use crate::tls::SecuredMeta;

pub use filters::State as FilterState;
pub(crate) use filters::addresses::may_ask;
pub use scratch::Store;
pub use serve::{Opened, open, run, serve};

/// What is known of a downstream connection before its first byte.
#[derive(Debug, Clone)]
pub struct ConnMeta {
    /// Who connected.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// The kind of listener it came by.
    pub kind: Kind,
    /// What the TLS handshake told; `None` on a plain connection.
    pub secured: Option<SecuredMeta>,
    /// What is spoken.
    pub protocol: Protocol,
}

/// What a downstream connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
}

#[cfg(test)]
mod tests;
