//! Carrying orders on: a step, what became of it in the row, the next step.
//!
//! Before a step the log is written, so a store that takes nothing stops an order before the authority is bothered.
//!
//! Control may be killed after the authority opened an order and before its URL was written down. The request is in the
//! ledger by then, so it counts. An authority that lists an account's orders (RFC 8555 § 7.1.2.1; pebble does) is asked for
//! it. Let's Encrypt lists none: there the request is made again, and answered with the pending order that there is for
//! the same names. Only an authority that does neither has two orders then, of which the first lapses unused.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use certs::renewal::Failures;
use config::id::AcmeOrderId;
use config::limits;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::super::certificate::install;
use super::super::super::change::{Change, Scope};
use super::super::super::page::time;
use super::super::super::{App, Caller, Error, challenge};
use super::super::budget;
use super::super::outside::{Fault, Outside, Then};
use super::super::tally::Ended;
use super::steps::{self, Next, StepError, Work};
use super::{Left, Step};
use crate::store::acme_order::OrderRow;
use crate::store::{self, Conn};

/// What became of an order after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The next step can be taken at once.
    Continue,
    /// It waits until its time.
    Waits,
    /// It ended, or somebody else works on it.
    Over,
}

/// How often due orders are looked for: one read of one index.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause of an order whose row cannot be written.
const STORE_PAUSE: Duration = Duration::from_secs(15);
/// Nothing waits longer than this, in microseconds: a moment beyond it was noted while the clock was ahead.
const LONGEST_WAIT: i64 = 32 * 24 * 60 * 60 * 1_000_000;

/// Takes every step that is due until `stop`.
pub(in super::super) async fn run(app: Arc<App>, outside: Outside, stop: CancellationToken) {
    let mut busy: HashSet<AcmeOrderId> = HashSet::new();
    let mut jobs: JoinSet<AcmeOrderId> = JoinSet::new();
    let mut often = tokio::time::interval(LOOK_EVERY);
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    if let Err(error) = challenge::sweep(&app).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "answers to challenges were left behind");
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = often.tick() => {}
            () = app.acme.orders.notified() => {}
            Some(done) = jobs.join_next() => match done {
                Ok(id) => drop(busy.remove(&id)),
                // A job that panicked says not which it was.
                Err(_) => busy.clear(),
            },
        }
        let due = match due(&app).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "orders cannot be looked for");
                continue;
            }
        };
        for id in due {
            if busy.len() >= limits::ACME_ORDERS_AT_ONCE_MAX {
                break;
            }
            if busy.insert(id) {
                let (app, outside) = (Arc::clone(&app), outside.clone());
                jobs.spawn(async move {
                    advance(&app, &outside, id).await;
                    id
                });
            }
        }
    }
}

async fn due(app: &App) -> Result<Vec<AcmeOrderId>, Error> {
    let now = app.clock.now();
    let mut conn = app.db.read().await?;
    Ok(store::acme_order::due(&mut conn, now, now.saturating_add(LONGEST_WAIT)).await?)
}

async fn advance(app: &App, outside: &Outside, id: AcmeOrderId) {
    loop {
        match step(app, outside, id).await {
            Ok(Outcome::Continue) => {}
            Ok(Outcome::Waits | Outcome::Over) => return,
            Err(error) => {
                tracing::warn!(order = %id, error = &error as &dyn std::error::Error,
                    "an order cannot be written down; what is served stays as it is, and it is tried again");
                return tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

/// Takes one step of an order and writes down what became of it.
///
/// Errors: the store's; the order stands where it stood.
pub async fn step(app: &App, outside: &Outside, id: AcmeOrderId) -> Result<Outcome, Error> {
    let Some(mut work) = load(app, id).await? else { return Ok(Outcome::Over) };
    let Some(before) = Step::parse(&work.row.step) else {
        return Err(Error::Internal(format!("{:?} is no step of an order", work.row.step)));
    };
    if work.left.polls == 0 {
        note(app, &work.row, before.intent()).await?;
    }
    if before == Step::Start && work.left.intent.is_some() && work.row.last_error.is_none() {
        note(app, &work.row, "the answer to an earlier request was lost; what became of it is asked first")
            .await?;
    }
    match steps::take(app, outside, &mut work).await {
        Ok(Next::Written) => Ok(Outcome::Continue),
        Ok(Next::Go) => moved(app, work, before.next()).await,
        Ok(Next::To(step)) => moved(app, work, step).await,
        Ok(Next::Wait(after)) => {
            let after = after.clamp(Duration::from_secs(1), Duration::from_secs(60));
            work.row.next_try = app.clock.now().saturating_add(micros(after));
            write(app, work, None).await.map(|stands| if stands { Outcome::Waits } else { Outcome::Over })
        }
        Err(StepError::Fault(fault)) => failed(app, outside, work, fault).await,
        Err(StepError::Ours(error)) => Err(error),
    }
}

/// Reads an order; one whose certificate or account is gone is given up.
async fn load(app: &App, id: AcmeOrderId) -> Result<Option<Work>, Error> {
    let mut conn = app.db.read().await?;
    let Some(row) = store::acme_order::by_id(&mut conn, id).await? else { return Ok(None) };
    if row.finished_at.is_some() {
        return Ok(None);
    }
    let account = store::acme_account::by_id(&mut conn, row.account).await?;
    let certificate = store::identity::by_id(&mut conn, row.certificate).await?.filter(install::is_ordered);
    drop(conn);
    let left = Left::parse(&row.progress)?;
    match (account, certificate) {
        (Some(account), Some(certificate)) => {
            let lease = app.acme.lease();
            Ok(Some(Work { row, left, account, certificate, lease }))
        }
        (account, _) => {
            let gone = if account.is_none() { "its account is gone" } else { "its certificate is gone" };
            let caller = Caller::ourselves("acme");
            let mut change = app.begin(&caller, Scope::Published).await?;
            let mut row = row;
            super::end(&mut change, &mut row, gone).await?;
            change.commit().await?;
            Ok(None)
        }
    }
}

async fn note(app: &App, row: &OrderRow, message: &str) -> Result<(), Error> {
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let now = change.now();
    store::acme_order::log(change.conn(), row.id, now, message).await?;
    change.commit().await.map(drop)
}

async fn moved(app: &App, mut work: Work, to: Step) -> Result<Outcome, Error> {
    work.row.step = to.as_str().to_owned();
    work.row.last_error = None;
    work.row.next_try = app.clock.now();
    let ended = to.is_last();
    let line = ended.then(|| Step::Done.intent().to_owned());
    let stands = write(app, work, line).await?;
    if ended {
        // Not before: whoever plans leaves a certificate alone whose order is under way, and would sleep on it.
        app.acme.issued();
    }
    Ok(if ended || !stands { Outcome::Over } else { Outcome::Continue })
}

/// Writes the row; false when somebody else's stands.
async fn write(app: &App, mut work: Work, line: Option<String>) -> Result<bool, Error> {
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let stands = put(&mut change, &mut work, line).await?;
    change.commit().await?;
    Ok(stands)
}

/// Writes the row; false when somebody else's stands, or another control works on orders now.
pub(in super::super) async fn stands(conn: &mut Conn, work: &Work, seen: i64) -> Result<bool, Error> {
    if let Some(lease) = work.lease
        && !store::lease::fence(conn, lease).await?
    {
        return Ok(false);
    }
    Ok(store::acme_order::update(conn, &work.row, seen).await?)
}

async fn put(change: &mut Change<'_>, work: &mut Work, line: Option<String>) -> Result<bool, Error> {
    let (seen, now) = (work.row.stamp.revision, change.now());
    if Step::parse(&work.row.step).is_some_and(Step::is_last) {
        (work.row.finished_at, work.row.key_sealed) = (Some(now), None);
    }
    work.row.stamp = work.row.stamp.changed(now);
    work.row.progress = work.left.to_text()?;
    let stands = stands(change.conn(), work, seen).await?;
    if let (true, Some(line)) = (stands, line) {
        store::acme_order::log(change.conn(), work.row.id, now, &line).await?;
    }
    Ok(stands)
}

/// Writes down what went wrong and when it is tried again. What the certificate has is served on.
async fn failed(app: &App, outside: &Outside, mut work: Work, fault: Fault) -> Result<Outcome, Error> {
    tracing::warn!(order = %work.row.id, names = store::acme_order::names_key(&work.row.names), why = fault.message,
        "an order did not go on; what is served stays as it is, and it is tried again");
    let now = app.clock.now();
    if fault.then != Then::Held {
        work.row.attempts = work.row.attempts.saturating_add(1);
        app.acme.tally().count(&work.account.directory, Ended::Failed);
    }
    let pause = pause(app, &work, &fault, now);
    let intent = work.left.intent.clone();
    if fault.then == Then::Anew {
        steps::clean(app, outside, &mut work).await;
        work.left = Left::default();
        work.row.key_sealed = None;
        work.row.step = Step::Preflight.as_str().to_owned();
    }
    let scope = if fault.then == Then::Anew { Scope::Published } else { Scope::Private };
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, scope).await?;
    match fault.then {
        Then::Again | Then::Held => {}
        Then::Anew => {
            challenge::remove(&mut change, &work.row.id.to_string()).await?;
            if let Some(intent) = intent {
                store::acme_ledger::failed(change.conn(), &intent).await?;
            }
        }
        Then::Register => {
            store::acme_account::unregistered(change.conn(), work.account.id).await?;
            // What was begun belongs to an account that is no more.
            (work.left.order, work.left.generation, work.left.polls) = (None, None, 0);
            work.row.step = Step::Register.as_str().to_owned();
        }
    }
    work.row.next_try = change.now().saturating_add(micros(pause));
    let message = shown(&fault, work.row.next_try);
    work.row.last_error = Some(message.clone());
    let line = format!("{message}; tried again in {} s", pause.as_secs());
    if !put(&mut change, &mut work, Some(line)).await? {
        return Ok(Outcome::Over);
    }
    if let Some(mut row) = store::identity::by_id(change.conn(), work.row.certificate).await? {
        install::failed(&mut change, &mut row, &message, work.row.next_try).await?;
    }
    change.commit().await?;
    Ok(Outcome::Waits)
}

/// What went wrong, and until when the authority wants to be left alone if it says so.
fn shown(fault: &Fault, next_try: i64) -> String {
    match (fault.then, fault.after) {
        (Then::Again | Then::Anew | Then::Register, Some(_)) => {
            format!("held back until {} by the authority: {}", time(next_try), fault.message)
        }
        (Then::Held, _) | (_, None) => fault.message.clone(),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// How long an order waits after a failure, and never less than the authority asks for.
///
/// One that begins anew costs the authority an order and counts as a failure there (Let's Encrypt: five an hour for a
/// name), so it waits as [`certs::renewal::next_try`] says. A step that is taken again within the same order costs it
/// nothing: seconds at first, doubled each time, and a tenth more or less so that orders which failed together are not
/// tried together.
fn pause(app: &App, work: &Work, fault: &Fault, now: i64) -> Duration {
    let asked = fault.after.unwrap_or_default();
    let attempts = u32::try_from(work.row.attempts.clamp(1, 32)).unwrap_or(1);
    let own = match fault.then {
        Then::Held => Duration::from_secs(1),
        Then::Anew => {
            let now = budget::seconds(now);
            let failures = Failures { count: attempts, last: now, retry_after: None };
            let item = budget::item(&work.certificate, 0, None, failures);
            let at = certs::renewal::next_try(&item, now, budget::seed(app));
            Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0))
        }
        Then::Again | Then::Register => {
            let (first, longest) = limits::ACME_RETRY_SECONDS;
            let doubled = first.saturating_mul(1_u64.checked_shl(attempts - 1).unwrap_or(u64::MAX));
            let seconds = doubled.min(longest);
            let mut hash = DefaultHasher::new();
            (work.row.id, work.row.attempts).hash(&mut hash);
            let tenth = (seconds / 10).max(1);
            Duration::from_secs(seconds - tenth / 2 + hash.finish() % tenth)
        }
    };
    own.max(asked).max(Duration::from_secs(1))
}
