//! A ticket that was shown at another gateway than it names, and what gateways tell of consoles.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use config::id::{GatewayId, KeyId};
use config::limits::{ASKED_ONWARD_DEADLINE_MS, TICKET_AGAIN_MS};
use config::secret::Secret;
use config::snapshot::{Kind, ObjectKey, Snapshot, Value};
use config::sync::asking::{Answer, ConsoleEvent, Question, Redemption};
use config::ticket::{self, Seen, TicketError};
use serde::Serialize;

use super::super::{App, Error};
use crate::store::audit::AuditRow;
use crate::store::{self, Conn};

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

/// What the audit keeps of a session.
#[derive(Debug, Serialize)]
struct Happened<'a> {
    session: String,
    gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
}

/// Writes down what became of consoles at a gateway.
pub async fn note(app: &App, gateway: GatewayId, events: &[ConsoleEvent]) -> Result<(), Error> {
    let mut conn = app.db.write().await?;
    let name = store::gateway::by_id(&mut conn, gateway).await?;
    let name = name.map_or_else(|| gateway.to_string(), |row| row.name.to_string());
    for event in events {
        let row = row(&mut conn, &name, event).await?;
        store::audit::insert(&mut conn, row).await?;
    }
    conn.commit().await?;
    Ok(())
}

async fn row(conn: &mut Conn, gateway: &str, event: &ConsoleEvent) -> Result<AuditRow, Error> {
    let user = match event.user {
        None => Some("root".to_owned()),
        Some(id) => store::user::by_id(conn, id).await?.map(|row| row.name.to_string()),
    };
    let console = store::console::by_id(conn, event.console).await?;
    let has_ended = event.what == "end";
    let after = Happened {
        session: event.session.to_string(),
        gateway: gateway.to_owned(),
        bytes_up: has_ended.then_some(event.bytes_up),
        bytes_down: has_ended.then_some(event.bytes_down),
        why: &event.why,
    };
    let action = ["open", "refuse", "end"].into_iter().find(|known| *known == event.what).unwrap_or("other");
    Ok(AuditRow {
        id: uuid::Uuid::now_v7().to_string(),
        at: i64::try_from(event.at_ms.saturating_mul(1_000)).unwrap_or(i64::MAX),
        actor: user.unwrap_or_else(|| event.user.map(|id| id.to_string()).unwrap_or_default()),
        method: "ticket".to_owned(),
        token_id: None,
        source: event.source.to_string(),
        request_id: event.session.to_string(),
        action: action.to_owned(),
        object_kind: "console".to_owned(),
        object_id: Some(event.console.to_string()),
        namespace: console.map(|row| row.namespace.to_string()),
        before: None,
        after: serde_json::to_string(&after).ok(),
        result: if action == "refuse" { event.why.clone() } else { "done".to_owned() },
    })
}
