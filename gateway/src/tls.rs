//! ClientHello, certificate, handshake; under a deadline.
//!
//! What a handshake is made with is chosen at its hello, by the rule that the generation in force has for the name
//! ([`rules`]); which identity a client sees is asked of that generation too ([`resolver`]). So a swap changes what new
//! handshakes see and nothing about connections that stand. What a handshake cannot know, the path, is looked at again
//! at each request ([`clients`]).
//!
//! Start reading at [`accept::accept`].

mod accept;
mod ahead;
mod challenge;
mod ciphers;
pub(crate) mod clients;
mod hello;
mod passthrough;
mod resolver;
pub(crate) mod rules;
mod tickets;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use config::limits;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::http::Protocol;
use crate::live::Current;
use crate::telemetry::TlsFacts;

pub(crate) use accept::accept;
pub use ahead::Ahead;
pub use clients::ClientChain;
pub(crate) use passthrough::{Passing, pass};
use resolver::Resolver;

/// What HTTP/2 is called in a handshake (RFC 9113 § 3.1).
const H2: &[u8] = b"h2";

/// Tickets given out in one handshake of TLS 1.3: a client uses each once (RFC 8446 § C.4) and is given another then. Each
/// costs as much as a small record; a second one would be for a client's second connection at the same time.
const TICKETS_GIVEN: usize = 1;

/// What was agreed on to be spoken; HTTP/1.1 where nothing was.
pub fn protocol(stream: &TlsStream) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// A downstream connection after its handshake.
pub type TlsStream = tokio_rustls::server::TlsStream<Ahead>;

/// What a connection on a TLS listener turned out to be.
#[expect(clippy::large_enum_variant, reason = "a box would be every connection's for as long as it lives")]
pub(crate) enum Accepted {
    /// It speaks HTTP.
    Http(TlsStream, SecuredMeta),
    /// An authority looked, and saw.
    Answered,
    /// Its TLS is the upstream's.
    Passing(Box<Passing>),
}

/// What a TLS handshake told.
#[derive(Debug, Clone, Default)]
pub struct SecuredMeta {
    /// The server name asked for, in lower case.
    pub sni: Option<Arc<str>>,
    /// What was agreed on.
    pub agreed: TlsFacts,
    /// What the client showed, if it was asked for a certificate.
    pub clients: Option<Rc<ClientChain>>,
}

/// Why a handshake came to nothing. The connection is closed, the kind is counted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client was too slow.
    #[error("the handshake took longer than {} ms", limits::HANDSHAKE_DEADLINE_MS)]
    Deadline,
    /// Too many handshakes are under way in this worker.
    #[error("too many handshakes are under way")]
    Busy,
    /// The settings refuse names that no identity was made for.
    #[error("no identity was made for the server name")]
    UnknownName,
    /// The client broke the protocol, refused what we offer, or went away.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
}

/// What every handshake of this process has in common.
pub struct Acceptor {
    resolver: Arc<Resolver>,
    before_the_first: Result<Arc<ServerConfig>, rustls::Error>,
}

impl Acceptor {
    /// An acceptor that asks `current` for an identity at each hello.
    pub fn new(current: Current) -> Self {
        let resolver = Arc::new(Resolver::new(current));
        let before_the_first = build(&resolver, &[&TLS13, &TLS12], None).map(Arc::new);
        Self { resolver, before_the_first }
    }

    /// What handshakes are made with as long as there is no generation.
    fn before_the_first(&self) -> Result<Arc<ServerConfig>, AcceptError> {
        self.before_the_first.clone().map_err(|error| AcceptError::Handshake(io::Error::other(error)))
    }

    /// A configuration without tickets.
    fn build(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        asking: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, rustls::Error> {
        build(&self.resolver, versions, asking)
    }
}

fn build(
    resolver: &Arc<Resolver>,
    versions: &[&'static SupportedProtocolVersion],
    asking: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    // The provider is named: a process-wide default would be whoever's comes first.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ciphers::provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(asking.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_cert_resolver(Arc::clone(resolver) as _);
    config.ignore_client_order = true;
    // In the order we like them.
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // rustls' own memory of sessions is one process's and knows no policies: tickets are all there is.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
