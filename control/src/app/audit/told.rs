//! What gateways tell the audit: consoles and jumps that were opened, refused and ended.
//!
//! A gateway tells until it is told that it is written; each event carries the id of its row, so it is written once.

use config::id::GatewayId;
use config::sync::audit::{AuditEvent, Carried, On, What, Who};
use serde::Serialize;

use super::super::{App, Error};
use crate::store::audit::AuditRow;
use crate::store::{self, Conn};

/// What the audit keeps of a session.
#[derive(Debug, Default, Serialize)]
struct Happened<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    gateway: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    proof: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    login: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
}

/// The object that a row is about.
struct About {
    kind: &'static str,
    id: Option<String>,
    namespace: Option<String>,
}

/// Writes down what a gateway tells, all of it or nothing.
pub async fn write(app: &App, gateway: GatewayId, events: &[AuditEvent]) -> Result<(), Error> {
    let mut conn = app.db.write().await?;
    let name = store::gateway::by_id(&mut conn, gateway).await?;
    let name = name.map_or_else(|| gateway.to_string(), |row| row.name.to_string());
    for event in events {
        let row = row(&mut conn, &name, event).await?;
        store::audit::insert_once(&mut conn, row).await?;
    }
    conn.commit().await?;
    Ok(())
}

async fn row(conn: &mut Conn, gateway: &str, event: &AuditEvent) -> Result<AuditRow, Error> {
    let about = about(conn, &event.on).await?;
    let mut after = Happened {
        session: event.session.map(|id| id.to_string()),
        gateway,
        why: &event.why,
        ..Happened::default()
    };
    if let On::Jump { target, .. } = &event.on {
        after.target = target;
    }
    if let On::Ssh { login } = &event.on {
        after.login = login;
    }
    // Of a console it is a ticket, which the method says already.
    if !matches!(event.on, On::Console(_)) {
        after.proof = &event.proof;
    }
    if let Some(Carried { up, down, ms }) = event.totals {
        (after.bytes_up, after.bytes_down) = (Some(up), Some(down));
        after.seconds = Some(ms as f64 / 1_000.0);
    }
    Ok(AuditRow {
        id: event.id.to_string(),
        at: i64::try_from(event.at_ms.saturating_mul(1_000)).unwrap_or(i64::MAX),
        actor: actor(conn, event.who).await?,
        method: method(&event.on).to_owned(),
        token_id: None,
        source: event.source.to_string(),
        request_id: event.session.map(|id| id.to_string()).unwrap_or_default(),
        action: action(event.what).to_owned(),
        object_kind: about.kind.to_owned(),
        object_id: about.id,
        namespace: about.namespace,
        before: None,
        after: serde_json::to_string(&after).ok(),
        result: if event.what == What::Refuse { event.why.clone() } else { "done".to_owned() },
    })
}

/// Also of objects that are gone: a session ends after its VM.
async fn about(conn: &mut Conn, on: &On) -> Result<About, Error> {
    Ok(match on {
        On::Console(id) => {
            let namespace = store::console::namespace_of(conn, *id).await?;
            About { kind: "console", id: Some(id.to_string()), namespace }
        }
        On::Jump { vm: Some(id), .. } => {
            let namespace = store::vm::namespace_of(conn, *id).await?;
            About { kind: "jump", id: Some(id.to_string()), namespace }
        }
        On::Jump { vm: None, .. } => About { kind: "jump", id: None, namespace: None },
        On::Ssh { .. } => About { kind: "ssh", id: None, namespace: None },
        On::Audit => About { kind: "audit", id: None, namespace: None },
        On::Other => About { kind: "other", id: None, namespace: None },
    })
}

async fn actor(conn: &mut Conn, who: Who) -> Result<String, Error> {
    Ok(match who {
        Who::Nobody => "anonymous".to_owned(),
        Who::Root => "root".to_owned(),
        Who::User(id) => store::user::name_of(conn, id).await?.unwrap_or_else(|| id.to_string()),
    })
}

const fn method(on: &On) -> &'static str {
    match on {
        On::Console(_) => "ticket",
        On::Jump { .. } | On::Ssh { .. } => "ssh",
        On::Audit | On::Other => "gateway",
    }
}

const fn action(what: What) -> &'static str {
    match what {
        What::Open => "open",
        What::Refuse => "refuse",
        What::End => "end",
        What::Lose => "lose",
        What::Other => "other",
    }
}
