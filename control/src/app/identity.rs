//! Identities of routes: leaves of the internal authority, issued with the route that first needs one.
//!
//! One identity a host pattern, so that the last route of a host takes its identity away and no other's.

use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::{Kind, Value};

use super::change::{Change, Scope};
use super::{App, Caller, Error};
use crate::publish::build;
use crate::store::identity::IdentityRow;
use crate::store::{self, Stamp};

/// How long before its end a leaf is replaced, in microseconds: thirty days.
const RENEW_BEFORE: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// Makes sure that this host has an identity that is good for a while.
pub async fn ensure(app: &App, change: &mut Change<'_>, host: &HostPattern) -> Result<(), Error> {
    let old = match store::identity::by_name(change.conn(), host).await? {
        Some(id) => store::identity::by_id(change.conn(), id).await?,
        None => None,
    };
    match old {
        Some(old) if old.expires_at > change.now() + RENEW_BEFORE => Ok(()),
        Some(old) => {
            remove(change, old.id).await?;
            issue(app, change, host).await
        }
        None => issue(app, change, host).await,
    }
}

async fn issue(app: &App, change: &mut Change<'_>, host: &HostPattern) -> Result<(), Error> {
    let leaf = app
        .authority
        .issue_server(std::slice::from_ref(host))
        .map_err(|error| Error::Internal(error.to_string()))?;
    let key_sealed = app
        .keys
        .seal(build::IDENTITY_PURPOSE, leaf.key.expose())
        .map_err(|error| Error::Internal(error.to_string()))?;
    let row = IdentityRow {
        id: IdentityId::from_uuid(uuid::Uuid::now_v7()),
        source: "self-signed".into(),
        names: vec![host.clone()],
        chain: leaf.chain,
        key_sealed,
        expires_at: leaf.expires_at,
        stamp: Stamp::new(change.now()),
    };
    store::identity::insert(change.conn(), &row).await?;
    change.put(Value::Identity(build::identity(&row, app.keys.as_ref())?));
    Ok(())
}

/// Takes the identity of a host away when no route needs it any more. Call after the route's row is written.
pub async fn release(change: &mut Change<'_>, host: &HostPattern) -> Result<(), Error> {
    if store::route::count_self_signed(change.conn(), host).await? > 0 {
        return Ok(());
    }
    match store::identity::by_name(change.conn(), host).await? {
        Some(id) => remove(change, id).await,
        None => Ok(()),
    }
}

async fn remove(change: &mut Change<'_>, id: IdentityId) -> Result<(), Error> {
    let now = change.now();
    store::identity::delete(change.conn(), id, now).await?;
    change.remove(Kind::IDENTITY, id.to_bytes());
    Ok(())
}

/// Replaces the leaves that end soon, at most a batch. Returns how many.
pub async fn renew(app: &App) -> Result<usize, Error> {
    let due = store::identity::ending(&mut app.db.read().await?, app.clock.now() + RENEW_BEFORE).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Published).await?;
    for id in &due {
        let Some(old) = store::identity::by_id(change.conn(), *id).await? else { continue };
        remove(&mut change, old.id).await?;
        for name in &old.names {
            issue(app, &mut change, name).await?;
        }
    }
    change.commit().await?;
    Ok(due.len())
}
