//! ClientHello, certificate, handshake; under a deadline.

use tokio::net::TcpStream;

use crate::http::SecuredMeta;
use crate::worker::Worker;

/// A downstream connection after its handshake.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why a handshake came to nothing. The connection is closed, the kind is counted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client was too slow.
    #[error("the handshake took longer than {} ms", config::limits::HANDSHAKE_DEADLINE_MS)]
    Deadline,
    /// Too many handshakes are under way in this worker.
    #[error("too many handshakes are under way")]
    Busy,
    /// The client broke the protocol, refused what we offer, or went away.
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
}

/// Does the server's side of a handshake on `tcp`.
pub async fn accept(worker: &Worker, tcp: TcpStream) -> Result<(TlsStream, SecuredMeta), AcceptError> {
    let _ = (worker, tcp);
    Err(AcceptError::Busy)
}
