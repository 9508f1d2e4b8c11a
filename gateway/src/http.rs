//! HTTP: the strict door, routing, the exchange with an upstream.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::guard::Permit;
use crate::listener::Kind;
use crate::worker::Worker;

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
}

/// What a TLS handshake told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecuredMeta {
    /// The server name asked for, in lower case.
    pub sni: Option<String>,
}

/// Serves one downstream connection to its end.
pub async fn serve<IO>(worker: Rc<Worker>, io: IO, meta: ConnMeta, permit: Permit)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let _ = (worker, io, meta, permit);
}
