//! Gateways: who they are (rows), and what they say while they are connected (memory).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use config::id::GatewayId;
use config::name::GatewayName;
use config::secret::Secret;
use config::snapshot::Generation;
use config::sync::message::{Ack, Hello, Listening, Nack, Report};

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::page::{Asked, Page, page, time};
use super::{App, AuthorityError, Caller, Error};
use crate::auth::Origin;
use crate::auth::rbac::{Action, Resource};
use crate::auth::token::hash;
use crate::store::gateway::GatewayRow;
use crate::store::{self, Stamp};

/// A gateway's certificate, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// SHA-256 of the leaf in lower-case hex.
    pub fingerprint: String,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
}

/// What a gateway brings to enrol.
#[derive(Debug)]
pub struct Enrolment<'a> {
    /// The one-time join token.
    pub token: &'a Secret<String>,
    /// The name it wants.
    pub name: &'a GatewayName,
    /// Its certificate signing request in DER.
    pub csr: &'a [u8],
    /// Where it dialled from.
    pub origin: Origin,
}

/// What a verified client certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub gateway: GatewayId,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
}

/// What a gateway that shows a certificate is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// One of ours, and its name.
    Ours(GatewayName),
    /// Its certificate has ended; it may have a newer one.
    Expired,
    /// Withdrawn, or never ours.
    Withdrawn,
}

/// Redeems a join token. `sign` makes the certificate for the id that the gateway gets; if it fails nothing is spent.
///
/// The same request with the same token is answered again until the token ends: a crash between our answer and the
/// gateway's disk must not cost a token. Only the holder of the request's key can use the answer.
///
/// Errors: [`Error::Unauthenticated`] for a token that is unknown, used or ended; [`Error::Conflict`] for a name that
/// another gateway has.
pub async fn enrol(
    app: &App,
    enrolment: Enrolment<'_>,
    sign: &(dyn Fn(GatewayId) -> Result<Signed, AuthorityError> + Send + Sync),
) -> Result<GatewayId, Error> {
    let mut caller = Caller::ourselves("enrol");
    caller.origin = enrolment.origin;
    let mut change = app.begin(&caller, Scope::Private).await?;
    let refused = |why: &str| Error::Unauthenticated(why.to_owned());
    let token = store::join_token::by_hash(change.conn(), &hash(enrolment.token.expose())).await?;
    let token = token.ok_or_else(|| refused("the join token is not one of this installation"))?;
    let used = || refused("the join token was used already; make a new one");
    let csr_digest = digest(enrolment.csr);
    let is_retry = token.csr_digest.as_ref() == Some(&csr_digest);
    if token.used_at.is_some() && !is_retry {
        return Err(used());
    }
    if token.expires_at <= change.now() {
        return Err(refused("the join token has expired; make a new one"));
    }
    if let (Some(_), Some(id)) = (token.used_at, token.gateway) {
        let row = store::gateway::by_id(change.conn(), id).await?;
        let row = row.filter(|row| row.name == *enrolment.name).ok_or_else(used)?;
        let signed = sign(id).map_err(|error| Error::Internal(error.to_string()))?;
        note_certificate(&mut change, app, row, signed).await?;
        change.commit().await?;
        return Ok(id);
    }
    if token.gateway_name.as_ref().is_some_and(|only| only != enrolment.name) {
        return Err(refused("the join token is for a gateway of another name"));
    }
    if let Some(other) = store::gateway::by_name(change.conn(), enrolment.name.as_str()).await? {
        let message = format!(
            "a gateway is called {} already ({}); delete it first if this one takes its place",
            other.name, other.id
        );
        return Err(Error::Conflict { field: "name", message });
    }
    let id = GatewayId::from_uuid(uuid::Uuid::now_v7());
    let signed = sign(id).map_err(|error| Error::Internal(error.to_string()))?;
    let row = GatewayRow {
        id,
        name: enrolment.name.clone(),
        fingerprint: signed.fingerprint,
        expires_at: signed.expires_at,
        stamp: Stamp::new(change.now()),
    };
    store::gateway::insert(change.conn(), &row).await?;
    let now = change.now();
    store::join_token::spend(change.conn(), token.id, id, &csr_digest, now).await?;
    change.audit(note("create", &row), None, Some(&view(app, &row))).await?;
    change.commit().await?;
    Ok(id)
}

/// SHA-256 in lower-case hex.
fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes))
}

/// What the holder of a certificate that our authority signed is to us.
///
/// The id decides and not the fingerprint: ids are never used twice, and a gateway that lost our answer to a renewal
/// must still be known by the certificate before it.
pub async fn by_certificate(app: &App, certificate: Certificate) -> Result<Standing, Error> {
    let row = store::gateway::by_id(&mut app.db.read().await?, certificate.gateway).await?;
    Ok(match row {
        None => Standing::Withdrawn,
        Some(_) if certificate.expires_at <= app.clock.now() => Standing::Expired,
        Some(row) => Standing::Ours(row.name),
    })
}

/// Renews a gateway's certificate: `sign` makes it, for this id and no other.
///
/// Errors: [`Error::NotFound`] for a gateway that was withdrawn, which gets nothing signed.
pub async fn renew(
    app: &App,
    id: GatewayId,
    sign: &(dyn Fn(GatewayId) -> Result<Signed, AuthorityError> + Send + Sync),
) -> Result<(), Error> {
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let nothing = || Error::NotFound { kind: "gateway", name: id.to_string() };
    let row = store::gateway::by_id(change.conn(), id).await?.ok_or_else(nothing)?;
    let signed = sign(id).map_err(|error| Error::Internal(error.to_string()))?;
    note_certificate(&mut change, app, row, signed).await?;
    change.commit().await.map(drop)
}

async fn note_certificate(
    change: &mut Change<'_>,
    app: &App,
    mut row: GatewayRow,
    signed: Signed,
) -> Result<(), Error> {
    let before = view(app, &row);
    row.fingerprint = signed.fingerprint;
    row.expires_at = signed.expires_at;
    row.stamp = row.stamp.changed(change.now());
    store::gateway::update(change.conn(), &row).await?;
    change.audit(note("update", &row), Some(&before), Some(&view(app, &row))).await
}

/// A gateway: its row, and what it says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GatewayView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether a stream is open.
    pub connected: bool,
    /// The generation it should serve.
    pub desired: u64,
    /// The generation it serves, serving and durable.
    pub generation: Option<u64>,
    /// The last generation it refused, and why; null once a later one was taken.
    pub refused: Option<String>,
    /// What is paused at it.
    pub degraded: Vec<String>,
    /// Where it listens, as `kind address`.
    pub listeners: Vec<String>,
    /// Its program's version.
    pub version: String,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Open downstream connections.
    pub connections: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Requests answered since it started.
    pub requests: u64,
    /// When it last said anything, RFC 3339.
    pub seen_at: Option<String>,
    /// When its certificate ends, RFC 3339.
    pub certificate_expires_at: String,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
}

fn view(app: &App, row: &GatewayRow) -> GatewayView {
    let said = app.gateways.said(row.id);
    let seen_at = said.as_ref().map(|said| time(said.seen_at));
    let said = said.unwrap_or_default();
    GatewayView {
        id: row.id.to_string(),
        name: row.name.to_string(),
        connected: said.streams > 0,
        desired: app.desired.current().snapshot.generation().0,
        generation: said.acked.map(|generation| generation.0),
        refused: said.refused.map(|(generation, why)| format!("generation {generation}: {why}")),
        degraded: said.degraded,
        listeners: said.listeners.iter().map(|at| format!("{} {}", at.kind, at.address)).collect(),
        version: said.version,
        draining: said.draining,
        connections: said.report.connections,
        sessions: said.report.sessions,
        requests: said.report.requests,
        seen_at,
        certificate_expires_at: time(row.expires_at),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
    }
}

/// A page of gateways.
pub async fn list(app: &App, caller: &Caller, asked: &Asked) -> Result<Page<GatewayView>, Error> {
    caller.allow(Action::Read, Resource::Gateways)?;
    let slice = asked.slice(None)?;
    let rows = store::gateway::list(&mut app.db.read().await?, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), |row| view(app, row)))
}

/// Shows a gateway.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<GatewayView, Error> {
    caller.allow(Action::Read, Resource::Gateways)?;
    Ok(view(app, &found(&mut app.db.read().await?, id).await?))
}

/// Revokes a gateway: its certificate is worth nothing from now on. Open streams are ended by the publisher, which asks
/// [`by_certificate`] again when [`Connected::forget`] was called.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Delete, Resource::Gateways)?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let row = found(change.conn(), id).await?;
    let now = change.now();
    store::gateway::delete(change.conn(), row.id, now).await?;
    change.audit(note("delete", &row), Some(&view(app, &row)), None).await?;
    change.commit().await?;
    app.gateways.forget(row.id);
    Ok(())
}

async fn found(conn: &mut store::Conn, id: &str) -> Result<GatewayRow, Error> {
    let row = match id.parse() {
        Ok(id) => store::gateway::by_id(conn, id).await?,
        Err(_) => store::gateway::by_name(conn, id).await?,
    };
    row.ok_or_else(|| Error::NotFound { kind: "gateway", name: id.chars().take(80).collect() })
}

fn note<'a>(action: &'static str, row: &GatewayRow) -> Note<'a> {
    Note { action, kind: "gateway", id: Some(row.id.to_string()), namespace: None }
}

/// What one gateway said last.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Streams that are open: two during an upgrade.
    pub streams: usize,
    /// The last introduction.
    pub version: String,
    /// Where it listens.
    pub listeners: Vec<Listening>,
    /// Whether it is on its way out.
    pub draining: bool,
    /// The generation it serves.
    pub acked: Option<Generation>,
    /// What is paused at it.
    pub degraded: Vec<String>,
    /// The last generation it refused, and why.
    pub refused: Option<(Generation, String)>,
    /// What happens at it.
    pub report: Report,
    /// When it last said anything, in microseconds UTC.
    pub seen_at: i64,
}

/// What the connected gateways say. At most one entry a gateway of the store.
#[derive(Debug)]
pub struct Connected {
    said: Mutex<HashMap<GatewayId, Said>>,
    revoked: watch::Sender<Option<GatewayId>>,
    /// Questions to them.
    pub lines: super::lines::Lines,
    /// Wakes those who wait for an acknowledgement.
    progress: watch::Sender<()>,
}

impl Default for Connected {
    fn default() -> Self {
        Self {
            said: Mutex::default(),
            revoked: watch::Sender::new(None),
            lines: super::lines::Lines::default(),
            progress: watch::Sender::new(()),
        }
    }
}

impl Connected {
    fn note(&self, id: GatewayId, now: i64, write: impl FnOnce(&mut Said)) {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = all.entry(id).or_default();
        said.seen_at = now;
        write(said);
        self.progress.send_replace(());
    }

    /// A stream opened and introduced itself. Call [`Connected::closed`] once for each.
    pub fn introduced(&self, id: GatewayId, now: i64, hello: &Hello) {
        self.note(id, now, |said| {
            said.streams += 1;
            // Beside one that serves, one that drains after an upgrade has nothing to say for the gateway.
            said.draining = hello.draining && (said.draining || said.streams == 1);
            if !hello.draining {
                said.version.clone_from(&hello.version);
                said.listeners.clone_from(&hello.listeners);
                said.acked = hello.have.map(|have| have.generation);
            }
        });
    }

    /// A generation is in force there.
    pub fn acked(&self, id: GatewayId, now: i64, ack: &Ack) {
        self.note(id, now, |said| {
            said.acked = Some(ack.generation);
            said.degraded.clone_from(&ack.degraded);
            said.refused = said.refused.take().filter(|(refused, _)| *refused > ack.generation);
        });
    }

    /// A generation was refused there.
    pub fn refused(&self, id: GatewayId, now: i64, nack: &Nack) {
        self.note(id, now, |said| said.refused = Some((nack.generation, nack.reason.clone())));
    }

    /// Figures came.
    pub fn reported(&self, id: GatewayId, now: i64, report: &Report) {
        self.note(id, now, |said| said.report = report.clone());
    }

    /// A stream ended.
    pub fn closed(&self, id: GatewayId, now: i64) {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // A revoked gateway has no entry any more, and gets none by going.
        if let Some(said) = all.get_mut(&id) {
            said.seen_at = now;
            said.streams = said.streams.saturating_sub(1);
        }
        self.progress.send_replace(());
    }

    /// The gateway was revoked: nothing of it is kept, and streams are told to look again.
    pub fn forget(&self, id: GatewayId) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.revoked.send_replace(Some(id));
        self.progress.send_replace(());
    }

    /// Wakes whenever anything that is said here changed; a burst is seen as its last.
    pub fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    /// Wakes whenever a gateway is revoked; a burst is seen as its last, so ask the store who is still there.
    pub fn revocations(&self) -> watch::Receiver<Option<GatewayId>> {
        self.revoked.subscribe()
    }

    /// What one gateway said.
    pub fn said(&self, id: GatewayId) -> Option<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// What they all said.
    pub fn all(&self) -> Vec<(GatewayId, Said)> {
        let all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, said)| (*id, said.clone())).collect()
    }
}
