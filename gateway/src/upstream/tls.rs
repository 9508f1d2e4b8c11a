//! TLS to an endpoint: how it proves itself, what we prove ourselves with, which name is asked for.
//!
//! Each way to an endpoint has a configuration of its own, made at its first handshake and kept with the way, and so
//! sessions of its own: one that was proved by one rule is never resumed under another. What makes a policy unusable
//! (an authority or a key that cannot be read) stands in the log once and fails the requests of that upstream alone.

mod roots;
mod verify;

use std::sync::Arc;

use config::limits;
use config::snapshot::{ClientIdentity, Protocol, UpstreamTls, Verify};
use config::target::Target;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::way::Way;
use crate::fault::{Cause, Fault, Kind, Retry};

/// What makes a policy unusable until it changes.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unusable {
    /// One of the authorities is no certificate.
    #[error("authority {index} of the upstream cannot be read: {cause}")]
    Authority {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        cause: rustls::Error,
    },
    /// There is nobody to trust.
    #[error("the upstream names no authority")]
    NoAuthority,
    /// The client's certificate or its key cannot be used.
    #[error("the upstream's client certificate cannot be used: {0}")]
    Client(rustls::Error),
    /// Anything else that rustls refuses.
    #[error("the upstream's TLS cannot be set up: {0}")]
    Other(rustls::Error),
}

/// The configuration of a way's handshakes.
///
/// Errors: an upstream fault; the policy is unusable, or the system's authorities are wanted and cannot be read.
pub(super) async fn config(way: &Way, policy: &UpstreamTls) -> Result<Arc<ClientConfig>, Fault> {
    let system = match (&policy.verify, way.config.get()) {
        (Verify::System, None) => Some(roots::system().await?),
        _ => None,
    };
    let made = way.config.get_or_init(|| {
        let made = build(policy, way.protocol, system);
        if let Err(unusable) = &made {
            tracing::warn!(%unusable, "an upstream cannot be reached over TLS until its policy changes");
        }
        made.map(Arc::new)
    });
    made.clone().map_err(|unusable| refused(std::io::Error::other(unusable)))
}

fn build(
    policy: &UpstreamTls,
    protocol: Protocol,
    system: Option<Arc<RootCertStore>>,
) -> Result<ClientConfig, Unusable> {
    // The provider is named: a process-wide default would be whoever's comes first.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(&policy.verify, system, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(Unusable::Other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &policy.client {
        None => config.with_no_client_auth(),
        Some(ClientIdentity { chain, key }) => {
            let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            let key = PrivatePkcs8KeyDer::from(key.expose().clone());
            config.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key)).map_err(Unusable::Client)?
        }
    };
    config.resumption = Resumption::in_memory_sessions(limits::UPSTREAM_SESSIONS_KEPT);
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// What makes a policy unusable whatever the system's authorities are; for the acknowledgement of its generation.
pub(crate) fn fault_of(policy: &UpstreamTls, protocol: Protocol) -> Option<String> {
    let made = match policy.verify {
        // Those are read at the first handshake.
        Verify::System => {
            let rest = UpstreamTls { verify: Verify::Nothing, ..policy.clone() };
            build(&rest, protocol, None)
        }
        Verify::Authorities(_) | Verify::Fingerprint(_) | Verify::Nothing => build(policy, protocol, None),
    };
    made.err().map(|unusable| unusable.to_string())
}

fn verifier(
    verify: &Verify,
    system: Option<Arc<RootCertStore>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Unusable> {
    let roots = match verify {
        Verify::Fingerprint(sha256) => return Ok(Arc::new(verify::ByLeaf::new(Some(*sha256), provider))),
        Verify::Nothing => return Ok(Arc::new(verify::ByLeaf::new(None, provider))),
        Verify::System => system.ok_or(Unusable::NoAuthority)?,
        Verify::Authorities(ders) => {
            let mut roots = RootCertStore::empty();
            for (index, der) in ders.iter().enumerate() {
                let der = CertificateDer::from(der.clone());
                roots.add(der).map_err(|cause| Unusable::Authority { index, cause })?;
            }
            Arc::new(roots)
        }
    };
    verify::by_chain(roots, provider)
}

/// The name that is asked for and has to be proved: the policy's, or the target's own. An address is asked for by no
/// name, and proved by one of the certificate's addresses.
pub(super) fn server_name(target: &Target, policy: &UpstreamTls) -> Result<ServerName<'static>, Fault> {
    let host = match (&policy.server_name, target) {
        (Some(name), _) => name,
        (None, Target::Name { host, .. }) => host,
        (None, Target::Address(address)) => {
            return Ok(ServerName::IpAddress(address.ip().to_canonical().into()));
        }
    };
    let name = ServerName::try_from(host.as_str().to_owned());
    name.map_err(|cause| refused(std::io::Error::other(cause)))
}

/// Does the client's side of a handshake. With `is_http2`, an endpoint that does not agree to HTTP/2 is refused.
pub(super) async fn shake_hands(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: TcpStream,
    is_http2: bool,
) -> Result<TlsStream<TcpStream>, Fault> {
    let stream = TlsConnector::from(config).connect(name, io).await.map_err(refused)?;
    if is_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        let rule = Cause::Rule("the origin does not agree to HTTP/2 (ALPN)");
        return Err(Fault::upstream(Kind::UpstreamTls, Retry::Safe, rule));
    }
    Ok(stream)
}

/// Nothing was sent but the handshake: any request may be tried elsewhere.
fn refused(cause: std::io::Error) -> Fault {
    Fault::upstream(Kind::UpstreamTls, Retry::Safe, cause)
}

#[cfg(test)]
mod tests;
