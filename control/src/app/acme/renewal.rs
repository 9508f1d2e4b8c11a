//! When certificates are renewed: a scan at two in the morning, a look in between for those that live shortly or whose
//! authority says when, and whoever asks for it.
//!
//! A scan only opens orders. One that is under way is left alone, so its own pauses hold.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use certs::acme::order::Reason as RevocationReason;
use config::id::IdentityId;
use config::limits::PAGE_ITEMS;
use jiff::{Timestamp, ToSpan as _, Zoned, civil, tz::TimeZone};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::super::certificate::install;
use super::super::change::Scope;
use super::super::{App, Caller, Error};
use super::order::{self, Reason, steps};
use super::outside::Outside;
use crate::auth::rbac::{Action, Resource};
use crate::store::identity::{Filter, IdentityRow, Source, Status};
use crate::store::{self, Slice};

const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// How long before its end a certificate is renewed, unless it lives too shortly for that.
const RENEW_BEFORE: i64 = 30 * DAY;
/// How long before its end one that is still not renewed is warned about.
const WARN_BEFORE: i64 = 14 * DAY;
/// How long ended orders are kept for people to read.
const ORDERS_KEPT: i64 = 90 * DAY;
/// When the scan is, local time. Two in the morning is what the reference promises; a database is copied at another hour.
const SCAN_AT: civil::Time = civil::time(2, 0, 0, 0);
/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often certificates that live shortly are looked at, in microseconds: an hour.
const POLL_EVERY: i64 = 60 * 60 * 1_000_000;
/// Authorities' hints that are remembered.
const HINTS_MAX: usize = 10_000;

/// What an authority said about one leaf.
#[derive(Debug, Clone, Copy)]
struct Hint {
    /// The moment in its window that is this certificate's, in microseconds UTC; `None` when it says nothing.
    renew_at: Option<i64>,
    /// When to ask again.
    ask_at: i64,
    /// The end of the leaf it is about.
    of: i64,
}

/// What a scan remembers until the next.
#[derive(Debug, Default)]
pub struct Memory {
    hints: HashMap<IdentityId, Hint>,
    /// The scan that comes next, in microseconds UTC.
    next_scan: Option<i64>,
    /// The last look, in microseconds UTC.
    polled: Option<i64>,
}

/// The first scan after `now`. A day on which that hour is left out has it an hour later; one that has it twice has it at
/// the first.
pub fn next_scan(now: i64, zone: &TimeZone) -> i64 {
    let Ok(now) = Timestamp::from_microsecond(now) else { return now.saturating_add(DAY) };
    let local: Zoned = now.to_zoned(zone.clone());
    let at = |date: civil::Date| zone.to_zoned(date.to_datetime(SCAN_AT)).map(|zoned| zoned.timestamp());
    let today = at(local.date());
    let tomorrow = local.date().checked_add(1.day()).and_then(at);
    match (today, tomorrow) {
        (Ok(today), _) if today > now => today.as_microsecond(),
        (_, Ok(tomorrow)) => tomorrow.as_microsecond(),
        _ => now.as_microsecond().saturating_add(DAY),
    }
}

/// How long before its end a certificate is to be renewed: thirty days, or a third of its life if that is less. A
/// certificate of six days would otherwise be renewed each day.
fn renew_before(row: &IdentityRow) -> i64 {
    let life = row.not_before.map_or(i64::MAX, |begin| row.expires_at.saturating_sub(begin));
    RENEW_BEFORE.min(life / 3)
}

fn is_short(row: &IdentityRow) -> bool {
    renew_before(row) < RENEW_BEFORE
}

fn is_due(row: &IdentityRow, hint: Option<&Hint>, now: i64) -> bool {
    let said = hint.and_then(|hint| hint.renew_at).is_some_and(|at| at <= now);
    said || row.expires_at.saturating_sub(now) <= renew_before(row)
}

/// Looks at the clock until `stop`.
pub(super) async fn run(app: Arc<App>, outside: Outside, stop: CancellationToken) {
    let mut memory = Memory::default();
    let mut often = tokio::time::interval(LOOK_EVERY);
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = often.tick() => {}
        }
        if let Err(error) = look(&app, &outside, &mut memory, &TimeZone::system()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "certificates were not looked at for renewal; it is tried again"
            );
        }
    }
}

/// Does what is due by the clock: the scan of all, or the look at those that cannot wait for it.
///
/// A start scans at once if the machine slept through the hour: what comes next is not kept.
pub async fn look(
    app: &App,
    outside: &Outside,
    memory: &mut Memory,
    zone: &TimeZone,
) -> Result<usize, Error> {
    let now = app.clock.now();
    let is_scan = memory.next_scan.is_none_or(|at| now >= at || at - now > 2 * DAY);
    let is_poll = memory.polled.is_none_or(|at| at > now || now - at >= POLL_EVERY);
    if !is_scan && !is_poll {
        return Ok(0);
    }
    let rows = ordered(app).await?;
    let mut opened = 0;
    for row in &rows {
        ask(app, outside, memory, row).await;
        let hint = memory.hints.get(&row.id);
        let is_looked_at = is_scan || is_short(row) || hint.is_some_and(|hint| hint.renew_at.is_some());
        if is_looked_at && is_due(row, hint, now) && open(app, row).await? {
            opened += 1;
        }
    }
    if is_scan {
        warn(&rows, now);
        forget(app, now).await?;
        memory.hints.retain(|id, _| rows.iter().any(|row| row.id == *id));
        memory.next_scan = Some(next_scan(now, zone));
    }
    memory.polled = Some(now);
    if opened > 0 {
        app.acme.wake();
    }
    Ok(opened)
}

/// Every certificate that an authority issued and that may be renewed.
async fn ordered(app: &App) -> Result<Vec<IdentityRow>, Error> {
    let filter = Filter { source: Some(Source::Acme.as_str().to_owned()), ..Filter::default() };
    let mut slice = Slice { after: None, limit: PAGE_ITEMS.1, namespaces: None };
    let mut found = Vec::new();
    let mut conn = app.db.read().await?;
    loop {
        let rows = store::identity::list(&mut conn, &filter, &slice).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        slice.after = Some(last.id.to_string());
        found.extend(rows.into_iter().filter(|row| row.is_issued() && install::is_ordered(row)));
    }
}

/// Asks the authority when it would like this one renewed, if it is time to ask.
async fn ask(app: &App, outside: &Outside, memory: &mut Memory, row: &IdentityRow) {
    let now = app.clock.now();
    let known = memory.hints.get(&row.id).filter(|hint| hint.of == row.expires_at);
    if known.is_some_and(|hint| now < hint.ask_at && hint.ask_at - now <= 2 * DAY) {
        return;
    }
    let asked = match leaf_access(app, row).await {
        Ok(Some((access, leaf))) => outside.ca.renewal_info(&access, &leaf).await,
        Ok(None) | Err(_) => Ok(None),
    };
    let hint = match asked {
        Ok(Some(window)) => {
            let retry = i64::try_from(window.retry_after.as_micros()).unwrap_or(DAY);
            let (start, end) = (seconds(window.start), seconds(window.end));
            // Each certificate has its own place in the window (RFC 9773 § 4.2 wants it random); a hash keeps it.
            let mut hash = DefaultHasher::new();
            (row.id, row.expires_at).hash(&mut hash);
            let width = u64::try_from(end.saturating_sub(start)).unwrap_or(1).max(1);
            let place = start.saturating_add(i64::try_from(hash.finish() % width).unwrap_or(0));
            Hint { renew_at: Some(place), ask_at: now.saturating_add(retry), of: row.expires_at }
        }
        Ok(None) => Hint { renew_at: None, ask_at: now.saturating_add(DAY), of: row.expires_at },
        // What it said before holds until it answers again.
        Err(fault) => {
            tracing::debug!(certificate = %row.id, why = fault.message, "the authority does not say when to renew");
            let renew_at = known.and_then(|hint| hint.renew_at);
            Hint { renew_at, ask_at: now.saturating_add(POLL_EVERY), of: row.expires_at }
        }
    };
    if memory.hints.len() < HINTS_MAX || memory.hints.contains_key(&row.id) {
        memory.hints.insert(row.id, hint);
    }
}

fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)
}

async fn leaf_access(
    app: &App,
    row: &IdentityRow,
) -> Result<Option<(super::outside::Access, Vec<u8>)>, Error> {
    let mut conn = app.db.read().await?;
    let account = match &row.account {
        Some(name) => Some(super::account::found(&mut conn, name).await?),
        None => store::acme_account::first(&mut conn).await?,
    };
    let access = account.and_then(|account| steps::access_of(app, &account).ok());
    Ok(access.zip(row.chain.first().cloned()))
}

/// Opens an order; false when one is under way, or cannot be opened, which is said.
async fn open(app: &App, row: &IdentityRow) -> Result<bool, Error> {
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Private).await?;
    if store::acme_order::open_for(change.conn(), &row.names).await?.is_some() {
        return Ok(false);
    }
    match order::request(&mut change, row, Reason::Renewal).await {
        Ok(_) => change.commit().await.map(|_| true),
        Err(Error::Store(error)) => Err(error.into()),
        Err(error) => {
            drop(change);
            let why = reason(&error);
            tracing::warn!(certificate = %row.id, name = row.name, why, "a certificate cannot be renewed");
            let mut change = app.begin(&caller, Scope::Private).await?;
            if let Some(mut row) = store::identity::by_id(change.conn(), row.id).await? {
                let next = change.now().saturating_add(DAY);
                install::failed(&mut change, &mut row, &why, next).await?;
                change.commit().await?;
            }
            Ok(false)
        }
    }
}

fn reason(error: &Error) -> String {
    if let Error::Invalid(violations) = error {
        return violations.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("; ");
    }
    error.to_string()
}

/// Says which certificates end soon in spite of everything.
fn warn(rows: &[IdentityRow], now: i64) {
    for row in
        rows.iter().filter(|row| row.expires_at.saturating_sub(now) <= WARN_BEFORE.min(renew_before(row) / 2))
    {
        let hours = row.expires_at.saturating_sub(now) / (60 * 60 * 1_000_000);
        let why = row.last_error.as_deref().unwrap_or("its renewal is not done yet");
        tracing::warn!(certificate = %row.id, name = row.name, hours, why, "a certificate ends soon");
    }
}

async fn forget(app: &App, now: i64) -> Result<(), Error> {
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Private).await?;
    store::acme_order::purge(change.conn(), now.saturating_sub(ORDERS_KEPT)).await?;
    change.commit().await.map(drop)
}

/// What was decided about one certificate.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RenewView {
    /// The certificate.
    pub certificate: String,
    /// What people call it.
    pub name: String,
    /// The order that renews it; null when it is not due.
    pub order: Option<String>,
    /// Why there is none, or why there could be none.
    pub message: Option<String>,
}

/// Renews what these names or ids mean, or all that the caller administers when there are none. Without `force` only what
/// is due. Every certificate is answered for; one that cannot be renewed does not keep the others from it.
pub async fn renew(
    app: &App,
    caller: &Caller,
    names: &[String],
    force: bool,
) -> Result<Vec<RenewView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let rows = meant(app, caller, names).await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        let view = |order, message| RenewView {
            certificate: row.id.to_string(),
            name: row.name.clone(),
            order,
            message,
        };
        if row.is_issued() && !force && !is_due(&row, None, app.clock.now()) {
            views.push(view(None, Some("it is not due; --force renews it all the same".to_owned())));
            continue;
        }
        let mut change = app.begin(caller, Scope::Private).await?;
        match order::request(
            &mut change,
            &row,
            if row.is_issued() { Reason::Renewal } else { Reason::Request },
        )
        .await
        {
            Ok(id) => {
                change.commit().await?;
                views.push(view(Some(id.to_string()), None));
            }
            Err(error @ (Error::Invalid(_) | Error::Conflict { .. })) => {
                views.push(view(None, Some(reason(&error))))
            }
            Err(error) => return Err(error),
        }
    }
    app.acme.wake();
    Ok(views)
}

async fn meant(app: &App, caller: &Caller, names: &[String]) -> Result<Vec<IdentityRow>, Error> {
    let may = |row: &IdentityRow| caller.allow(Action::Update, Resource::Certificate(&row.namespace));
    let filter = Filter { source: Some(Source::Acme.as_str().to_owned()), ..Filter::default() };
    let slice = Slice { after: None, limit: 10_000, namespaces: None };
    let mut rows = store::identity::list(&mut app.db.read().await?, &filter, &slice).await?;
    rows.retain(|row| row.status != Status::Revoked && may(row).is_ok());
    if names.is_empty() {
        return Ok(rows);
    }
    let is = |row: &IdentityRow, name: &str| {
        row.id.to_string() == name
            || row.name == name
            || row.names.iter().any(|host| host.to_string() == name)
    };
    for name in names {
        if !rows.iter().any(|row| is(row, name)) {
            return Err(Error::NotFound { kind: "ACME certificate", name: name.chars().take(80).collect() });
        }
    }
    rows.retain(|row| names.iter().any(|name| is(row, name)));
    Ok(rows)
}

/// Has the authority revoke a certificate's leaf, and withdraws it from the gateways' routes by its status.
///
/// Errors: [`Error::Conflict`] with the authority's words when it refuses; nothing is changed then.
pub async fn revoke(
    app: &App,
    caller: &Caller,
    outside: &Outside,
    row: &IdentityRow,
    reason: RevocationReason,
) -> Result<(), Error> {
    caller.allow(Action::Update, Resource::Certificate(&row.namespace))?;
    let conflict = |message: String| Error::Conflict { field: "", message };
    let found = leaf_access(app, row).await?;
    let (access, leaf) =
        found.ok_or_else(|| conflict("no registered ACME account issued this certificate".to_owned()))?;
    outside.ca.revoke(&access, &leaf, reason).await.map_err(|fault| conflict(fault.message))?;
    let mut change = app.begin(caller, Scope::Published).await?;
    order::forget(&mut change, row.id).await?;
    if let Some(mut row) = store::identity::by_id(change.conn(), row.id).await? {
        row.status = Status::Revoked;
        row.stamp = row.stamp.changed(change.now());
        store::identity::update(change.conn(), &row).await?;
        install::publish(&mut change, &row)?;
    }
    change.commit().await.map(drop)
}
