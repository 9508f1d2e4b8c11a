//! The gateways' stream: who may open one, and what goes over it.
//!
//! A gateway without a certificate may send one small `Enrol` and nothing else. One with a certificate of ours that is
//! not revoked gets a [`Publisher`](config::sync::publisher::Publisher) of its own: see [`stream`].

mod enrol;
pub mod frame;
mod names;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::sync::message::{Message, parse_gateway_uri};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::gateway::{self, Certificate, Standing};
use crate::app::{self, App, AuthorityError};
use crate::auth::Origin;
use crate::authority::Internal;
use crate::authority::own::{Own, OwnError};
pub use names::Names;

/// What a gateway that is none of ours reads after `Withdrawn`.
const WITHDRAWN: &str = "this gateway was withdrawn; join it again with a new token";
/// What a gateway reads whose certificate ended while the stream was open.
const EXPIRED: &str = "the certificate shown on this stream has ended; dial again with a newer one";

/// Why the stream cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate of control.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// The name of control.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// rustls refuses it.
    #[error("TLS of the gateways' stream cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of gateways' certificates.
    #[error("the internal authority cannot verify gateways: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// What all streams share.
#[derive(Clone)]
pub struct Gateways {
    app: Arc<App>,
    authority: Arc<Internal>,
    acceptor: TlsAcceptor,
    /// Streams of all kinds.
    streams: Arc<Semaphore>,
    /// Those that have not proved who they are: they must not take the room of those that have.
    strangers: Arc<Semaphore>,
    names: Names,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Gateways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateways(..)")
    }
}

impl Gateways {
    /// Serves until `stop`; `tasks` ends when the last stream has.
    pub fn new(
        app: Arc<App>,
        authority: Arc<Internal>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<Self, TlsError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls(&authority, Arc::clone(&app.clock))?));
        Ok(Self {
            app,
            authority,
            acceptor,
            streams: Arc::new(Semaphore::new(limits::SYNC_STREAMS_MAX)),
            strangers: Arc::new(Semaphore::new(limits::SYNC_STRANGERS_MAX)),
            names: Names::default(),
            stop,
            tasks,
        })
    }

    /// The names of the connected gateways.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// Accepts streams.
    pub async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Ok(stranger) = Arc::clone(&self.strangers).try_acquire_owned() else {
                        tracing::warn!(%peer, "too many streams that have not authenticated; one was closed");
                        continue;
                    };
                    let gateways = self.clone();
                    self.tasks.spawn(async move {
                        if let Err(error) = gateways.serve(stream, Origin::Peer(peer), stranger).await {
                            tracing::info!(%peer, %error, "a gateway's stream ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a gateway's stream failed");
                    tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)).await;
                }
            }
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        origin: Origin,
        stranger: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let deadline = Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS);
        let mut stream = tokio::time::timeout(deadline, self.acceptor.accept(stream)).await??;
        let Some(leaf) = shown(&stream) else {
            return enrol::serve(self, stream, origin).await;
        };
        let Some(certificate) = certificate(&leaf) else {
            return refuse(&mut stream, "the certificate is no gateway's").await;
        };
        let id = certificate.gateway;
        match gateway::by_certificate(&self.app, certificate).await {
            Ok(Standing::Ours(name)) => {
                let Ok(_room) = Arc::clone(&self.streams).try_acquire_owned() else {
                    return refuse(&mut stream, "this control serves as many gateways as it may; try later")
                        .await;
                };
                drop(stranger);
                tracing::info!(gateway = %name, %id, "a gateway connected");
                let _named = self.names.hold(id, name);
                stream::run(self, stream, certificate).await
            }
            Ok(Standing::Withdrawn) => {
                frame::write(&mut stream, &Message::Withdrawn).await?;
                refuse(&mut stream, WITHDRAWN).await
            }
            Ok(Standing::Expired) => refuse(&mut stream, EXPIRED).await,
            Err(error) => {
                refuse(&mut stream, "control cannot read its database right now").await?;
                Err(io::Error::other(error))
            }
        }
    }
}

/// TLS 1.3 alone; a certificate is asked for and may be absent, which [`Gateways::serve`] answers with enrolment.
fn tls(authority: &Arc<Internal>, clock: Arc<dyn app::Clock>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.certificate_der().to_vec()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let own = Own::new(Arc::clone(authority), clock, &provider, vec![Internal::control_name()?])?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(own));
    // A stream lives for days, and a resumed one would skip the certificate that may be revoked meanwhile.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The certificate that the peer showed and rustls verified.
fn shown(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first().cloned()
}

/// Whose it is. Our authority signs no URI but a gateway's, and TLS checked that it signed this one for clients.
fn certificate(leaf: &[u8]) -> Option<Certificate> {
    let said = certs::identity::Said::parse(leaf).ok()?;
    let gateway = said.subject_names.uris.iter().find_map(|uri| parse_gateway_uri(uri))?;
    Some(Certificate { gateway, expires_at: said.validity.not_after.saturating_mul(1_000_000) })
}

/// SHA-256 in lower-case hex: what people compare.
fn fingerprint_of(leaf: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(leaf))
}

async fn refuse(stream: &mut TlsStream<TcpStream>, why: &str) -> io::Result<()> {
    frame::write(stream, &Message::Refused(why.to_owned())).await?;
    let closed = tokio::io::AsyncWriteExt::shutdown(stream);
    tokio::time::timeout(Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS), closed).await?
}

/// What a gateway may read about a failure: nothing of the inside.
fn public(error: &app::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
