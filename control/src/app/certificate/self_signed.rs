//! Leaves of the internal authority, issued with the route that first needs one.
//!
//! One a host pattern, so that the last route of a host takes its leaf away and no other's. A host whose own certificate
//! is still ordered is served with one as well: a warning of the browser is better than no handshake.

use config::name::{HostPattern, Namespace};

use super::super::change::{Change, Scope};
use super::super::{App, Caller, Error, authority};
use super::install;
use crate::store;
use crate::store::identity::{IdentityRow, Source};

/// How long before its end a leaf is replaced, in microseconds: thirty days.
pub const RENEW_BEFORE: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// Makes sure that this host has a leaf that is good for a while; a new one is of `namespace`.
pub async fn ensure(
    app: &App,
    change: &mut Change<'_>,
    (host, namespace): (&HostPattern, &Namespace),
) -> Result<(), Error> {
    let old = match store::identity::self_signed(change.conn(), host).await? {
        Some(id) => store::identity::by_id(change.conn(), id).await?,
        None => None,
    };
    let now = change.now();
    let soon = renewed_below(app, change.conn(), now).await?;
    match old {
        Some(old) if old.expires_at >= soon => Ok(()),
        Some(mut old) => issue(app, change, &mut old).await,
        None => {
            let names = vec![host.clone()];
            let mut row = IdentityRow::new(Source::SelfSigned, namespace.clone(), names, change.now());
            store::identity::insert(change.conn(), &row).await?;
            issue(app, change, &mut row).await
        }
    }
}

/// A leaf that ends before this is renewed. One that ends with its authority cannot be bettered by it.
async fn renewed_below(app: &App, conn: &mut store::Conn, now: i64) -> Result<i64, Error> {
    Ok((now + RENEW_BEFORE).min(authority::ends(app, conn).await?))
}

/// Puts a new leaf into a row, under the same id: gateways swap the one for the other at once.
pub async fn issue(app: &App, change: &mut Change<'_>, row: &mut IdentityRow) -> Result<(), Error> {
    let names = row.names.clone();
    let issued = authority::issue(app, change.conn(), &names).await?;
    install::write(change, row, issued).await?;
    // The catch-all's leaf is for a name that is nobody's.
    row.names = names;
    store::identity::update(change.conn(), row).await?;
    install::publish(change, row)
}

/// Takes the leaf of a host away when no route needs it any more. Call after the route's row is written.
pub async fn release(change: &mut Change<'_>, host: &HostPattern) -> Result<(), Error> {
    if store::route::count_self_signed(change.conn(), host).await? > 0 {
        return Ok(());
    }
    match store::identity::self_signed(change.conn(), host).await? {
        Some(id) => install::remove(change, id).await,
        None => Ok(()),
    }
}

/// Replaces the leaves that end soon, at most a batch. Returns how many.
pub async fn renew(app: &App) -> Result<usize, Error> {
    let mut conn = app.db.read().await?;
    let soon = renewed_below(app, &mut conn, app.clock.now()).await?;
    let due = store::identity::ending(&mut conn, soon).await?;
    drop(conn);
    if due.is_empty() {
        return Ok(0);
    }
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Published).await?;
    for id in &due {
        let Some(mut row) = store::identity::by_id(change.conn(), *id).await? else { continue };
        issue(app, &mut change, &mut row).await?;
    }
    change.commit().await?;
    Ok(due.len())
}
