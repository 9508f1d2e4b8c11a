//! The authority that signs the leaves of self-signed routes: the internal one, or one that was imported.
//!
//! An imported authority signs nothing but those leaves. The gateways' stream, their certificates and join tokens stay
//! with the internal authority: gateways out there trust that one alone, and whoever holds the key of a company's
//! authority must not be able to pass for a control or a gateway. It is read from the store each time it signs, so several
//! controls on one database never sign with different ones.

use certs::describe::Description;
use certs::self_signed::{self, LEAF_DAYS_MAX, SubjectName};
use config::name::HostPattern;
use config::secret::Secret;
use serde::Serialize;
use utoipa::ToSchema;

use super::certificate::input as brought;
use super::certificate::install::Issued;
use super::certificate::self_signed as leaves;
use super::change::{Note, Scope};
use super::input::{Input, Members};
use super::page::time;
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::store::{self, Conn, internal_key};

/// What the imported authority is called in the store, and what it is sealed for.
const NAME: &str = "imported-authority";

/// Members of an import.
pub const KNOWN: &[&str] = &["certificate", "certificate_chain", "private_key"];

/// The authority that users trust.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuthorityView {
    /// Its distinguished name.
    pub subject: String,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// When it ends.
    pub expires_at: String,
    /// Leaves of routes that it signed anew.
    pub reissued: usize,
    /// What users have to trust, as PEM: the uppermost certificate that was brought.
    pub trusted: String,
}

/// The certificate that users trust, as PEM.
pub async fn trusted_pem(app: &App) -> Result<String, Error> {
    let imported = imported(app, &mut app.db.read().await?).await?;
    Ok(imported.map_or_else(|| app.authority.certificate_pem(), |authority| authority.trusted_pem()))
}

/// When the authority that signs ends, in microseconds: no leaf lives longer, so none that ends then can be bettered.
pub async fn ends(app: &App, conn: &mut Conn) -> Result<i64, Error> {
    let imported = imported(app, conn).await?;
    let seconds = imported.map_or(u64::MAX, |authority| authority.ends());
    Ok(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// A leaf for these names, of the authority that signs at this moment.
pub async fn issue(app: &App, conn: &mut Conn, names: &[HostPattern]) -> Result<Issued, Error> {
    let Some(authority) = imported(app, conn).await? else {
        let leaf = app.authority.issue_server(names).map_err(|error| Error::Internal(error.to_string()))?;
        return Ok(Issued { chain: leaf.chain, key: leaf.key });
    };
    let names: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
    let leaf = authority
        .issue_server(&names, seconds(app.clock.now()), LEAF_DAYS_MAX)
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Issued { chain: leaf.chain, key: leaf.key })
}

/// Takes an authority over and issues all leaves of self-signed routes anew, in one generation.
pub async fn import(app: &App, caller: &Caller, members: Members) -> Result<AuthorityView, Error> {
    caller.allow(Action::Update, Resource::Authority)?;
    let mut input = Input::new(members);
    let files = brought::brought(&mut input);
    if files.is_empty() && input.is_sound() {
        input.invalid("certificate", "required", "certificate is missing: that of the authority");
    }
    input.finish(KNOWN)?;
    let authority = files.authority(app.clock.now()).await?;
    let unreadable = |why: &dyn ToString| Error::Internal(why.to_string());
    let said = Description::parse(authority.certificate_der()).map_err(|error| unreadable(&error))?;
    let sealed = app.keys.seal(NAME, to_bytes(&authority).expose()).map_err(|error| unreadable(&error))?;

    let mut change = app.begin(caller, Scope::Published).await?;
    let before = imported(app, change.conn()).await?.map(|old| fingerprint(old.certificate_der()));
    let now = change.now();
    internal_key::put(change.conn(), NAME, &sealed, now).await?;
    let mut view = AuthorityView {
        subject: said.subject,
        fingerprint: fingerprint(authority.certificate_der()),
        expires_at: time(said.validity.not_after.saturating_mul(1_000_000)),
        reissued: 0,
        trusted: authority.trusted_pem(),
    };
    for id in store::identity::all_self_signed(change.conn()).await? {
        let Some(mut row) = store::identity::by_id(change.conn(), id).await? else { continue };
        leaves::issue(app, &mut change, &mut row).await?;
        view.reissued += 1;
    }
    let after = fingerprint(authority.certificate_der());
    let note = Note { action: "import", kind: "authority", id: Some(after.clone()), namespace: None };
    change.audit(note, before.as_ref(), Some(&after)).await?;
    change.commit().await?;
    Ok(view)
}

async fn imported(app: &App, conn: &mut Conn) -> Result<Option<self_signed::Authority>, Error> {
    let Some(sealed) = internal_key::read(conn, NAME).await? else { return Ok(None) };
    let fault = |why: &dyn ToString| Error::Internal(format!("the imported authority: {}", why.to_string()));
    let opened = app.keys.unseal(NAME, &sealed).map_err(|error| fault(&error))?;
    let mut parts = split(opened.expose()).into_iter();
    let (Some(key), Some(certificate)) = (parts.next(), parts.next()) else {
        return Err(fault(&"its parts are damaged"));
    };
    let authority = self_signed::Authority::from_parts(certificate, &Secret::new(key.to_vec()));
    Ok(Some(authority.map_err(|error| fault(&error))?.with_chain(parts.map(<[u8]>::to_vec).collect())))
}

fn fingerprint(der: &[u8]) -> String {
    certs::describe::Fingerprint::of(der).to_string()
}

/// Key, certificate and those above it, each after its length.
fn to_bytes(authority: &self_signed::Authority) -> Secret<Vec<u8>> {
    let key = authority.key_pkcs8();
    let above = authority.chain().iter().map(Vec::as_slice);
    let parts = [key.expose().as_slice(), authority.certificate_der()].into_iter().chain(above);
    let parts: Vec<_> = parts.collect();
    // In one piece: growing would leave copies of the key behind.
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Secret::new(bytes)
}

fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((part, rest)) = rest.split_at_checked(length) else { break };
        parts.push(part);
        bytes = rest;
    }
    parts
}

fn seconds(microseconds: i64) -> u64 {
    u64::try_from(microseconds / 1_000_000).unwrap_or_default()
}
