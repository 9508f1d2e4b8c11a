//! Which certificate a route is served with, and what a change of routes means for certificates.
//!
//! A handshake knows the host and no path, so all routes of one host are served with the same certificate; those with
//! tls `off` ask for none. Order of calls in a change of a route: [`choose`], [`agree`], the rows, [`follow`].

use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::TlsMode;

use super::super::acme;
use super::super::change::Change;
use super::super::input::{Input, Said};
use super::super::{App, Caller, Error, Violation};
use super::{install, self_signed};
use crate::store::identity::{IdentityRow, Source, Status};
use crate::store::route::RouteRow;
use crate::store::{self, Stamp, text};

/// The remark on a certificate that was ordered because a route asked for one.
pub const MADE_FOR_ROUTE: &str = "ordered for a route";

/// Whether names of a certificate are good for a host: itself, or a wildcard one label above it. The catch-all promises
/// no name.
pub fn covers(names: &[HostPattern], host: &HostPattern) -> bool {
    matches!(host, HostPattern::CatchAll) || patterns(host).iter().any(|good| names.contains(good))
}

/// The patterns that are good for a host.
fn patterns(host: &HostPattern) -> Vec<HostPattern> {
    let mut good = vec![host.clone()];
    if let HostPattern::Exact(name) = host
        && let Some((_, rest)) = name.as_str().split_once('.')
    {
        good.extend(HostPattern::parse(&format!("*.{rest}")).ok());
    }
    good
}

/// Writes the certificate of a route into its row: the one that was named, the one it has, that of the host's other
/// routes, or the one that covers the host; for `acme` a new order where there is none. Broken rules are noted.
pub async fn choose(
    change: &mut Change<'_>,
    caller: &Caller,
    (row, said): (&mut RouteRow, Said<String>),
    input: &mut Input,
) -> Result<(), Error> {
    let source = match row.tls {
        TlsMode::Upload => Source::Upload,
        TlsMode::Acme => Source::Acme,
        TlsMode::Off | TlsMode::SelfSigned | TlsMode::Passthrough => {
            if matches!(said, Said::This(_)) {
                let mode = text::tls_text(row.tls);
                let message = format!("certificate goes with tls upload or acme, not with {mode}");
                input.invalid("certificate", "invalid", message);
            }
            row.certificate = None;
            return Ok(());
        }
    };
    if !input.is_sound_at("host") || !input.is_sound_at("certificate") || !input.is_sound_at("tls") {
        return Ok(());
    }
    let found = match said {
        Said::This(named) => by_name(change, caller, (row, source, &named), input).await?,
        Said::Null | Said::Nothing => by_host(change, (row, source), input).await?,
    };
    row.certificate = found.map(|found| found.id).or(row.certificate);
    Ok(())
}

/// The certificate that was named by id or name.
async fn by_name(
    change: &mut Change<'_>,
    caller: &Caller,
    (row, source, named): (&RouteRow, Source, &str),
    input: &mut Input,
) -> Result<Option<IdentityRow>, Error> {
    let mut found = Vec::new();
    match named.parse::<IdentityId>() {
        Ok(id) => found.extend(store::identity::by_id(change.conn(), id).await?),
        Err(_) => {
            let name = Some(named.to_owned());
            let namespace = Some(row.namespace.to_string());
            let filter = store::identity::Filter { name, namespace, ..Default::default() };
            let slice = store::Slice { after: None, limit: 20, namespaces: None };
            found = store::identity::list(change.conn(), &filter, &slice).await?;
            found.retain(|one| one.source == source);
        }
    }
    // What belongs to another tenant does not exist for this one; root may lend it.
    found.retain(|one| one.namespace == row.namespace || caller.actor.is_root());
    let shown: String = named.chars().take(80).collect();
    match found.as_slice() {
        [] => {
            let message =
                format!("no certificate of namespace {} is called {shown:?} or has this id", row.namespace);
            input.invalid("certificate", "unknown", message);
            Ok(None)
        }
        [one] => {
            if let Err((code, message)) = usable(one, row, source, change.now()) {
                input.invalid("certificate", code, message);
                return Ok(None);
            }
            Ok(Some(one.clone()))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|one| one.id.to_string()).collect();
            let message =
                format!("{shown:?} names {} certificates; give the id of one: {}", ids.len(), ids.join(", "));
            input.invalid("certificate", "ambiguous", message);
            Ok(None)
        }
    }
}

/// Whether a certificate can serve a route; otherwise a code and a sentence.
fn usable(one: &IdentityRow, row: &RouteRow, source: Source, now: i64) -> Result<(), (&'static str, String)> {
    let name = &one.name;
    if one.source != source {
        let (is, mode) = (one.source.as_str(), text::tls_text(row.tls));
        return Err(("invalid", format!("certificate {name} is {is}; with tls {mode} it cannot be used")));
    }
    if source == Source::Upload && !one.is_issued() {
        return Err(("not_issued", format!("certificate {name} waits for its chain; load it first")));
    }
    if one.status == Status::Revoked {
        return Err(("revoked", format!("certificate {name} is revoked")));
    }
    if source == Source::Upload && one.expires_at <= now {
        let at = super::super::page::time(one.expires_at);
        return Err(("expired", format!("certificate {name} ended at {at}")));
    }
    if !covers(&one.names, &row.host) {
        let message = format!("certificate {name} is not for {}; it is for {}", row.host, listed(&one.names));
        return Err(("names_not_covered", message));
    }
    Ok(())
}

fn listed(names: &[HostPattern]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<_> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    if names.len() > SHOWN {
        text.push(format!("{} more", names.len() - SHOWN));
    }
    if text.is_empty() { "no host name".to_owned() } else { text.join(", ") }
}

/// The certificate of a host that nobody named.
async fn by_host(
    change: &mut Change<'_>,
    (row, source): (&RouteRow, Source),
    input: &mut Input,
) -> Result<Option<IdentityRow>, Error> {
    let now = change.now();
    let kept = match row.certificate {
        Some(id) => store::identity::by_id(change.conn(), id).await?,
        None => None,
    };
    if let Some(kept) = kept.filter(|kept| usable(kept, row, source, now).is_ok()) {
        return Ok(Some(kept));
    }
    for sibling in store::route::by_host(change.conn(), &row.host).await? {
        if sibling.id != row.id
            && sibling.tls == row.tls
            && let Some(id) = sibling.certificate
            && let Some(found) = store::identity::by_id(change.conn(), id).await?
            && usable(&found, row, source, now).is_ok()
        {
            return Ok(Some(found));
        }
    }
    let mut found = store::identity::named(change.conn(), source, &patterns(&row.host)).await?;
    found.retain(|one| one.namespace == row.namespace && usable(one, row, source, now).is_ok());
    if matches!(row.host, HostPattern::CatchAll) {
        found.clear();
    }
    // The one that lasts longest; an order that is under way is better than a second one.
    if let Some(best) = found.into_iter().max_by_key(|one| (one.is_issued(), one.expires_at)) {
        return Ok(Some(best));
    }
    match source {
        Source::Acme => order(change, row, input).await,
        Source::Upload | Source::SelfSigned => {
            none_covers(change, row, input).await?;
            Ok(None)
        }
    }
}

/// Makes the row of a certificate that is to be ordered for a route.
async fn order(
    change: &mut Change<'_>,
    row: &RouteRow,
    input: &mut Input,
) -> Result<Option<IdentityRow>, Error> {
    match &row.host {
        HostPattern::CatchAll => {
            let message =
                "the catch-all has no name that a certificate could be ordered for; give --certificate";
            input.invalid("tls", "no_name", message);
            return Ok(None);
        }
        HostPattern::Exact(_) | HostPattern::Wildcard(_) => {}
    }
    let names = vec![row.host.clone()];
    let mut made = IdentityRow::new(Source::Acme, row.namespace.clone(), names, change.now());
    made.note = MADE_FOR_ROUTE.to_owned();
    made.owner.clone_from(&row.owner);
    made.next_try = Some(change.now());
    store::identity::insert(change.conn(), &made).await?;
    match acme::order::request(change, &made, acme::order::Reason::Request).await {
        Ok(_) => Ok(Some(made)),
        Err(Error::Invalid(violations)) => {
            for violation in violations {
                input.invalid("tls", violation.code, hinted(&row.host, violation));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What to do about an order that cannot be opened for a route, where there is more to do than to say it otherwise.
fn hinted(host: &HostPattern, violation: Violation) -> String {
    if violation.code != "needs_dns_01" {
        return violation.message;
    }
    format!(
        "{}; order it with an account for DNS-01 first: gatehouse cert add --acme '{host}' --challenge dns-01",
        violation.message
    )
}

/// Notes that no uploaded certificate covers a host, and names what the ones there are for.
async fn none_covers(change: &mut Change<'_>, row: &RouteRow, input: &mut Input) -> Result<(), Error> {
    let filter = store::identity::Filter {
        source: Some(Source::Upload.as_str().to_owned()),
        namespace: Some(row.namespace.to_string()),
        ..Default::default()
    };
    let slice = store::Slice { after: None, limit: 5, namespaces: None };
    let there = store::identity::list(change.conn(), &filter, &slice).await?;
    let said: Vec<_> =
        there.iter().map(|one| format!("{} is for {}", one.name, listed(&one.names))).collect();
    let host = &row.host;
    let message = if said.is_empty() {
        format!("no certificate for {host} was uploaded; `gatehouse cert add` brings one")
    } else {
        format!("no uploaded certificate that counts now is for {host}: {}", said.join("; "))
    };
    input.invalid("certificate", "names_not_covered", message);
    Ok(())
}

/// Refuses a route that another route of its host contradicts: in its mode, or, where that other one is not the caller's
/// to change, in its certificate.
pub async fn agree(change: &mut Change<'_>, caller: &Caller, row: &RouteRow) -> Result<(), Error> {
    for other in store::route::by_host(change.conn(), &row.host).await? {
        // A name is passed through as a whole, so plain HTTP beside it would be another host's.
        let passes = [row.tls, other.tls].contains(&TlsMode::Passthrough);
        let is_off = [row.tls, other.tls].contains(&TlsMode::Off);
        if other.id == row.id || is_off && !passes {
            continue;
        }
        let who = match caller.sees(&other.namespace) {
            true => format!("route {} ({}{})", other.id, other.host, other.path),
            false => "a route of another namespace".to_owned(),
        };
        if other.tls != row.tls {
            let (theirs, ours) = (text::tls_text(other.tls), text::tls_text(row.tls));
            let message = format!(
                "{who} serves {} with tls {theirs}: all routes of a host agree, so {ours} cannot stand beside it",
                row.host
            );
            return Err(Error::Conflict { field: "tls", message });
        }
        let is_foreign = other.namespace != row.namespace && !caller.actor.is_root();
        if is_foreign && other.certificate != row.certificate {
            let message = format!("{who} serves {} with another certificate", row.host);
            return Err(Error::Conflict { field: "certificate", message });
        }
    }
    Ok(())
}

/// Brings certificates in line with routes that were made, changed or taken away. Call after the rows are written.
pub async fn follow(
    app: &App,
    change: &mut Change<'_>,
    (old, new): (Option<&RouteRow>, Option<&RouteRow>),
) -> Result<(), Error> {
    let mut touched: Vec<IdentityId> = old.iter().chain(&new).filter_map(|row| row.certificate).collect();
    if let Some(row) = new.filter(|row| row.certificate.is_some()) {
        touched.extend(align(change, row).await?);
    }
    touched.sort_unstable();
    touched.dedup();
    for id in touched {
        sweep(change, id).await?;
    }
    if let Some(row) = new {
        if store::route::count_self_signed(change.conn(), &row.host).await? > 0 {
            self_signed::ensure(app, change, (&row.host, &row.namespace)).await?;
        } else {
            self_signed::release(change, &row.host).await?;
        }
    }
    if let Some(old) = old.filter(|old| new.is_none_or(|new| new.host != old.host)) {
        self_signed::release(change, &old.host).await?;
    }
    Ok(())
}

/// Gives the host's other routes of the same mode the certificate of this one; returns those they had.
async fn align(change: &mut Change<'_>, row: &RouteRow) -> Result<Vec<IdentityId>, Error> {
    let mut had = Vec::new();
    for mut other in store::route::by_host(change.conn(), &row.host).await? {
        if other.id == row.id || other.tls != row.tls || other.certificate == row.certificate {
            continue;
        }
        had.extend(other.certificate);
        other.certificate = row.certificate;
        other.stamp = Stamp::changed(other.stamp, change.now());
        store::route::update(change.conn(), &other).await?;
    }
    Ok(had)
}

/// Publishes a certificate as its routes are now; an order that was made for a route goes with the last one, unless
/// something came of it.
async fn sweep(change: &mut Change<'_>, id: IdentityId) -> Result<(), Error> {
    let Some(row) = store::identity::by_id(change.conn(), id).await? else { return Ok(()) };
    if row.served.is_empty() && !row.is_issued() && row.note == MADE_FOR_ROUTE {
        return install::remove(change, id).await;
    }
    install::publish(change, &row)
}
