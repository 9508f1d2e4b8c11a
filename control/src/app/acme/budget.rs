//! What authorities allow: the ledger's rows as [`certs::renewal::plan`] reads them, and what it holds back in words.

use certs::identity::Validity;
use certs::renewal::{Authority, Budget, Failures, Held, Item, Ordered, Window, plan};
use jiff::Timestamp;

use super::super::change::Scope;
use super::super::{App, Caller, Error};
use super::order::steps::{StepError, Work};
use super::outside::{Fault, Then};
use crate::store::acme_account::AccountRow;
use crate::store::acme_ledger::Entry;
use crate::store::identity::IdentityRow;
use crate::store::{self, Conn};

/// How long the ledger is kept, in microseconds: the longest window of any limit.
pub(super) const KEPT: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// What is random about this installation and stays: drawn from the mark of its database.
pub(super) fn seed(app: &App) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = app.desired.current().snapshot.lineage().0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Seconds of microseconds.
pub(super) const fn seconds(micros: i64) -> i64 {
    micros.div_euclid(1_000_000)
}

/// A certificate as it is planned.
pub(super) fn item(row: &IdentityRow, authority: usize, window: Option<Window>, failures: Failures) -> Item {
    let current = row.is_issued().then(|| {
        let not_before = seconds(row.not_before.unwrap_or(row.stamp.created_at));
        Validity { not_before, not_after: seconds(row.expires_at) }
    });
    Item {
        id: u128::from_be_bytes(row.id.to_bytes()),
        names: row.names.clone(),
        authority,
        current,
        window,
        failures,
        is_ordering: false,
        is_forced: false,
    }
}

/// What is used up at an account's authority, but for the request `but`.
pub(super) async fn authority(
    conn: &mut Conn,
    account: &AccountRow,
    now: i64,
    but: Option<&str>,
) -> Result<Authority, Error> {
    let entries = store::acme_ledger::since(conn, &account.directory, now.saturating_sub(KEPT)).await?;
    let ordered = |entry: Entry| Ordered {
        at: seconds(entry.at),
        names: entry.names,
        // One that is under way is hoped to succeed.
        is_issued: !entry.is_failed,
        is_renewal: entry.is_renewal,
    };
    let entries = entries.into_iter().filter(|entry| Some(entry.id.as_str()) != but);
    // An authority with a root of its own is the user's own, and has the limits that they give it.
    let budget = if account.roots.is_empty() { Budget::default() } else { Budget::unlimited() };
    // What an authority asks of one order holds for that order: its limits are mostly those of names.
    Ok(Authority { budget, orders: entries.map(ordered).collect(), wait_until: None })
}

/// Why something is held back, for people; `until` in Unix seconds.
pub(super) fn say(held: Held, until: i64, budget: &Budget) -> String {
    let until = Timestamp::from_second(until).map_or_else(|_| "further notice".into(), |at| at.to_string());
    let (limit, used) = match held {
        Held::Orders => ("300 orders of an account in three hours", budget.orders_3h),
        Held::Domain => ("50 certificates per registered domain in a week", budget.domain_week),
        Held::SameNames => ("5 certificates for the same names in a week", budget.same_names_week),
        Held::Authority => return format!("held back until {until}: the authority asks for it"),
        Held::AtOnce => return format!("held back until {until}: as many orders are under way as may be"),
        Held::Twin => return format!("held back until {until}: the same names are being ordered"),
    };
    format!("held back until {until}: {limit} are what the authority allows, and {used} are used")
}

/// Notes in the ledger that the authority is about to be asked for an order, if its limits leave room.
///
/// The note is written before the question: when control is killed before the answer is, it counts all the same.
///
/// Errors: a [`Fault`] that says until when it is held back.
pub(super) async fn book(app: &App, work: &mut Work) -> Result<(), StepError> {
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let now = change.now();
    let intent = work.left.intent.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let known = authority(change.conn(), &work.account, now, Some(&intent)).await?;
    let budget = known.budget;
    let mut item = item(&work.certificate, 0, None, Failures::default());
    (item.names, item.is_forced) = (work.row.names.clone(), true);
    let planned = plan(seconds(now), &[item], &[known], seed(app));
    if let Some((_, held, until)) = planned.held.first() {
        let wait = u64::try_from(until.saturating_sub(seconds(now))).unwrap_or(0);
        return Err(Fault {
            then: Then::Held,
            message: say(*held, *until, &budget),
            after: Some(std::time::Duration::from_secs(wait)),
        }
        .into());
    }
    let entry = Entry {
        id: intent.clone(),
        order: work.row.id,
        directory: work.account.directory.clone(),
        names: work.row.names.clone(),
        at: now,
        is_renewal: work.certificate.is_issued(),
        is_failed: false,
    };
    store::acme_ledger::book(change.conn(), &entry).await?;
    let seen = work.row.stamp.revision;
    work.left.intent = Some(intent);
    work.row.stamp = work.row.stamp.changed(now);
    work.row.progress = work.left.to_text()?;
    if !super::order::job::stands(change.conn(), work, seen).await? {
        return Err(Fault::again("somebody else works on this order").into());
    }
    change.commit().await?;
    Ok(())
}
