//! Orders as jobs: one for a set of names, carried on after a restart from the step that was under way.
//!
//! [`request`] opens one inside the change that needs it. [`steps`] takes one step, [`job`] takes them one after the other
//! and writes down how each ended before it takes the next.

pub mod job;
mod preflight;
mod state;
pub mod steps;
mod view;

use config::id::{AcmeOrderId, IdentityId};
use config::name::HostPattern;

use super::super::change::{Change, Note, Scope};
use super::super::page::{Asked, Page, page};
use super::super::{App, Caller, Error, Violation, challenge};
use super::account;
use super::tally::Ended;
use crate::auth::rbac::{Action, Resource};
use crate::store::acme_account::AccountRow;
use crate::store::acme_order::{Filter, OrderRow};
use crate::store::identity::IdentityRow;
use crate::store::{self, Conn, Stamp};

pub use state::{Left, Step};
pub(in super::super) use view::waiting_for;
pub use view::{LineView, OrderView};

/// Why a certificate is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Request,
    /// The one there is ends soon.
    Renewal,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Renewal => "renewal",
        }
    }
}

/// Opens an order for a certificate, or gives the one that is under way for the same names. It is carried on as soon as the
/// change is committed.
///
/// Errors: no account is known; a wildcard without DNS-01; another certificate's order for the same names is under way.
pub async fn request(
    change: &mut Change<'_>,
    certificate: &IdentityRow,
    reason: Reason,
) -> Result<AcmeOrderId, Error> {
    let account = account_of(change.conn(), certificate).await?;
    let challenge = certificate.challenge.clone().unwrap_or_else(|| account.challenge.clone());
    check(&certificate.names, &challenge, &account)?;
    if let Some(open) = store::acme_order::open_for(change.conn(), &certificate.names).await? {
        if open.certificate == certificate.id {
            return Ok(open.id);
        }
        let message = format!("order {} for the same names is under way for another certificate", open.id);
        return Err(Error::Conflict { field: "names", message });
    }
    if let Some(open) = store::acme_order::open_of_certificate(change.conn(), certificate.id).await? {
        return Ok(open.id);
    }
    let now = change.now();
    let mut names = certificate.names.clone();
    names.sort_by_key(ToString::to_string);
    names.dedup();
    let row = OrderRow {
        id: AcmeOrderId::from_uuid(uuid::Uuid::now_v7()),
        account: account.id,
        certificate: certificate.id,
        namespace: certificate.namespace.clone(),
        names,
        challenge,
        reason: reason.as_str().to_owned(),
        step: Step::Register.as_str().to_owned(),
        attempts: 0,
        next_try: now,
        last_error: None,
        progress: Left::default().to_text()?,
        key_sealed: None,
        finished_at: None,
        stamp: Stamp::new(now),
    };
    store::acme_order::insert(change.conn(), &row).await?;
    change.ordered();
    let message = format!("ordered from {} by {}", account.directory, row.challenge);
    store::acme_order::log(change.conn(), row.id, now, &message).await?;
    change.audit(note("create", &row), None, Some(&view::of(&row, Vec::new()))).await?;
    Ok(row.id)
}

async fn account_of(conn: &mut Conn, certificate: &IdentityRow) -> Result<AccountRow, Error> {
    let wrong = |code, message: String| Error::Invalid(vec![Violation::new("account", code, message)]);
    match &certificate.account {
        Some(name) => {
            let found = account::found(conn, name).await;
            if let Err(Error::NotFound { name, .. }) = found {
                return Err(wrong("unknown", format!("no ACME account is called {name:?}")));
            }
            found
        }
        None => store::acme_account::first(conn).await?.ok_or_else(|| {
            let how = "no ACME account is known; add one with `gatehouse acme account add`";
            wrong("required", how.to_owned())
        }),
    }
}

/// What no authority would accept, before anything is written.
fn check(names: &[HostPattern], challenge: &str, account: &AccountRow) -> Result<(), Error> {
    let mut wrong = Vec::new();
    if names.is_empty() {
        wrong.push(Violation::new("names", "required", "names is missing: what is the certificate for?"));
    }
    for (place, name) in names.iter().enumerate() {
        let at = format!("names[{place}]");
        match name {
            HostPattern::Exact(_) => {}
            HostPattern::CatchAll => {
                wrong.push(Violation::new(at, "invalid", "no authority issues for the catch-all"));
            }
            HostPattern::Wildcard(_) if challenge == "dns-01" => {}
            HostPattern::Wildcard(_) => {
                let message = format!("{name} needs DNS-01; {challenge} cannot prove a wildcard");
                wrong.push(Violation::new(at, "needs_dns_01", message));
            }
        }
    }
    if challenge == "dns-01" && account.dns.is_none() {
        let message = format!(
            "dns-01 needs an account that knows where TXT records are put; {} does not",
            account.name
        );
        wrong.push(Violation::new("challenge", "needs_dns_provider", message));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}

/// A page of orders, newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: &Asked,
) -> Result<Page<OrderView>, Error> {
    let slice = asked.slice(caller.visible(config::grant::Role::Guest)?)?;
    let rows = store::acme_order::list(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), |row| view::of(row, Vec::new())))
}

/// Shows an order with its log.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<OrderView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let row = found(&mut conn, caller, id).await?;
    let lines = store::acme_order::lines(&mut conn, row.id).await?;
    Ok(view::of(&row, lines))
}

/// Takes the next step now, however long it was to wait.
pub async fn retry(app: &App, caller: &Caller, id: &str) -> Result<OrderView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Private).await?;
    let mut row = open(&mut change, id).await?;
    let (seen, now) = (row.stamp.revision, change.now());
    row.next_try = now;
    row.stamp = row.stamp.changed(now);
    if !store::acme_order::update(change.conn(), &row, seen).await? {
        return Err(Error::Conflict {
            field: "",
            message: "the order is being worked on right now".to_owned(),
        });
    }
    store::acme_order::log(change.conn(), row.id, now, "somebody asked to try again now").await?;
    change.audit::<OrderView>(note("update", &row), None, None).await?;
    change.commit().await?;
    app.acme.wake();
    Ok(view::of(&row, Vec::new()))
}

/// Gives an order up. What the certificate has is served on; the authority forgets the order by itself.
pub async fn cancel(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let mut row = open(&mut change, id).await?;
    end(&mut change, &mut row, "cancelled").await?;
    let account = store::acme_account::by_id(change.conn(), row.account).await?;
    change.audit::<OrderView>(note("delete", &row), None, None).await?;
    change.commit().await?;
    let directory = account.map(|account| account.directory).unwrap_or_default();
    app.acme.tally().count(&directory, Ended::Cancelled);
    Ok(())
}

/// Gives up whatever is under way for a certificate, as a part of the change that takes it away.
pub async fn forget(change: &mut Change<'_>, certificate: IdentityId) -> Result<(), Error> {
    if let Some(mut row) = store::acme_order::open_of_certificate(change.conn(), certificate).await? {
        end(change, &mut row, "the certificate was deleted").await?;
    }
    Ok(())
}

/// Ends an order and takes its answers back. One whose request was not handed in yet becomes no certificate, and is not
/// counted as one.
async fn end(change: &mut Change<'_>, row: &mut OrderRow, why: &str) -> Result<(), Error> {
    let (seen, now) = (row.stamp.revision, change.now());
    if let (Some(intent), true) =
        (Left::parse(&row.progress)?.intent, Step::parse(&row.step).is_some_and(|step| step < Step::Finalize))
    {
        store::acme_ledger::failed(change.conn(), &intent).await?;
    }
    row.step = Step::Cancelled.as_str().to_owned();
    (row.finished_at, row.key_sealed) = (Some(now), None);
    row.stamp = row.stamp.changed(now);
    if !store::acme_order::update(change.conn(), row, seen).await? {
        return Err(Error::Conflict { field: "", message: "the order ended in the meantime".to_owned() });
    }
    challenge::remove(change, &row.id.to_string()).await?;
    Ok(store::acme_order::log(change.conn(), row.id, now, why).await?)
}

async fn found(conn: &mut Conn, caller: &Caller, id: &str) -> Result<OrderRow, Error> {
    let nothing = || Error::NotFound { kind: "order", name: id.chars().take(80).collect() };
    let row =
        store::acme_order::by_id(conn, id.parse().map_err(|_| nothing())?).await?.ok_or_else(nothing)?;
    caller.allow(Action::Read, Resource::Certificate(&row.namespace)).map_err(|_| nothing())?;
    Ok(row)
}

async fn open(change: &mut Change<'_>, id: &str) -> Result<OrderRow, Error> {
    let caller = change.caller().clone();
    let row = found(change.conn(), &caller, id).await?;
    caller.allow(Action::Update, Resource::Certificate(&row.namespace))?;
    match row.finished_at {
        None => Ok(row),
        Some(_) => Err(Error::Conflict { field: "", message: format!("order {} has ended", row.id) }),
    }
}

fn note<'a>(action: &'static str, row: &'a OrderRow) -> Note<'a> {
    let namespace = Some(row.namespace.as_str());
    Note { action, kind: "acme_order", id: Some(row.id.to_string()), namespace }
}
