//! What stands against an order, found out before the authority is bothered. What is wrong from everywhere stops it; what may
//! be right from where the authority looks is a line in its log.

use std::net::IpAddr;

use certs::acme::order::{Answer, ChallengeTask};
use certs::acme::preflight::{Finding, Severity};
use config::limits;

use super::super::super::change::Scope;
use super::super::super::gateway::Said;
use super::super::super::{App, Caller, Error};
use super::super::outside::{Fault, Outside, Own};
use super::steps::{Next, StepError, Work, access};
use crate::store;
use crate::store::challenge::AnswerRow;

/// Names whose answer is looked at before the authority does: what is wrong with one is mostly wrong with all.
const LOOKED_AT_MAX: usize = 5;

/// Looks at the names.
///
/// Errors: a [`Fault`] with every reason; the authority was not asked for an order.
pub(super) async fn look(app: &App, outside: &Outside, work: &Work) -> Result<Next, StepError> {
    let own = own(app.gateways.all().iter().map(|(_, said)| said));
    let found = outside.ca.preflight(&access(app, work)?, &work.wanted()?, &own).await?;
    log(app, work, found.iter().filter(|finding| finding.severity == Severity::Warning)).await?;
    let errors: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if errors.is_empty() {
        return Ok(Next::Go);
    }
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Err(Fault::again(texts.join("; ")).into())
}

/// Fetches published answers as the authority will. Nothing that is found stops the order: a router need not lead back to
/// its own outer address.
pub(super) async fn reach(app: &App, outside: &Outside, work: &Work) -> Result<(), StepError> {
    let rows = store::challenge::of_order(&mut app.db.read().await?, &work.row.id.to_string()).await?;
    let task = |row: store::challenge::ChallengeRow| match row.answer {
        AnswerRow::Http { token, key_authorization } => Some(ChallengeTask {
            authorization: String::new(),
            host: row.host,
            wildcard: false,
            answer: Answer::Http01 { token, key_authorization },
        }),
        AnswerRow::TlsAlpn { .. } => None,
    };
    let tasks: Vec<_> = rows.into_iter().filter_map(task).take(LOOKED_AT_MAX).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let found = outside.ca.reach(&access(app, work)?.authority, &tasks).await;
    Ok(log(app, work, found.iter()).await?)
}

async fn log(app: &App, work: &Work, found: impl Iterator<Item = &Finding>) -> Result<(), Error> {
    let lines: Vec<_> =
        found.take(limits::ACME_NAMES_MAX).map(|finding| format!("warning: {finding}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Private).await?;
    let now = change.now();
    for line in &lines {
        store::acme_order::log(change.conn(), work.row.id, now, line).await?;
    }
    change.commit().await.map(drop)
}

/// Where the gateways listen for the web. It is known for certain that a name points elsewhere only when every one of these
/// addresses is a single public one: behind NAT, a balancer or the unspecified address the outer ones are not known.
fn own<'a>(said: impl Iterator<Item = &'a Said>) -> Own {
    let listeners = said.filter(|said| said.streams > 0).flat_map(|said| &said.listeners);
    let web: Vec<_> = listeners
        .filter(|listening| matches!(listening.kind.as_str(), "http" | "https"))
        .map(|listening| listening.address.ip().to_canonical())
        .collect();
    let is_complete = !web.is_empty() && web.iter().all(|address| is_public(*address));
    let mut addresses: Vec<_> = web.into_iter().filter(|address| !address.is_unspecified()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Own { addresses, is_complete }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !(four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_unspecified()
                || is_shared)
        }
        // Global unicast, 2000::/3 (RFC 4291 § 2.4).
        IpAddr::V6(six) => six.octets().first().is_some_and(|first| first >> 5 == 1),
    }
}

#[cfg(test)]
mod tests {
    use config::sync::message::Listening;

    use super::*;

    fn listening(addresses: &[(&str, &str)]) -> Own {
        let listeners = addresses
            .iter()
            .map(|(kind, address)| Listening { kind: (*kind).into(), address: address.parse().unwrap() })
            .collect();
        let said = Said { streams: 1, listeners, ..Said::default() };
        own([&said].into_iter())
    }

    #[test]
    fn our_addresses_are_known_for_certain_only_when_all_are_single_and_public() {
        let own =
            listening(&[("http", "203.0.113.1:80"), ("https", "[2001:db8::1]:443"), ("ssh", "0.0.0.0:22")]);
        assert!(own.is_complete);
        assert_eq!(own.addresses.len(), 2);
        for other in
            ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "192.168.1.1:80", "100.64.0.1:80", "127.0.0.1:80"]
        {
            assert!(!listening(&[("http", "203.0.113.1:80"), ("http", other)]).is_complete, "{other}");
        }
        assert_eq!(listening(&[]), Own { addresses: Vec::new(), is_complete: false });
        assert_eq!(listening(&[("http", "0.0.0.0:80")]).addresses, [] as [IpAddr; 0]);
    }
}
