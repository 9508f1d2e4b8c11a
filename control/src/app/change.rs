//! One change: rows, audit, change log and generation in one transaction, compiled before the commit and in force after.
//!
//! Order of calls: [`App::begin`], queries on [`Change::conn`], [`Change::put`] or [`Change::remove`] for what gateways
//! see, [`Change::audit`], [`Change::commit`]. A change that is dropped leaves nothing behind. Nothing here grows with
//! the number of objects.

use config::limits::OBJECT_BYTES_MAX;
use config::snapshot::{Generation, Kind, Object, ObjectKey, Value};
use config::table::Conflicts;
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;

use super::{App, Caller, Error, Violation};
use crate::publish::build;
use crate::store::{self, Conn, audit::AuditRow, meta};

/// Whether gateways are to see a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It takes a generation.
    Published,
    /// Tokens and other things that stay here; the generation stays as well.
    Private,
    /// Nothing of ours: takes in what others committed, under their generation.
    Follow,
}

/// A change under way.
#[derive(Debug)]
pub struct Change<'a> {
    app: &'a App,
    caller: &'a Caller,
    conn: Conn,
    scope: Scope,
    generation: Generation,
    now: i64,
    upserts: Vec<Value>,
    removals: Vec<ObjectKey>,
    has_ordered: bool,
    _turn: OwnedMutexGuard<()>,
}

/// What is written about a change besides who and when.
#[derive(Debug, Default)]
pub struct Note<'a> {
    /// `create`, `update`, `delete`, …
    pub action: &'static str,
    /// `route`, `vm`, …
    pub kind: &'static str,
    /// Which one.
    pub id: Option<String>,
    /// Whose.
    pub namespace: Option<&'a str>,
}

impl App {
    /// Begins a change and waits for its turn.
    pub async fn begin<'a>(&'a self, caller: &'a Caller, scope: Scope) -> Result<Change<'a>, Error> {
        let turn = std::sync::Arc::clone(&self.writers).lock_owned().await;
        let mut conn = self.db.write().await?;
        let generation = match scope {
            Scope::Published => meta::next_generation(&mut conn).await?,
            Scope::Private | Scope::Follow => meta::same_generation(&mut conn).await?,
        };
        let (upserts, removals) = (Vec::new(), Vec::new());
        let now = self.clock.now();
        let has_ordered = false;
        Ok(Change {
            app: self,
            caller,
            conn,
            scope,
            generation,
            now,
            upserts,
            removals,
            has_ordered,
            _turn: turn,
        })
    }
}

impl Change<'_> {
    /// The transaction.
    pub const fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// The keys of control.
    pub fn keys(&self) -> std::sync::Arc<dyn super::Keys> {
        std::sync::Arc::clone(&self.app.keys)
    }

    /// Who asked for it.
    pub const fn caller(&self) -> &Caller {
        self.caller
    }

    /// Numbers this change above `seen`.
    pub async fn raise_above(&mut self, seen: Generation) -> Result<(), Error> {
        meta::raise_generation(&mut self.conn, seen).await?;
        self.generation = meta::next_generation(&mut self.conn).await?;
        Ok(())
    }

    /// The time of the change, in microseconds UTC.
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Publishes an object.
    pub fn put(&mut self, value: Value) {
        self.upserts.push(value);
    }

    /// Withdraws an object; one that is not published is no error.
    pub fn remove(&mut self, kind: Kind, id: [u8; 16]) {
        self.removals.push(ObjectKey { kind, id });
    }

    /// Has those who carry orders on look at them once this is committed.
    pub(super) const fn ordered(&mut self) {
        self.has_ordered = true;
    }

    /// Writes the audit row. `before` and `after` are what the API shows, so they hold no secret.
    pub async fn audit<T: Serialize>(
        &mut self,
        note: Note<'_>,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<(), Error> {
        let text = |value: Option<&T>| value.and_then(|value| serde_json::to_string(value).ok());
        let mut row = row(self.caller, self.now, note, "done");
        row.before = text(before);
        row.after = text(after);
        Ok(store::audit::insert(&mut self.conn, row).await?)
    }

    /// Compiles, commits and puts in force.
    ///
    /// Errors: it does not compile (nothing is changed), or the store fails.
    pub async fn commit(self) -> Result<Generation, Error> {
        let (app, has_ordered) = (self.app, self.has_ordered);
        let generation = self.write().await?;
        if has_ordered {
            app.acme.wake();
        }
        Ok(generation)
    }

    async fn write(mut self) -> Result<Generation, Error> {
        if self.scope == Scope::Private {
            self.conn.commit().await?;
            return Ok(self.generation);
        }
        fits(&self.upserts)?;
        for key in self.upserts.iter().filter_map(Value::key).chain(self.removals.iter().copied()) {
            meta::log_change(&mut self.conn, self.generation, key).await?;
        }
        self.catch_up().await?;
        let staged = self
            .app
            .desired
            .stage(self.generation, &self.upserts, &self.removals)
            .map_err(|conflicts| conflict(&conflicts))?;
        self.conn.commit().await?;
        self.app.desired.install(staged);
        Ok(self.generation)
    }

    /// Takes in what others committed since our generation: another control on the same database, or a change of ours
    /// whose commit was reported as failed and was not.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let ours = self.app.desired.current().snapshot.generation();
        let known = if self.scope == Scope::Follow { ours.0 } else { ours.0.saturating_add(1) };
        if known >= self.generation.0 {
            return Ok(());
        }
        let own: Vec<_> =
            self.upserts.iter().filter_map(Value::key).chain(self.removals.iter().copied()).collect();
        for key in meta::changed_since(&mut self.conn, ours).await? {
            if own.contains(&key) {
                continue;
            }
            match build::one(&mut self.conn, self.app.keys.as_ref(), key).await? {
                Some(value) => self.upserts.push(value),
                None => self.removals.push(key),
            }
        }
        Ok(())
    }
}

/// Refuses what gateways would not read: published, it would end every stream that it goes over.
fn fits(upserts: &[Value]) -> Result<(), Error> {
    for value in upserts {
        let Some(object) = Object::encode(value) else { continue };
        let (len, max) = (object.bytes().len(), OBJECT_BYTES_MAX);
        if len > max {
            let message = format!("it takes {len} bytes on its way to the gateways, and {max} are carried");
            return Err(Error::Invalid(vec![Violation::new(largest_part(value), "too_large", message)]));
        }
    }
    Ok(())
}

/// The member that makes such an object large, as the API names it.
const fn largest_part(value: &Value) -> &'static str {
    match value {
        Value::Route(_) => "targets",
        Value::Principal(_) => "keys",
        Value::Identity(_) => "chain",
        Value::Vm(_)
        | Value::SshHostKey(_)
        | Value::Challenge(_)
        | Value::TicketKey(_)
        | Value::CookieKey(_)
        | Value::Forward(_)
        | Value::Console(_)
        | Value::TicketAuthority(_)
        | Value::SshUserCa(_)
        | Value::SshHostKeyPin(_)
        | Value::SshGate(_)
        | Value::Unknown => "",
    }
}

/// An audit row for a caller; `before` and `after` are empty.
pub(super) fn row(caller: &Caller, now: i64, note: Note<'_>, result: &str) -> AuditRow {
    let token_id = match &caller.actor {
        crate::auth::Actor::Token { token, .. } => Some(token.to_string()),
        crate::auth::Actor::Local | crate::auth::Actor::Setup | crate::auth::Actor::Anonymous => None,
    };
    AuditRow {
        id: uuid::Uuid::now_v7().to_string(),
        at: now,
        actor: caller.actor.name().to_owned(),
        method: caller.actor.method().to_owned(),
        token_id,
        source: caller.origin.to_string(),
        request_id: caller.request_id.clone(),
        action: note.action.to_owned(),
        object_kind: note.kind.to_owned(),
        object_id: note.id,
        namespace: note.namespace.map(Into::into),
        before: None,
        after: None,
        result: result.to_owned(),
    }
}

fn conflict(conflicts: &Conflicts) -> Error {
    match conflicts.routes.first() {
        Some(first) => Error::Conflict {
            field: "host",
            message: format!("{} is the match of another route, {}", first.what, first.first),
        },
        None => Error::Internal(conflicts.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::Fixture;

    #[tokio::test]
    async fn what_no_stream_carries_is_the_callers_to_mend_and_never_published() {
        let fixture = Fixture::new().await;
        let before = fixture.app.desired.current().snapshot.generation();
        let caller = Caller::ourselves("test");
        for (bytes, fits) in [(OBJECT_BYTES_MAX, false), (OBJECT_BYTES_MAX / 2, true)] {
            let mut change = fixture.app.begin(&caller, Scope::Published).await.unwrap();
            change.put(Value::Principal(config::snapshot::Principal {
                id: config::id::UserId::from_bytes([1; 16]),
                name: config::name::UserName::parse("usr1").unwrap(),
                keys: [config::snapshot::SshKey { blob: vec![0; bytes].into() }].into(),
                grants: Default::default(),
                ssh: Default::default(),
            }));
            match change.commit().await {
                Ok(generation) => assert!(fits && generation > before),
                Err(Error::Invalid(violations)) => {
                    assert!(!fits);
                    assert_eq!((violations[0].field.as_str(), violations[0].code), ("keys", "too_large"));
                    assert_eq!(fixture.app.desired.current().snapshot.generation(), before);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}
