//! ClientHello, certificate, handshake; under a deadline.
//!
//! One configuration serves all workers. Which identity a client sees is asked of the generation in force at its hello,
//! so a swap changes what new handshakes see and nothing about connections that stand.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use certs::CertIndex;
use config::limits;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use crate::http::{Protocol, SecuredMeta};
use crate::live::Current;
use crate::telemetry::TlsFacts;
use crate::worker::Worker;

/// What HTTP/2 is called in a handshake (RFC 9113 § 3.1).
const H2: &[u8] = b"h2";

/// What was agreed on to be spoken; HTTP/1.1 where nothing was.
pub fn protocol(stream: &TlsStream) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// A downstream connection after its handshake.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Why a handshake came to nothing. The connection is closed, the kind is counted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client was too slow.
    #[error("the handshake took longer than {} ms", limits::HANDSHAKE_DEADLINE_MS)]
    Deadline,
    /// Too many handshakes are under way in this worker.
    #[error("too many handshakes are under way")]
    Busy,
    /// The client broke the protocol, refused what we offer, or went away.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
}

/// What every handshake of this process is made with.
pub struct Acceptor {
    config: Result<Arc<ServerConfig>, rustls::Error>,
}

impl Acceptor {
    /// An acceptor that asks `current` for an identity at each hello.
    pub fn new(current: Current) -> Self {
        Self { config: server_config(current).map(Arc::new) }
    }

    fn config(&self) -> Result<Arc<ServerConfig>, AcceptError> {
        self.config.clone().map_err(|error| AcceptError::Handshake(io::Error::other(error)))
    }
}

/// Does the server's side of a handshake on `tcp`.
///
/// Takes at most [`limits::HANDSHAKE_DEADLINE_MS`], from the first wait for bytes to the last. A connection that sends
/// no hello holds none of the worker's [`limits::HANDSHAKES_PER_WORKER_MAX`] places; one that finds them all taken
/// waits its turn within the deadline.
pub async fn accept(worker: &Worker, tcp: TcpStream) -> Result<(TlsStream, SecuredMeta), AcceptError> {
    accept_within(worker, tcp, Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS)).await
}

async fn accept_within(
    worker: &Worker,
    tcp: TcpStream,
    time: Duration,
) -> Result<(TlsStream, SecuredMeta), AcceptError> {
    let config = worker.shared.tls.config()?;
    let deadline = Instant::now() + time;

    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
    let hello = timeout_at(deadline, hello).await.map_err(|_| AcceptError::Deadline)?;
    let hello = hello.map_err(AcceptError::Handshake)?;

    // The hello is cheap; the signature after it is what a flood of hellos would starve traffic with.
    let place = timeout_at(deadline, worker.handshakes.acquire()).await;
    let _place = place.map_err(|_| AcceptError::Busy)?.map_err(|_| AcceptError::Busy)?;

    let stream = timeout_at(deadline, hello.into_stream(config)).await.map_err(|_| AcceptError::Deadline)?;
    let stream = stream.map_err(AcceptError::Handshake)?;
    let state = stream.get_ref().1;
    let sni = state.server_name().map(Arc::from);
    let agreed = TlsFacts::of(state);
    Ok((stream, SecuredMeta { sni, agreed }))
}

fn server_config(current: Current) -> Result<ServerConfig, rustls::Error> {
    let resolver = Resolver { current, before_the_first: CertIndex::fallback() };
    // The provider is named: a process-wide default would be whoever's comes first.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    // In the order we like them.
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // rustls' own memory of sessions is one process's and survives a change of identity; until tickets are ours (D12)
    // every connection makes a full handshake.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Picks the identity of the generation in force at the hello.
struct Resolver {
    current: Current,
    before_the_first: CertIndex,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.current.pin() {
            Some(live) => live.certs.find(hello.server_name()),
            None => self.before_the_first.find(None),
        }
    }
}

// `ServerConfig` prints its resolver; what that holds is not for a log.
impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests;
