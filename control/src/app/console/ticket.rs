//! Tickets: who may open a console, once and within a minute, and at which address.

use std::net::IpAddr;

use config::id::{GatewayId, SessionId, UserId};
use config::limits::TICKET_LIFE_MS;
use config::snapshot::ConsoleKind;
use config::ticket::Claims;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::change::{Change, Note, Scope};
use super::super::input::{Input, Members, Said};
use super::super::page::time;
use super::super::signing_key;
use super::super::{App, Caller, Error};
use super::place::{self, Place};
use super::{found, view};
use crate::app::forward::input::address;
use crate::auth::Actor;
use crate::auth::rbac::{Action, Resource};
use crate::store;
use crate::store::console::ConsoleRow;

/// Members that may be set.
pub const KNOWN: &[&str] = &["read_only", "source", "gateway", "host", "seconds"];

/// A ticket, shown once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TicketView {
    /// Where a browser opens the console.
    pub url: String,
    /// Where a program opens it, as a WebSocket.
    pub websocket_url: String,
    /// The ticket alone; it opens one session, and is never shown again.
    pub ticket: String,
    /// The session that it opens, as audit rows and logs name it.
    pub session: String,
    /// The console.
    pub console: String,
    /// Its VM, as `NAME.NAMESPACE`.
    pub vm: String,
    /// What is shown.
    pub kind: String,
    /// Whether its holder may only look.
    pub read_only: bool,
    /// The address it may be used from, where that is bound.
    pub source: Option<String>,
    /// The name of the gateway that redeems it.
    pub gateway: String,
    /// Until when it can be redeemed, RFC 3339.
    pub expires_at: String,
}

/// What the audit keeps of a ticket: everything but the ticket.
#[derive(Debug, Serialize)]
struct Issued<'a> {
    session: &'a str,
    vm: &'a str,
    kind: &'a str,
    read_only: bool,
    source: Option<&'a str>,
    gateway: &'a str,
    expires_at: &'a str,
}

struct Draft {
    read_only: Said<bool>,
    source: Said<Option<IpAddr>>,
    gateway: Option<String>,
    host: Option<String>,
    life_ms: u64,
}

/// Makes a ticket for the caller. A guest may only look, and gets a ticket that says so.
pub async fn issue(app: &App, caller: &Caller, id: &str, members: Members) -> Result<TicketView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let draft = read(&mut input);
    let mut change = app.begin(caller, Scope::Private).await?;
    let row = found(change.conn(), caller, id).await?;
    let read_only = looks_only(caller, &row, &draft.read_only, &mut input)?;
    has_time(&mut change, caller, row.kind).await?;
    let gateway = gateway(app, change.conn(), draft.gateway.as_deref(), &mut input).await?;
    let Some((gateway, name)) = gateway.filter(|_| input.is_sound()) else {
        return Err(input.refuse(KNOWN));
    };
    input.finish(KNOWN)?;
    let issued_ms = u64::try_from(change.now() / 1_000).unwrap_or(0);
    let claims = Claims {
        session: SessionId::from_uuid(uuid::Uuid::now_v7()),
        user: user(caller),
        vm: row.vm.id,
        console: row.id,
        kind: row.kind,
        read_only,
        source: source(caller, &draft.source),
        gateway,
        issued_ms,
        expires_ms: issued_ms.saturating_add(draft.life_ms),
    };
    let ticket = signing_key::sign(app, change.conn(), &claims).await?;
    let place = place::of(app, change.conn(), (row.kind, gateway), (caller, draft.host.as_deref())).await?;
    let view = shown(&row, &claims, (ticket, name), &place);
    let issued = Issued {
        session: &view.session,
        vm: &view.vm,
        kind: &view.kind,
        read_only,
        source: view.source.as_deref(),
        gateway: &view.gateway,
        expires_at: &view.expires_at,
    };
    let (id, namespace) = (Some(row.id.to_string()), Some(row.namespace.as_str()));
    change.audit(Note { action: "ticket", kind: "console", id, namespace }, None, Some(&issued)).await?;
    change.commit().await?;
    Ok(view)
}

fn read(input: &mut Input) -> Draft {
    let life = TICKET_LIFE_MS / 1_000;
    let seconds = input.number("seconds", 1, life).or(life);
    let host = input.parsed("host", "invalid", place::host);
    Draft {
        read_only: input.truth("read_only"),
        source: input.parsed("source", "invalid", from),
        gateway: input.text("gateway").some(),
        host: host.some(),
        life_ms: seconds.saturating_mul(1_000).min(TICKET_LIFE_MS),
    }
}

/// `any`, or an address.
fn from(text: &str) -> Result<Option<IpAddr>, String> {
    if text == "any" {
        return Ok(None);
    }
    address(text).map(Some).map_err(|why| format!("{why}; write one, or any"))
}

/// Where the ticket may be shown from: as was said, else the machine that asks for it, where that is known.
const fn source(caller: &Caller, said: &Said<Option<IpAddr>>) -> Option<IpAddr> {
    match said {
        Said::This(source) => *source,
        Said::Nothing | Said::Null => caller.machine,
    }
}

/// Whether the holder may only look: asked for, the console's own rule, or all that a guest may.
fn looks_only(
    caller: &Caller,
    row: &ConsoleRow,
    asked: &Said<bool>,
    input: &mut Input,
) -> Result<bool, Error> {
    let may_use = caller.allow(Action::Use, Resource::Console(&row.namespace));
    let read_only = match asked {
        Said::This(true) => true,
        Said::This(false) => {
            may_use.clone()?;
            row.read_only
        }
        Said::Nothing | Said::Null => row.read_only || may_use.is_err(),
    };
    // What passes untouched cannot be held back.
    if read_only && (row.kind != ConsoleKind::Vnc || row.path.is_some()) {
        may_use?;
        let message = "looking only is of VNC over TCP: the gateway reads no other console";
        input.invalid("read_only", "unsupported", message);
    }
    Ok(read_only)
}

/// A terminal by SSH ends with the access by SSH; what would be refused at the gate is refused here.
async fn has_time(change: &mut Change<'_>, caller: &Caller, kind: ConsoleKind) -> Result<(), Error> {
    let Some(user) = user(caller).filter(|_| kind == ConsoleKind::Ssh) else { return Ok(()) };
    let now = change.now();
    match store::user::by_id(change.conn(), user).await? {
        Some(user) if !user.has_ssh(now) => {
            Err(Error::Over("your access by SSH is over; ask whoever gave it".to_owned()))
        }
        _ => Ok(()),
    }
}

const fn user(caller: &Caller) -> Option<UserId> {
    match caller.actor {
        Actor::Token { user, .. } => Some(user),
        Actor::Local | Actor::Setup | Actor::Anonymous => None,
    }
}

/// The gateway that redeems it: the one that was named, else the first connected one that is not on its way out.
async fn gateway(
    app: &App,
    conn: &mut store::Conn,
    named: Option<&str>,
    input: &mut Input,
) -> Result<Option<(GatewayId, String)>, Error> {
    let mut connected: Vec<_> =
        app.gateways.all().into_iter().filter(|(_, said)| said.streams > 0 && !said.draining).collect();
    connected.sort_unstable_by_key(|(id, _)| *id);
    let Some(named) = named else {
        let Some((id, _)) = connected.first() else {
            let message = "no gateway is connected that could open a console";
            return Err(Error::Conflict { field: "gateway", message: message.to_owned() });
        };
        let row = store::gateway::by_id(conn, *id).await?;
        return Ok(Some((*id, row.map_or_else(|| id.to_string(), |row| row.name.to_string()))));
    };
    let row = match named.parse() {
        Ok(id) => store::gateway::by_id(conn, id).await?,
        Err(_) => store::gateway::by_name(conn, named).await?,
    };
    match row {
        Some(row) if connected.iter().any(|(id, _)| *id == row.id) => {
            Ok(Some((row.id, row.name.to_string())))
        }
        Some(row) => {
            let message = format!("gateway {} is not connected; name another", row.name);
            Err(Error::Conflict { field: "gateway", message })
        }
        None => {
            let shown: String = named.chars().take(80).collect();
            input.invalid("gateway", "unknown", format!("no gateway is called {shown:?}"));
            Ok(None)
        }
    }
}

fn shown(
    row: &ConsoleRow,
    claims: &Claims,
    (ticket, gateway): (String, String),
    place: &Place,
) -> TicketView {
    let expires_us = i64::try_from(claims.expires_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    TicketView {
        url: place.url(false, &ticket),
        websocket_url: place.url(true, &ticket),
        ticket,
        session: claims.session.to_string(),
        console: row.id.to_string(),
        vm: view::vm_text(row),
        kind: row.kind.name().to_owned(),
        read_only: claims.read_only,
        source: claims.source.map(|ip| ip.to_string()),
        gateway,
        expires_at: time(expires_us),
    }
}
