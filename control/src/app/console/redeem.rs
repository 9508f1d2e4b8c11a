//! A ticket that was shown at another gateway than it names.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use config::id::KeyId;
use config::limits::{ASKED_ONWARD_DEADLINE_MS, TICKET_AGAIN_MS};
use config::secret::Secret;
use config::snapshot::{Kind, ObjectKey, Snapshot, Value};
use config::sync::asking::{Answer, Question, Redemption};
use config::ticket::{self, Seen, TicketError};

use super::super::App;

/// Has the gateway that a ticket names redeem it, so that of two gateways that are shown it one wins.
pub async fn redeem(app: &App, ticket: Secret<String>, source: IpAddr, agent: u64) -> Redemption {
    let snapshot = std::sync::Arc::clone(&app.desired.current().snapshot);
    let now_ms = u64::try_from(app.clock.now() / 1_000).unwrap_or(0);
    let look = |key, signed: &[u8], signature: &[u8; 64]| look(&snapshot, key, signed, signature);
    let gateway = match ticket::verify(ticket.expose(), (now_ms, TICKET_AGAIN_MS), look) {
        Ok(claims) => claims.gateway,
        Err(TicketError::Expired) => return Redemption::Expired,
        Err(_) => return Redemption::Forged,
    };
    let within = Duration::from_millis(ASKED_ONWARD_DEADLINE_MS);
    match app.gateways.lines.ask(gateway, Question::Redeem { ticket, source, agent }, within).await {
        Some(Answer::Redeemed(what)) => what,
        _ => Redemption::Unanswered,
    }
}

fn look(snapshot: &Snapshot, key: KeyId, signed: &[u8], signature: &[u8; 64]) -> Seen {
    let key = ObjectKey { kind: Kind::TICKET_AUTHORITY, id: key.to_bytes() };
    let Some(Ok(Value::TicketAuthority(authority))) = snapshot.get(key).map(|object| object.decode()) else {
        return Seen::UnknownKey;
    };
    match UnparsedPublicKey::new(&ED25519, authority.public_key).verify(signed, signature) {
        Ok(()) => Seen::Authentic,
        Err(_) => Seen::Forged,
    }
}
