//! The product's own SSH authorities: made when they are first wanted, kept sealed, used here and nowhere else.

use config::secret::Secret;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};

use super::internal;
use crate::app::change::Change;
use crate::app::{App, Error, Keys};
use crate::store::ssh_authority::{Purpose, SshAuthorityRow};
use crate::store::{self, Conn};

/// Longest life of a certificate for the browser terminal, in seconds (DESIGN §6).
const TERMINAL_SECONDS_MAX: u64 = 300;
/// How far clocks may differ, in seconds.
const CLOCKS_DIFFER_SECONDS: u64 = 60;

const fn sealed_for(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Host => "ssh-host-authority",
        Purpose::User => "ssh-user-authority",
    }
}

/// A new Ed25519 key and its sealed PEM.
pub(super) fn new_key(keys: &dyn Keys, purpose: &str) -> Result<(PrivateKey, Vec<u8>), Error> {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(|error| internal(&error))?;
    let pem = key.to_openssh(LineEnding::LF).map_err(|error| internal(&error))?;
    let sealed = keys.seal(purpose, pem.as_bytes()).map_err(|error| internal(&error))?;
    Ok((key, sealed))
}

/// A key from its sealed PEM.
pub(super) fn open(keys: &dyn Keys, purpose: &str, sealed: &[u8]) -> Result<PrivateKey, Error> {
    let pem: Secret<Vec<u8>> = keys.unseal(purpose, sealed).map_err(|error| internal(&error))?;
    PrivateKey::from_openssh(pem.expose()).map_err(|error| internal(&error))
}

/// The authority, made now if there is none.
pub(super) async fn ensure(change: &mut Change<'_>, purpose: Purpose) -> Result<SshAuthorityRow, Error> {
    if let Some(row) = store::ssh_authority::find(change.conn(), purpose).await? {
        return Ok(row);
    }
    let keys = change.keys();
    let (key, private_sealed) = new_key(keys.as_ref(), sealed_for(purpose))?;
    let mut public = key.public_key().clone();
    public.set_comment(format!("gatehouse-{}-authority", purpose.as_str()));
    let public_line = public.to_openssh().map_err(|error| internal(&error))?;
    let row = SshAuthorityRow { public_line, private_sealed, names: Vec::new(), created_at: change.now() };
    store::ssh_authority::insert(change.conn(), purpose, &row).await?;
    Ok(row)
}

/// The gate's certificate of a host key, good for these names as long as the key: a rotation replaces both.
pub(super) fn certify_host(
    keys: &dyn Keys,
    authority: &SshAuthorityRow,
    key: &PublicKey,
) -> Result<Option<String>, Error> {
    if authority.names.is_empty() {
        return Ok(None);
    }
    let signer = open(keys, sealed_for(Purpose::Host), &authority.private_sealed)?;
    let mut builder =
        Builder::new(nonce()?, key.key_data().clone(), 0, u64::MAX).map_err(|error| internal(&error))?;
    builder.cert_type(CertType::Host).map_err(|error| internal(&error))?;
    builder.key_id("gatehouse").map_err(|error| internal(&error))?;
    for name in &authority.names {
        builder.valid_principal(name.clone()).map_err(|error| internal(&error))?;
    }
    let certificate = builder.sign(&signer).map_err(|error| internal(&error))?;
    certificate.to_openssh().map(Some).map_err(|error| internal(&error))
}

/// What a certificate for the browser terminal says.
#[derive(Debug)]
pub struct Terminal<'a> {
    /// The gateway's public key, made for this session alone.
    pub key: &'a PublicKey,
    /// The account on the VM.
    pub login: &'a str,
    /// Who sits at the browser and where they go; stands in the VM's log.
    pub key_id: String,
}

/// A certificate of at most five minutes by which a gateway logs into a VM for somebody at a browser.
pub async fn certify_terminal(app: &App, terminal: Terminal<'_>) -> Result<Certificate, Error> {
    let authority = store::ssh_authority::find(&mut app.db.read().await?, Purpose::User).await?;
    let authority = authority.ok_or_else(|| internal(&"there is no SSH user authority yet"))?;
    let signer = open(app.keys.as_ref(), sealed_for(Purpose::User), &authority.private_sealed)?;
    let now = u64::try_from(app.clock.now() / 1_000_000).unwrap_or(0);
    let after = now.saturating_sub(CLOCKS_DIFFER_SECONDS);
    let before = after.saturating_add(TERMINAL_SECONDS_MAX);
    let mut builder = Builder::new(nonce()?, terminal.key.key_data().clone(), after, before)
        .map_err(|error| internal(&error))?;
    builder.cert_type(CertType::User).map_err(|error| internal(&error))?;
    builder.key_id(terminal.key_id).map_err(|error| internal(&error))?;
    builder.valid_principal(terminal.login).map_err(|error| internal(&error))?;
    // A terminal and nothing else: no agent, no forwards.
    builder.extension("permit-pty", "").map_err(|error| internal(&error))?;
    builder.sign(&signer).map_err(|error| internal(&error))
}

/// The public half of an authority as OpenSSH writes it.
pub(super) async fn public_line(conn: &mut Conn, purpose: Purpose) -> Result<Option<String>, Error> {
    Ok(store::ssh_authority::find(conn, purpose).await?.map(|row| row.public_line))
}

fn nonce() -> Result<Vec<u8>, Error> {
    let mut nonce = vec![0; 32];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| internal(&"the system has no randomness"))?;
    Ok(nonce)
}
