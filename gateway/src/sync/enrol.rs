//! How a gateway becomes one of control's: redeems its join token for a certificate of its own key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::name::GatewayName;
use config::secret::Secret;
use config::sync::join::JoinToken;
use config::sync::message::{Enrol, Enrolled, Message};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;

use super::identity::{Files, Identity};
use super::renewal::Clock;
use super::retry::Backoff;
use super::stream::{Framed, client_config, connect, decode};
use super::{Installer, SyncError};

/// What a gateway without an identity starts from.
pub(super) struct Newcomer {
    pub(super) data: PathBuf,
    pub(super) control: Vec<String>,
    pub(super) name: GatewayName,
    pub(super) join_token: Option<Secret<String>>,
    pub(super) clock: Clock,
}

/// The identity of this gateway. Enrols where there is none, and tries until it succeeds.
pub(super) async fn identity(newcomer: &Newcomer, installer: &impl Installer) -> (Identity, Files) {
    let mut backoff = Backoff::new();
    loop {
        let found = async { Ok((load_or_enrol(newcomer).await?, files(newcomer).await?)) };
        match found.await {
            Ok(found) => return found,
            Err(error) => backoff.failed(&error, installer),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn load_or_enrol(newcomer: &Newcomer) -> Result<Identity, SyncError> {
    let found = {
        let files = files(newcomer).await?;
        blocking(move || Ok(files.load()?.map(|identity| (identity, files.is_enrolling())))).await?
    };
    let Some((identity, is_enrolling)) = found else { return enrol(newcomer).await };
    // An identity that was being replaced when the process ended, or that no control takes any more.
    let is_ended = !identity.said.validity.covers((newcomer.clock)());
    if newcomer.join_token.is_some() && (is_enrolling || is_ended) {
        match enrol(newcomer).await {
            Ok(identity) => return Ok(identity),
            Err(error) => tracing::warn!(%error, "this gateway keeps the identity that it has"),
        }
    }
    Ok(identity)
}

/// The files of this gateway.
pub(super) async fn files(newcomer: &Newcomer) -> Result<Files, SyncError> {
    let data = newcomer.data.clone();
    let made = move || {
        Files::below(&data)
            .map_err(|error| SyncError::Identity { what: "its directory", why: error.to_string() })
    };
    blocking(made).await
}

/// Redeems the join token, whether or not there is an identity; the one there is stays until the new one is written.
pub(super) async fn enrol(newcomer: &Newcomer) -> Result<Identity, SyncError> {
    let files = files(newcomer).await?;
    let token = newcomer.join_token.as_ref().ok_or(SyncError::NoToken)?;
    let token = JoinToken::parse(token.expose())?;
    let addresses =
        if newcomer.control.is_empty() { token.addresses.clone() } else { newcomer.control.clone() };
    let (own, name) = (files.clone(), newcomer.name.to_string());
    let csr = blocking(move || own.request(&name)).await?;
    let authority = CertificateDer::from(token.authority.clone());
    let config = client_config(&authority, None).map_err(|error| SyncError::Identity {
        what: "the authority in the join token",
        why: error.to_string(),
    })?;
    let enrol = Enrol { token: token.secret.clone(), name: newcomer.name.clone(), csr };
    let enrolled = redeem(&addresses, &config, &Message::Enrol(enrol)).await?;
    let identity = blocking(move || files.store(&enrolled, &token.addresses)).await?;
    tracing::info!(name = %newcomer.name, "enrolled with control");
    Ok(identity)
}

/// Asks at each address in turn; the last failure is the answer if none succeeds. A refusal is one everywhere.
async fn redeem(
    addresses: &[String],
    config: &Arc<ClientConfig>,
    enrol: &Message,
) -> Result<Enrolled, SyncError> {
    let mut failure = SyncError::NoAddress;
    for address in addresses {
        match ask(address, Arc::clone(config), enrol).await {
            Ok(enrolled) => return Ok(enrolled),
            Err(refusal @ SyncError::NotEnrolled(_)) => return Err(refusal),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn ask(address: &str, config: Arc<ClientConfig>, enrol: &Message) -> Result<Enrolled, SyncError> {
    let io = connect(address, config).await?;
    let mut framed = Framed::new(io, limits::MESSAGE_BYTES_UNAUTHENTICATED_MAX);
    framed.send(enrol).await?;
    let deadline = Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS);
    loop {
        let frame = tokio::time::timeout(deadline, framed.receive()).await;
        let frame = frame.unwrap_or(Err(SyncError::Silent { seconds: deadline.as_secs() }))?;
        let message = decode(frame).await?;
        if let Message::Enrolled(enrolled) = message {
            return Ok(enrolled);
        } else if let Message::Refused(why) = message {
            return Err(SyncError::NotEnrolled(why));
        } else if message != Message::Unknown {
            return Err(SyncError::NotEnrolled("it answered with something else".to_owned()));
        }
    }
}

/// Runs what touches the disk off the runtime's thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(SyncError::Identity { what: "its files", why: error.to_string() }),
    }
}
