//! Gateways: who they are (rows), and what they say while they are connected (memory).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use config::id::GatewayId;
use config::name::GatewayName;
use config::secret::Secret;
use config::snapshot::Generation;
use config::sync::message::{Ack, Hello, Listening, Nack, Report};

use crate::app::{App, AuthorityError, Error};
use crate::auth::Origin;

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
    /// Where it dialled from.
    pub origin: Origin,
}

/// Redeems a join token. `sign` makes the certificate for the id that the gateway gets; if it fails nothing is spent.
pub async fn enrol(
    app: &App,
    enrolment: Enrolment<'_>,
    sign: &(dyn Fn(GatewayId) -> Result<Signed, AuthorityError> + Send + Sync),
) -> Result<GatewayId, Error> {
    let _ = (app, enrolment, sign);
    Err(Error::Internal("not yet".into()))
}

/// The gateway that a client certificate belongs to; `None` for one that was revoked or never ours.
pub async fn by_certificate(app: &App, fingerprint: &str) -> Result<Option<(GatewayId, GatewayName)>, Error> {
    let _ = (app, fingerprint);
    Ok(None)
}

/// Notes a gateway's renewed certificate.
pub async fn renewed(app: &App, id: GatewayId, signed: Signed) -> Result<(), Error> {
    let _ = (app, id, signed);
    Ok(())
}

/// A join token for a gateway of this machine, made by control itself (`gatehouse up`).
pub async fn local_join_token(app: &App, name: &GatewayName) -> Result<Secret<String>, Error> {
    let _ = (app, name);
    Err(Error::Internal("not yet".into()))
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
#[derive(Debug, Default)]
pub struct Connected(Mutex<HashMap<GatewayId, Said>>);

impl Connected {
    fn note(&self, id: GatewayId, now: i64, write: impl FnOnce(&mut Said)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = all.entry(id).or_default();
        said.seen_at = now;
        write(said);
    }

    /// A stream opened and introduced itself. Call [`Connected::closed`] once for each.
    pub fn introduced(&self, id: GatewayId, now: i64, hello: &Hello) {
        self.note(id, now, |said| {
            said.streams += 1;
            said.version.clone_from(&hello.version);
            said.draining = hello.draining;
            if !hello.draining {
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
        self.note(id, now, |said| said.streams = said.streams.saturating_sub(1));
    }

    /// The gateway was revoked: nothing of it is kept.
    pub fn forget(&self, id: GatewayId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// What one gateway said.
    pub fn said(&self, id: GatewayId) -> Option<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// What they all said.
    pub fn all(&self) -> Vec<(GatewayId, Said)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, said)| (*id, said.clone())).collect()
    }
}
