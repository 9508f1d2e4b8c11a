//! The admin API by TLS: a certificate of the internal authority, a client certificate asked for and not required
//! (INVENTORY E-13, E-16).
//!
//! A handshake has a deadline and a quota of its own: whoever says nothing here keeps nobody out, neither here nor on
//! the plain listeners. No session is resumed, since a resumed one would skip a client certificate that no longer counts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use certs::self_signed::SubjectName;
use config::limits;
use config::name::HostPattern;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::api::problem::Problem;
use crate::app::Clock;
use crate::auth::ClientCertificate;
use crate::authority::Internal;
use crate::authority::own::{Own, OwnError};

/// First byte of a TLS connection: a record of the handshake (RFC 8446 § 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Why the admin API cannot be served by TLS.
#[derive(Debug, thiserror::Error)]
pub enum SecuredError {
    /// The certificate.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// rustls refuses it.
    #[error("TLS of the admin API cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of clients' certificates.
    #[error("the internal authority cannot verify clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What the TLS listeners of the admin API share.
#[derive(Clone)]
pub struct Secured {
    acceptor: TlsAcceptor,
    own: Arc<Own>,
    pub(super) handshakes: Arc<Semaphore>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secured(..)")
    }
}

/// What somebody said who was given a moment to speak.
pub(super) enum Greeting {
    /// TLS is agreed on; the certificate is the client's, where it showed one.
    Tls(Box<TlsStream<TcpStream>>, Option<Arc<ClientCertificate>>),
    /// It is not TLS. Nothing of it was read.
    Plain(TcpStream),
}

impl Secured {
    /// Issues the certificate; `listeners` are the bound addresses.
    pub fn new(
        authority: Arc<Internal>,
        clock: Arc<dyn Clock>,
        listeners: &[SocketAddr],
    ) -> Result<Self, SecuredError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let names = names(host_name().as_deref(), listeners);
        let own = Arc::new(Own::new(Arc::clone(&authority), clock, &provider, names)?);
        let acceptor = TlsAcceptor::from(Arc::new(config(&authority, provider, Arc::clone(&own))?));
        Ok(Self { acceptor, own, handshakes: Arc::new(Semaphore::new(limits::API_HANDSHAKES_MAX)) })
    }

    /// Takes a new connection as far as its first request, within the deadline of a handshake.
    pub(super) async fn greet(&self, stream: TcpStream) -> io::Result<Greeting> {
        self.greet_within(Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS), stream).await
    }

    async fn greet_within(&self, deadline: Duration, stream: TcpStream) -> io::Result<Greeting> {
        let greeted = async {
            let mut first = [0; 1];
            if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
                return Ok(Greeting::Plain(stream));
            }
            self.own.reached_by(stream.local_addr()?.ip());
            let stream = self.acceptor.accept(stream).await?;
            let shown = shown(&stream).map(Arc::new);
            Ok(Greeting::Tls(Box::new(stream), shown))
        };
        tokio::time::timeout(deadline, greeted).await?
    }
}

/// What a plain HTTP request to a TLS listener is told.
pub(super) fn plain_refused() -> Router {
    async fn refuse() -> Response {
        let why = "this listener speaks TLS; write https:// instead of http://";
        let close = [(header::CONNECTION, "close")];
        (close, Problem::new(StatusCode::BAD_REQUEST, why)).into_response()
    }
    Router::new().fallback(refuse)
}

fn config(
    authority: &Internal,
    provider: Arc<CryptoProvider>,
    own: Arc<Own>,
) -> Result<ServerConfig, SecuredError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate_der().to_vec()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The names of this machine; one that no certificate can carry is left out.
fn names(host: Option<&str>, listeners: &[SocketAddr]) -> Vec<SubjectName> {
    let hosts = ["localhost"].into_iter().chain(host);
    let hosts = hosts.filter_map(|name| HostPattern::parse(name).ok()).map(SubjectName::Host);
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let bound = listeners.iter().map(|address| address.ip().to_canonical());
    let addresses = loopback.into_iter().chain(bound.filter(|ip| !ip.is_unspecified()));
    let mut names = Vec::new();
    for name in hosts.chain(addresses.map(SubjectName::Address)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    // A pattern is no name of a machine.
    Some(name.trim().to_owned()).filter(|name| !name.contains('*'))
}

/// The certificate that the client showed and rustls verified.
fn shown(stream: &TlsStream<TcpStream>) -> Option<ClientCertificate> {
    use sha2::Digest as _;
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    Some(ClientCertificate {
        subject: parsed.subject().to_string(),
        fingerprint: data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(leaf)),
    })
}

#[cfg(test)]
mod tests;
