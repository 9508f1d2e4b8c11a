//! What goes over the stream to control besides generations: what control asks of this gateway, and what this one asks and
//! tells of consoles.

use std::net::IpAddr;
use std::sync::Arc;

use config::limits;
use config::secret::Secret;
use config::sync::asking::{Answer, Ask, Question, Redemption, Told};
use config::sync::audit::{On, What, Who};
use config::ticket::{Claims, TicketError};

use super::redeemed::{Browser, Granted};
use super::ticket::{self, Refusal};
use crate::audit::Happened;
use crate::clock::now_ms;
use crate::forward;
use crate::worker::Shared;

/// Answers a question of control; nothing is said to one that is not known here.
pub(crate) fn answer(shared: &Arc<Shared>, ask: &Ask) -> Option<Told> {
    let answer = match &ask.question {
        Question::Sessions { only: Some(id), .. } => {
            Answer::Sessions { items: shared.sessions.one(*id).into_iter().collect(), more: false }
        }
        Question::Sessions { after, only: None, limit } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX).clamp(1, limits::SESSIONS_TOLD_MAX);
            let (items, more) = shared.sessions.page(*after, limit);
            Answer::Sessions { items, more }
        }
        Question::End(id) => Answer::Ended(shared.sessions.end(*id)),
        Question::Ports { transport, listen, ports } => {
            Answer::Taken(forward::taken(shared, *transport, *listen, *ports))
        }
        Question::Redeem { ticket, source, agent } => {
            Answer::Redeemed(redeem(shared, ticket, Browser { source: *source, agent: *agent }))
        }
        // Those are asked of control.
        Question::Audit(_) | Question::Certify { .. } | Question::HostKeySeen { .. } | Question::Unknown => {
            return None;
        }
    };
    Some(Told { number: ask.number, answer })
}

/// Ends the session that a ticket opened before, in this process or in one that drains.
pub(crate) fn end_before(shared: &Arc<Shared>, granted: &Granted) {
    let Some(before) = granted.before else { return };
    if shared.sessions.end(before) {
        return;
    }
    let again = Arc::clone(shared);
    // It speaks to other processes, which may take a moment.
    drop(tokio::task::spawn_blocking(move || again.upgrade.end_in_draining(before)));
}

/// Redeems a ticket of this gateway that was shown at another one.
fn redeem(shared: &Arc<Shared>, ticket: &Secret<String>, browser: Browser) -> Redemption {
    let Some(live) = shared.current.pin() else { return Redemption::Unanswered };
    let claims = match ticket::claims_of(&live.snapshot, ticket.expose(), now_ms()) {
        Ok(claims) => claims,
        Err(TicketError::Expired) => return Redemption::Expired,
        Err(_) => return Redemption::Forged,
    };
    if shared.gateway.load().as_deref() != Some(&claims.gateway) {
        return Redemption::Forged;
    }
    match shared.consoles.redeem(&claims, browser, now_ms()) {
        Ok(granted) => {
            // A session that it opened here; one that it opened at the other gateway is that one's to end.
            end_before(shared, &granted);
            Redemption::Yours
        }
        Err(Refusal::Used) => Redemption::Used,
        Err(Refusal::Expired) => Redemption::Expired,
        Err(Refusal::BeforeStart) => Redemption::BeforeStart,
        Err(_) => Redemption::Unanswered,
    }
}

/// Has the gateway that a ticket names redeem it, through control.
pub(crate) async fn redeemed_elsewhere(
    shared: &Shared,
    ticket: Secret<String>,
    browser: Browser,
) -> Result<(), Refusal> {
    let Browser { source, agent } = browser;
    match shared.asking.ask(Question::Redeem { ticket, source, agent }).await {
        Some(Answer::Redeemed(Redemption::Yours)) => Ok(()),
        Some(Answer::Redeemed(Redemption::Used)) => Err(Refusal::Used),
        Some(Answer::Redeemed(Redemption::Expired)) => Err(Refusal::Expired),
        Some(Answer::Redeemed(Redemption::BeforeStart)) => Err(Refusal::BeforeStart),
        Some(Answer::Redeemed(Redemption::Forged)) => Err(Refusal::Forged),
        _ => Err(Refusal::NotAsked),
    }
}

/// Tells the audit why a ticket did not open its console. Only of a ticket that somebody made: strangers write nothing
/// into it.
pub(crate) fn note_refused(shared: &Shared, claims: &Claims, source: IpAddr, why: &str) {
    shared.audit.note(Happened {
        what: What::Refuse,
        on: On::Console(claims.console),
        who: holder(claims),
        proof: PROOF.to_owned(),
        source,
        session: Some(claims.session),
        why: why.to_owned(),
        totals: None,
    });
}

/// What the audit hears of a console that was opened.
pub(crate) fn told(claims: &Claims) -> (On, Who, String) {
    (On::Console(claims.console), holder(claims), PROOF.to_owned())
}

/// How the holder of a ticket proves who they are.
const PROOF: &str = "ticket";

fn holder(claims: &Claims) -> Who {
    claims.user.map_or(Who::Root, Who::User)
}
