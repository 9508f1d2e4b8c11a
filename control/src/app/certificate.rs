//! Certificates: those of the internal authority, those that were brought, those that are ordered.
//!
//! A row is a certificate for its whole life: a renewal puts a new chain into it under the same id ([`install`]), so a
//! route that uses it never has to be told. Private keys lie sealed in the row and are in no view.

pub mod alter;
pub mod create;
pub mod input;
pub mod install;
pub mod leaf;
pub mod routes;
pub mod self_signed;
pub mod view;

use super::acme::order;
use super::change::Change;
use super::page::{Asked, Page, page};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::store;
use crate::store::identity::{Filter, IdentityRow};
pub use alter::{delete, load, renew, revoke, update};
pub use create::create;
pub use view::CertificateView;

/// Shows a certificate that the caller may see.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let row = found(&mut conn, caller, id).await?;
    let order = store::acme_order::open_of_certificate(&mut conn, row.id).await?;
    let mut shown = view::of(&row, app.clock.now());
    shown.order = order.as_ref().map(|order| order.id.to_string());
    shown.waiting_for = order.as_ref().and_then(order::waiting_for).map(str::to_owned);
    Ok(shown)
}

/// A page of the certificates that the caller may see.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: &Asked,
) -> Result<Page<CertificateView>, Error> {
    let slice = asked.slice(caller.visible(config::grant::Role::Guest)?)?;
    let now = app.clock.now();
    let rows = store::identity::list(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), |row| view::of(row, now)))
}

pub(super) async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<IdentityRow, Error> {
    let nothing = || Error::NotFound { kind: "certificate", name: id.chars().take(80).collect() };
    let parsed = id.parse().map_err(|_| nothing())?;
    let row = store::identity::by_id(conn, parsed).await?.ok_or_else(nothing)?;
    if caller.allow(Action::Read, Resource::Certificate(&row.namespace)).is_err() {
        return Err(nothing());
    }
    Ok(row)
}

/// Notes a change in the audit log.
pub(super) async fn audit(
    change: &mut Change<'_>,
    action: &'static str,
    (old, row): (&IdentityRow, &IdentityRow),
) -> Result<(), Error> {
    let now = change.now();
    change.audit(create::note(action, row), Some(&view::of(old, now)), Some(&view::of(row, now))).await
}

/// The end of the days that a list asks about, in microseconds.
pub fn ends_before(app: &App, days: u32) -> i64 {
    app.clock.now().saturating_add(i64::from(days).saturating_mul(view::DAY))
}
