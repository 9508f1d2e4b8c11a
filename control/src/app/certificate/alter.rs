//! What happens to a certificate that is there: a new chain, another name, a renewal, its end.

use certs::acme::order::Reason as RevocationReason;
use config::secret::Secret;
use config::snapshot::TlsMode;

use super::super::acme::order::{self, Reason};
use super::super::acme::outside::Outside;
use super::super::acme::renewal;
use super::super::change::{Change, Scope};
use super::super::input::{Input, Members, Said};
use super::super::page::Precondition;
use super::super::{App, Caller, Error, Violation};
use super::create::note;
use super::install::{self, Issued};
use super::view::{self, CertificateView, WARN_BEFORE};
use super::{found, input, routes, self_signed};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store;
use crate::store::identity::{IdentityRow, Source, Status};

/// Merges a change into a certificate: its name, its remark, how it is ordered; or replaces the chain and key of one
/// that was brought.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    input.read_only(input::SHOWN);
    let brought = input::brought(&mut input);
    let may = found(&mut app.db.read().await?, caller, id).await?;
    caller.allow(Action::Update, Resource::Certificate(&may.namespace))?;
    precondition.require(may.stamp.revision)?;
    // Judged before the change, which holds up every other one.
    let uploaded = if brought.is_empty() || !input.is_sound() {
        None
    } else if may.source == Source::Upload {
        Some(brought.uploaded(app.clock.now()).await?)
    } else {
        let message = format!("a certificate that is {} is not replaced by hand", may.source.as_str());
        input.invalid("certificate", "invalid", message);
        None
    };
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    precondition.require(old.stamp.revision)?;
    let mut row = old.clone();
    fields(&mut row, &mut input);
    input.finish(input::KNOWN)?;
    let mut warnings = Vec::new();
    if let Some(uploaded) = uploaded {
        uploaded.covers(&certain(&row)).map_err(|error| input::refused(&error))?;
        warnings = uploaded.warnings.iter().map(ToString::to_string).collect();
        let issued = Issued { chain: uploaded.chain, key: uploaded.key };
        install::install(&mut change, &mut row, issued).await?;
    } else {
        row.stamp = row.stamp.changed(change.now());
        store::identity::update(change.conn(), &row).await?;
    }
    finish(change, ("update", &old, &row), warnings).await
}

/// The hosts that a new chain has to be for. The catch-all promises no name.
fn certain(row: &IdentityRow) -> Vec<config::name::HostPattern> {
    row.served.clone()
}

fn fields(row: &mut IdentityRow, input: &mut Input) {
    input.fixed("namespace", row.namespace.as_str());
    input.fixed("source", row.source.as_str());
    match input.note("name") {
        Said::This(name) if name.is_empty() => input.invalid("name", "invalid", "name is empty"),
        Said::This(name) => row.name = name,
        Said::Null | Said::Nothing => {}
    }
    row.note = input.note("note").merged(std::mem::take(&mut row.note), String::new());
    if row.source != Source::Acme {
        return;
    }
    let names = row.names.clone();
    match input.text("challenge") {
        Said::Nothing => {}
        Said::Null => row.challenge = None,
        Said::This(text) => {
            let known = ["http-01", "tls-alpn-01", "dns-01"].contains(&text.as_str());
            let wildcard = names.iter().any(|name| matches!(name, config::name::HostPattern::Wildcard(_)));
            if !known {
                let message = format!("{text:?} is no challenge; write http-01, tls-alpn-01 or dns-01");
                input.invalid("challenge", "invalid", message);
            } else if wildcard && text != "dns-01" {
                input.invalid("challenge", "needs_dns_01", "a wildcard needs DNS-01");
            } else {
                row.challenge = Some(text);
            }
        }
    }
    row.account = input.text("account").some().or(row.account.take());
    if let (_, Some(kind)) = input::key_type(input) {
        row.key_kind = Some(kind);
    }
}

/// Loads the chain that was signed for a request of ours, or a new one for the key that is there.
pub async fn load(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let brought = input::brought(&mut input);
    let row = found(&mut app.db.read().await?, caller, id).await?;
    caller.allow(Action::Update, Resource::Certificate(&row.namespace))?;
    precondition.allow(row.stamp.revision)?;
    if brought.is_empty() && input.is_sound() {
        input.invalid("certificate", "required", "certificate is missing: the chain that was signed");
    }
    input.finish(input::LOADED)?;
    let Some(sealed) = row.csr_key_sealed.as_ref() else {
        let message = format!("certificate {} waits for no chain; PATCH replaces chain and key", row.name);
        return Err(Error::Conflict { field: "id", message });
    };
    let key = unsealed(app, sealed)?;
    let uploaded = brought.loaded(key, app.clock.now()).await?;
    let warnings = uploaded.warnings.iter().map(ToString::to_string).collect();
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    if old.stamp.revision != row.stamp.revision {
        return Err(Error::PreconditionFailed { now: old.stamp.revision });
    }
    uploaded.covers(&certain(&old)).map_err(|error| input::refused(&error))?;
    let mut row = old.clone();
    install::install(&mut change, &mut row, Issued { chain: uploaded.chain, key: uploaded.key }).await?;
    finish(change, ("load", &old, &row), warnings).await
}

fn unsealed(app: &App, sealed: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
    let opened = app.keys.unseal(build::IDENTITY_PURPOSE, sealed);
    opened.map_err(|why| Error::Internal(format!("the key of a request does not open: {why}")))
}

/// Renews a certificate that ends within thirty days or whose last try failed; with `force` in any case. One of the
/// internal authority is new at once, one of an ACME authority when its order is done.
pub async fn renew(app: &App, caller: &Caller, id: &str, is_forced: bool) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Certificate(&old.namespace))?;
    let now = change.now();
    let is_due = !old.is_issued() || old.last_error.is_some() || old.expires_at <= now + WARN_BEFORE;
    let mut row = old.clone();
    let is_ordered = row.source == Source::Acme;
    match row.source {
        Source::Upload => {
            let message = format!("certificate {} was brought by hand; load or upload a new one", old.name);
            return Err(Error::Conflict { field: "id", message });
        }
        _ if !is_due && !is_forced => return Ok(view::of(&old, now)),
        Source::SelfSigned => self_signed::issue(app, &mut change, &mut row).await?,
        Source::Acme => {
            let reason = if row.is_issued() { Reason::Renewal } else { Reason::Request };
            order::request(&mut change, &row, reason).await?;
            row.next_try = Some(now);
            if matches!(row.status, Status::Failed | Status::Revoked) {
                row.status = if row.is_issued() { Status::Active } else { Status::Pending };
            }
            row.stamp = row.stamp.changed(now);
            store::identity::update(change.conn(), &row).await?;
        }
    }
    let view = finish(change, ("renew", &old, &row), Vec::new()).await?;
    if is_ordered {
        app.acme.wake();
    }
    Ok(view)
}

/// Has the ACME authority that signed a certificate declare that it must not be trusted any more, and why (RFC 5280 § 5.3.1).
pub async fn revoke(
    app: &App,
    caller: &Caller,
    id: &str,
    reason: Option<&str>,
) -> Result<CertificateView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let reason = match reason {
        None => RevocationReason::Unspecified,
        Some(text) => RevocationReason::parse(text).ok_or_else(|| {
            let known = RevocationReason::ALL.map(RevocationReason::as_str).join(", ");
            let text: String = text.chars().take(40).collect();
            let message = format!("{text:?} is no reason; write one of {known}");
            Error::Invalid(vec![Violation::new("reason", "invalid", message)])
        })?,
    };
    let row = found(&mut app.db.read().await?, caller, id).await?;
    caller.allow(Action::Update, Resource::Certificate(&row.namespace))?;
    if row.source != Source::Acme || !row.is_issued() {
        let message = format!("certificate {} was not issued by an ACME authority", row.name);
        return Err(Error::Conflict { field: "id", message });
    }
    if row.status == Status::Revoked {
        let message = format!("certificate {} is revoked already", row.name);
        return Err(Error::Conflict { field: "id", message });
    }
    renewal::revoke(app, caller, &Outside::real(), &row, reason).await?;
    super::show(app, caller, id).await
}

/// Takes a certificate away. One that routes use stays, unless `force`: their hosts are served with a leaf of the
/// internal authority then.
pub async fn delete(
    app: &App,
    caller: &Caller,
    id: &str,
    (precondition, is_forced): (&Precondition, bool),
) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::Certificate(&old.namespace))?;
    precondition.allow(old.stamp.revision)?;
    let using = using(&mut change, &old).await?;
    let is_ours = old.source == Source::SelfSigned;
    if !using.is_empty() && (is_ours || !is_forced) {
        let shown: Vec<_> = using
            .iter()
            .take(10)
            .map(|row| match caller.sees(&row.namespace) {
                true => format!("{}{} ({})", row.host, row.path, row.id),
                false => "a route of another namespace".to_owned(),
            })
            .collect();
        let message = format!("certificate {} is used by {}", old.name, shown.join(", "));
        return Err(Error::Conflict { field: "id", message });
    }
    install::remove(&mut change, old.id).await?;
    for before in &using {
        let mut row = before.clone();
        row.certificate = None;
        row.stamp = row.stamp.changed(change.now());
        store::route::update(change.conn(), &row).await?;
        routes::follow(app, &mut change, (Some(before), Some(&row))).await?;
    }
    let before = view::of(&old, change.now());
    change.audit(note("delete", &old), Some(&before), None).await?;
    change.commit().await.map(drop)
}

/// The routes that are served with a certificate.
async fn using(change: &mut Change<'_>, row: &IdentityRow) -> Result<Vec<store::route::RouteRow>, Error> {
    if row.source != Source::SelfSigned {
        return Ok(store::route::by_certificate(change.conn(), row.id).await?);
    }
    let mut found = Vec::new();
    for host in &row.names {
        found.extend(store::route::by_host(change.conn(), host).await?);
    }
    found.retain(|route| route.tls == TlsMode::SelfSigned);
    Ok(found)
}

async fn finish(
    mut change: Change<'_>,
    (action, old, row): (&'static str, &IdentityRow, &IdentityRow),
    warnings: Vec<String>,
) -> Result<CertificateView, Error> {
    let now = change.now();
    let (before, mut after) = (view::of(old, now), view::of(row, now));
    after.warnings = warnings;
    change.audit(note(action, row), Some(&before), Some(&after)).await?;
    change.commit().await?;
    Ok(after)
}
