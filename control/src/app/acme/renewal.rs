//! When certificates are renewed: a scan at two in the morning, a look in between for those that live shortly or whose
//! authority says when, and whoever asks for it.
//!
//! A scan only opens orders. One that is under way is left alone, so its own pauses hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use certs::acme::order::Reason as RevocationReason;
use certs::renewal::{Failures, Held, Item, Plan, Window, due, plan};
use config::id::IdentityId;
use config::limits::PAGE_ITEMS;
use jiff::{Timestamp, ToSpan as _, Zoned, civil, tz::TimeZone};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::super::certificate::{self, install};
use super::super::change::Scope;
use super::super::{App, Caller, Error};
use super::budget;
use super::order::{self, Reason, steps};
use super::outside::Outside;
use crate::auth::rbac::{Action, Resource};
use crate::store::acme_account::AccountRow;
use crate::store::identity::{Filter, IdentityRow, Source, Status};
use crate::store::{self, Slice};

const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// The life from which on the scan of each day is often enough.
const LONG_LIFE: i64 = 90 * DAY;
/// How long before its end one that is still not renewed is warned about.
const WARN_BEFORE: i64 = 14 * DAY;
/// How long ended orders are kept for people to read.
const ORDERS_KEPT: i64 = 90 * DAY;
/// When the scan is, local time. Two in the morning is what the reference promises; a database is copied at another hour.
const SCAN_AT: civil::Time = civil::time(2, 0, 0, 0);
/// How often the clock is looked at; nothing is read then.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often certificates that live shortly are looked at unless one is due before, in microseconds: an hour.
const POLL_EVERY: i64 = 60 * 60 * 1_000_000;
/// Authorities' hints that are remembered.
const HINTS_MAX: usize = 10_000;

/// What an authority said about one leaf.
#[derive(Debug, Clone, Copy)]
struct Hint {
    /// When it would like it renewed; `None` when it says nothing.
    window: Option<Window>,
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
    /// The next look at those that cannot wait for it, in microseconds UTC.
    next_poll: Option<i64>,
}

impl Memory {
    /// Has the next look be at once: something was issued.
    pub fn is_stale(&mut self) {
        self.next_poll = None;
    }
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

fn life(row: &IdentityRow) -> i64 {
    row.not_before.map_or(i64::MAX, |begin| row.expires_at.saturating_sub(begin))
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
            () = app.acme.renewals.notified() => memory.is_stale(),
        }
        if let Err(error) = look(&app, &outside, &mut memory, &TimeZone::system()).await {
            // What could not be read is not asked for again each second.
            let later = Some(app.clock.now().saturating_add(60_000_000));
            (memory.next_poll, memory.next_scan) = (later, later);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "certificates were not looked at for renewal; it is tried again"
            );
        }
    }
}

/// Whether a moment has come; one further off than it can be was noted while the clock was ahead.
fn has_come(at: Option<i64>, now: i64, furthest: i64) -> bool {
    at.is_none_or(|at| now >= at || at.saturating_sub(now) > furthest)
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
    let is_poll = has_come(memory.next_poll, now, POLL_EVERY);
    let is_scan = has_come(memory.next_scan, now, 2 * DAY);
    if !is_scan && !is_poll {
        return Ok(0);
    }
    let rows = ordered(app).await?;
    let mut silent = HashSet::new();
    for row in &rows {
        ask(app, outside, memory, row, &mut silent).await;
    }
    let (planned, mut opened) = decide(app, &rows, memory, is_scan).await?;
    for row in planned.order.iter().filter_map(|id| of(&rows, *id)) {
        opened += usize::from(open(app, row).await?);
    }
    for (id, held, until) in &planned.held {
        if let Some(row) = of(&rows, *id) {
            note_held(app, row, *held, *until).await?;
        }
    }
    // What only waits for its turn is not left until tomorrow.
    let turn = planned.held.iter().map(|(_, _, until)| until.saturating_mul(1_000_000)).min();
    if is_scan {
        warn(&rows, now);
        forget(app, now).await?;
        memory.hints.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let next = next_scan(now, zone);
        memory.next_scan = Some(turn.map_or(next, |turn| turn.min(next)));
    }
    let wake = planned.wake.map_or(i64::MAX, |wake| wake.saturating_mul(1_000_000));
    memory.next_poll = Some(wake.clamp(now.saturating_add(1_000_000), now.saturating_add(POLL_EVERY)));
    if opened > 0 {
        app.acme.wake();
    }
    Ok(opened)
}

fn of(rows: &[IdentityRow], id: u128) -> Option<&IdentityRow> {
    rows.iter().find(|row| u128::from_be_bytes(row.id.to_bytes()) == id)
}

/// Plans what is looked at. What has no account is not planned: its order is opened when it is due, to say so.
async fn decide(
    app: &App,
    rows: &[IdentityRow],
    memory: &Memory,
    is_scan: bool,
) -> Result<(Plan, usize), Error> {
    let (now, seed) = (app.clock.now(), budget::seed(app));
    let mut conn = app.db.read().await?;
    let slice = Slice { after: None, limit: PAGE_ITEMS.1, namespaces: None };
    let accounts = store::acme_account::list(&mut conn, None, &slice).await?;
    let mut authorities = Vec::with_capacity(accounts.len());
    for account in &accounts {
        authorities.push(budget::authority(&mut conn, account, now, None).await?);
    }
    let under_way: HashMap<_, _> = store::acme_order::certificates(&mut conn).await?.into_iter().collect();
    drop(conn);
    let (mut items, mut opened) = (Vec::new(), 0);
    for row in rows {
        let window = memory.hints.get(&row.id).and_then(|hint| hint.window);
        let has_failed = under_way.get(&row.id).copied();
        let is_looked_at = is_scan || life(row) < LONG_LIFE || window.is_some();
        // One whose order failed has that order's own pauses, and takes nobody's turn.
        if has_failed == Some(true) || !(is_looked_at || has_failed.is_some()) {
            continue;
        }
        let mut item = budget::item(row, place(&accounts, row), window, failures(row));
        item.is_ordering = has_failed.is_some();
        let is_known = item.authority < accounts.len();
        if is_known {
            items.push(item);
        } else if is_due(&item, budget::seconds(now), seed) {
            opened += usize::from(open(app, row).await?);
        }
    }
    Ok((plan(budget::seconds(now), &items, &authorities, seed), opened))
}

fn is_due(item: &Item, now: i64, seed: u64) -> bool {
    due(item, seed).max(certs::renewal::next_try(item, now, seed)) <= now
}

/// Which account a certificate is ordered with: the first with the same directory, since limits are the authority's.
/// Beyond the end when it names none that is known.
fn place(accounts: &[AccountRow], row: &IdentityRow) -> usize {
    let is = |account: &AccountRow| match &row.account {
        Some(name) => account.name == *name || account.id.to_string() == *name,
        None => true,
    };
    let Some(account) = accounts.iter().find(|account| is(account)) else { return usize::MAX };
    let same = |other: &AccountRow| other.directory == account.directory;
    accounts.iter().position(same).unwrap_or(usize::MAX)
}

/// What kept a certificate from being ordered at all; an order that is under way counts its own.
fn failures(row: &IdentityRow) -> Failures {
    match (&row.last_error, row.next_try) {
        (Some(_), Some(next)) => Failures {
            count: 1,
            last: budget::seconds(row.stamp.updated_at),
            retry_after: Some(budget::seconds(next)),
        },
        _ => Failures::default(),
    }
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

/// Asks the authority when it would like this one renewed, if it is time to ask. One that does not answer is in `silent`
/// and left alone until the next look.
async fn ask(
    app: &App,
    outside: &Outside,
    memory: &mut Memory,
    row: &IdentityRow,
    silent: &mut HashSet<String>,
) {
    let now = app.clock.now();
    let known = memory.hints.get(&row.id).filter(|hint| hint.of == row.expires_at);
    if known.is_some_and(|hint| now < hint.ask_at && hint.ask_at - now <= 2 * DAY) {
        return;
    }
    let (mut window, mut pause) = (None, DAY);
    if let Ok(Some((access, leaf))) = leaf_access(app, row).await {
        if silent.contains(&access.authority.directory) {
            return;
        }
        match outside.ca.renewal_info(&access, &leaf).await {
            Ok(Some(said)) => {
                pause = i64::try_from(said.retry_after.as_micros()).unwrap_or(DAY);
                let second = |unix| i64::try_from(unix).unwrap_or(i64::MAX);
                window = Some(Window { start: second(said.start), end: second(said.end) });
            }
            Ok(None) => {}
            // What it said before holds until it answers again.
            Err(fault) => {
                tracing::debug!(certificate = %row.id, why = fault.message, "the authority does not say when to renew");
                (window, pause) = (known.and_then(|hint| hint.window), POLL_EVERY);
                silent.insert(access.authority.directory);
            }
        }
    }
    if memory.hints.len() < HINTS_MAX || memory.hints.contains_key(&row.id) {
        let hint = Hint { window, ask_at: now.saturating_add(pause), of: row.expires_at };
        memory.hints.insert(row.id, hint);
    }
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
            note(app, row, &why, app.clock.now().saturating_add(DAY)).await?;
            Ok(false)
        }
    }
}

/// Says of a certificate that is due why it is not ordered, unless it is its turn in a minute.
async fn note_held(app: &App, row: &IdentityRow, held: Held, until: i64) -> Result<(), Error> {
    if matches!(held, Held::AtOnce | Held::Twin) {
        return Ok(());
    }
    let why = budget::say(held, until, &certs::renewal::Budget::default());
    tracing::warn!(certificate = %row.id, name = row.name, why, "a certificate is not renewed yet");
    note(app, row, &why, until.saturating_mul(1_000_000)).await
}

async fn note(app: &App, row: &IdentityRow, why: &str, next: i64) -> Result<(), Error> {
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Private).await?;
    if let Some(mut row) = store::identity::by_id(change.conn(), row.id).await?
        && (row.last_error.as_deref(), row.next_try) != (Some(why), Some(next))
    {
        install::failed(&mut change, &mut row, why, next).await?;
        change.commit().await?;
    }
    Ok(())
}

fn reason(error: &Error) -> String {
    if let Error::Invalid(violations) = error {
        return violations.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("; ");
    }
    error.to_string()
}

/// Says which certificates end soon in spite of everything.
fn warn(rows: &[IdentityRow], now: i64) {
    let ends = |row: &&IdentityRow| row.expires_at.saturating_sub(now) <= WARN_BEFORE.min(life(row) / 6);
    for row in rows.iter().filter(ends) {
        let hours = row.expires_at.saturating_sub(now) / (60 * 60 * 1_000_000);
        let why = row.last_error.as_deref().unwrap_or("its renewal is not done yet");
        tracing::warn!(certificate = %row.id, name = row.name, hours, why, "a certificate ends soon");
    }
}

async fn forget(app: &App, now: i64) -> Result<(), Error> {
    let caller = Caller::ourselves("renewal");
    let mut change = app.begin(&caller, Scope::Private).await?;
    store::acme_order::purge(change.conn(), now.saturating_sub(ORDERS_KEPT)).await?;
    store::acme_ledger::purge(change.conn(), now.saturating_sub(budget::KEPT)).await?;
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
        let item = budget::item(&row, 0, None, Failures::default());
        if row.is_issued() && !force && !is_due(&item, budget::seconds(app.clock.now()), budget::seed(app)) {
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
        let now = change.now();
        let before = row.clone();
        row.status = Status::Revoked;
        row.stamp = row.stamp.changed(now);
        store::identity::update(change.conn(), &row).await?;
        install::publish(&mut change, &row)?;
        certificate::audit(&mut change, "revoke", (&before, &row)).await?;
    }
    change.commit().await.map(drop)
}
