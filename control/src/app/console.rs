//! Consoles of machines: the rules of one, and its life. Tickets that open them are [`ticket`]'s.

pub mod certify;
pub mod input;
pub mod place;
pub mod redeem;
pub mod ticket;
pub mod view;

use std::net::SocketAddr;

use config::id::{ConsoleId, EndpointId, VmId};
use config::limits::DRAIN_ON_DELETE_MS;
use config::name::Namespace;
use config::snapshot::{ConsoleKind, FlowPolicy, Kind, Value};
use config::target as rules;

use self::input::{Draft, Wire};
pub use self::view::ConsoleView;
use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, Precondition, page};
use super::route::target::{Refused, vm_by_name};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build::{self, CONSOLE_PURPOSE};
use crate::store::console::{ConsoleRow, Filter};
use crate::store::route::EndpointVm;
use crate::store::vm::VmRow;
use crate::store::{self, Stamp};

/// Makes a console.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<ConsoleView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let draft = input::read(&mut input);
    let vm = input.required("vm");
    if !matches!(draft.kind, Said::This(_)) && input.is_sound_at("kind") {
        input.invalid("kind", "required", "kind is missing; write vnc, ttyd, ssh or serial");
    }
    let (Some(name), Said::This(kind)) = (vm, draft.kind.clone()) else {
        return Err(input.refuse(input::KNOWN));
    };
    let mut change = app.begin(caller, Scope::Published).await?;
    let vm = match vm_by_name(change.conn(), caller, name.strip_prefix("vm:").unwrap_or(&name)).await {
        Ok(vm) => vm,
        Err(Refused::Rule(code, message)) => {
            input.invalid("vm", code, message);
            return Err(input.refuse(input::KNOWN));
        }
        Err(Refused::Denied(denied)) => return Err(denied.into()),
        Err(Refused::Store(error)) => return Err(error),
    };
    caller.allow(Action::Create, Resource::Console(&vm.namespace))?;
    input.fixed("namespace", vm.namespace.as_str());
    let row = blank(&vm, kind, caller, change.now());
    let row = applied(app, &change, (row, draft, true), &mut input)?;
    input.finish(input::KNOWN)?;
    taken(&mut change, &row).await?;
    store::console::insert(change.conn(), &row).await?;
    finish(change, &row, ("create", None)).await
}

/// Shows a console that the caller may see.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<ConsoleView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    Ok(view::of(&found(&mut app.db.read().await?, caller, id).await?))
}

/// A page of the consoles that the caller may see.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: &Asked,
) -> Result<Page<ConsoleView>, Error> {
    let slice = asked.slice(caller.visible(config::grant::Role::Guest)?)?;
    let rows = store::console::list(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view::of))
}

/// Merges a change into a console.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<ConsoleView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Console(&old.namespace))?;
    precondition.require(old.stamp.revision)?;
    for (name, value) in
        [("namespace", old.namespace.as_str()), ("vm", &view::vm_text(&old)), ("kind", old.kind.name())]
    {
        input.fixed(name, value);
    }
    let draft = input::read(&mut input);
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    let mut row = applied(app, &change, (row, draft, false), &mut input)?;
    input.finish(input::KNOWN)?;
    let place = |row: &ConsoleRow| (row.address, row.port);
    if place(&row) != place(&old) {
        row.endpoint = EndpointId::from_uuid(uuid::Uuid::now_v7());
    }
    store::console::update(change.conn(), &row).await?;
    finish(change, &row, ("update", Some(&view::of(&old)))).await
}

/// Takes a console away.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::Console(&old.namespace))?;
    precondition.allow(old.stamp.revision)?;
    remove(&mut change, &old).await?;
    change.commit().await.map(drop)
}

/// Takes a console away inside a larger change.
async fn remove(change: &mut Change<'_>, old: &ConsoleRow) -> Result<(), Error> {
    let now = change.now();
    store::console::delete(change.conn(), old.id, now).await?;
    change.remove(Kind::CONSOLE, old.id.to_bytes());
    change.audit(note("delete", old), Some(&view::of(old)), None).await
}

/// Takes away the consoles of a VM that goes.
pub(super) async fn remove_of_vm(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    for row in store::console::by_vm(change.conn(), vm).await? {
        remove(change, &row).await?;
    }
    Ok(())
}

/// A VM moved: consoles at its own address are elsewhere now.
pub(super) async fn follow_vm(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    for mut row in store::console::by_vm(change.conn(), vm).await? {
        if row.address.is_none() {
            row.endpoint = EndpointId::from_uuid(uuid::Uuid::now_v7());
            store::console::update(change.conn(), &row).await?;
            let console = build::console(&row, change.keys().as_ref())?;
            change.put(Value::Console(console));
        }
    }
    Ok(())
}

async fn finish(
    mut change: Change<'_>,
    row: &ConsoleRow,
    (action, before): (&'static str, Option<&ConsoleView>),
) -> Result<ConsoleView, Error> {
    let console = build::console(row, change.keys().as_ref())?;
    change.put(Value::Console(console));
    let after = view::of(row);
    change.audit(note(action, row), before, Some(&after)).await?;
    change.commit().await?;
    Ok(after)
}

fn note<'a>(action: &'static str, row: &'a ConsoleRow) -> Note<'a> {
    Note { action, kind: "console", id: Some(row.id.to_string()), namespace: Some(row.namespace.as_str()) }
}

/// A console of which nothing but VM and kind was said; port 0 is none.
fn blank(vm: &VmRow, kind: ConsoleKind, caller: &Caller, now: i64) -> ConsoleRow {
    ConsoleRow {
        id: ConsoleId::from_uuid(uuid::Uuid::now_v7()),
        namespace: vm.namespace.clone(),
        vm: EndpointVm {
            id: vm.id,
            name: vm.name.to_string(),
            namespace: vm.namespace.to_string(),
            address: vm.address,
            loopback_ok: vm.loopback_ok,
        },
        kind,
        endpoint: EndpointId::from_uuid(uuid::Uuid::now_v7()),
        address: None,
        loopback_ok: false,
        port: usual_port(kind).unwrap_or(0),
        path: usual_path(kind, usual_wire(kind)),
        login: None,
        secret_sealed: None,
        read_only: false,
        on_change: FlowPolicy::Keep,
        on_delete: DRAIN,
        note: String::new(),
        owner: Some(caller.actor.name().to_owned()),
        stamp: Stamp::new(now),
    }
}

const DRAIN: FlowPolicy = FlowPolicy::Drain { ms: DRAIN_ON_DELETE_MS };

/// Where such consoles usually listen; a serial line has no usual place.
const fn usual_port(kind: ConsoleKind) -> Option<u16> {
    match kind {
        ConsoleKind::Vnc => Some(5_900),
        ConsoleKind::Ttyd => Some(7_681),
        ConsoleKind::Ssh => Some(22),
        ConsoleKind::Serial => None,
    }
}

const fn usual_wire(kind: ConsoleKind) -> Wire {
    match kind {
        ConsoleKind::Ttyd => Wire::WebSocket,
        ConsoleKind::Vnc | ConsoleKind::Ssh | ConsoleKind::Serial => Wire::Tcp,
    }
}

/// What ttyd and websockify are asked for.
fn usual_path(kind: ConsoleKind, wire: Wire) -> Option<String> {
    let path = if kind == ConsoleKind::Ttyd { "/ws" } else { "/websockify" };
    (wire == Wire::WebSocket).then(|| path.to_owned())
}

/// Writes a draft into a row and checks the rules between its members. Broken ones are noted in `input`.
///
/// Errors: a right is missing.
fn applied(
    app: &App,
    change: &Change<'_>,
    (mut row, draft, is_new): (ConsoleRow, Draft, bool),
    input: &mut Input,
) -> Result<ConsoleRow, Error> {
    let caller = change.caller();
    let before = (row.address, row.port);
    match draft.address {
        Said::Nothing => {}
        Said::Null => (row.address, row.loopback_ok) = (None, false),
        Said::This(ip) if ip == row.vm.address => (row.address, row.loopback_ok) = (None, false),
        Said::This(ip) if Some(ip) == row.address => {}
        Said::This(ip) => {
            // What nobody may reach is said first: a right would not help.
            match rules::check(SocketAddr::new(ip, 0), true, &[]) {
                Err(why) => input.invalid("address", "forbidden", format!("{ip}: {why}")),
                Ok(()) => caller.allow(Action::Create, Resource::LiteralTarget)?,
            }
            (row.address, row.loopback_ok) = (Some(ip), ip.is_loopback());
        }
    }
    row.port = draft.port.clone().merged(row.port, usual_port(row.kind).unwrap_or(0));
    if row.port == 0 && input.is_sound_in("port") {
        input.invalid("port", "required", "port is missing: a serial line has no usual one");
    }
    wire(&mut row, &draft, input);
    match &draft.login {
        Said::Nothing => {}
        Said::This(_) if row.kind != ConsoleKind::Ssh => {
            input.invalid("login", "unsupported", "a login is of a terminal by SSH: kind ssh");
        }
        Said::Null => row.login = None,
        Said::This(login) => row.login = Some(login.clone()),
    }
    secret(change, &mut row, &draft)?;
    row.read_only = draft.read_only.clone().merged(row.read_only, false);
    row.on_change = draft.on_change.clone().merged(row.on_change, FlowPolicy::Keep);
    row.on_delete = draft.on_delete.clone().merged(row.on_delete, DRAIN);
    row.note = draft.note.clone().merged(std::mem::take(&mut row.note), String::new());
    // What is not touched is not judged again: a gateway may listen since where the console is.
    if row.port != 0 && (is_new || (row.address, row.port) != before) && input.is_sound_in("address") {
        let address = SocketAddr::new(row.ip(), row.port);
        if let Err(why) = rules::check(address, row.may_be_loopback(), &app.own_listeners()) {
            let field = if row.address.is_some() { "address" } else { "port" };
            input.invalid(field, "forbidden", format!("{address}: {why}"));
        }
    }
    fits(&row, change, input)?;
    Ok(row)
}

/// Wire and path together: a path makes a WebSocket of it, and only a WebSocket has one.
fn wire(row: &mut ConsoleRow, draft: &Draft, input: &mut Input) {
    let was = if row.path.is_some() { Wire::WebSocket } else { Wire::Tcp };
    let default = usual_wire(row.kind);
    let wire = match (&draft.wire, &draft.path) {
        (Said::Nothing, Said::This(_)) => Wire::WebSocket,
        (said, _) => said.clone().merged(was, default),
    };
    row.path = match (wire, draft.path.clone()) {
        (Wire::Tcp, Said::This(_)) => {
            input.invalid("path", "invalid", "a path is of a console that speaks WebSocket: wire websocket");
            None
        }
        (Wire::Tcp, Said::Nothing | Said::Null) => None,
        (Wire::WebSocket, Said::This(path)) => Some(path),
        (Wire::WebSocket, Said::Null) => usual_path(row.kind, wire),
        (Wire::WebSocket, Said::Nothing) => row.path.take().or_else(|| usual_path(row.kind, wire)),
    };
}

fn secret(change: &Change<'_>, row: &mut ConsoleRow, draft: &Draft) -> Result<(), Error> {
    match &draft.secret {
        Said::Nothing => {}
        Said::Null => row.secret_sealed = None,
        Said::This(secret) => {
            let sealed = change.keys().seal(CONSOLE_PURPOSE, secret.expose().as_bytes());
            row.secret_sealed = Some(sealed.map_err(|error| Error::Internal(error.to_string()))?);
        }
    }
    Ok(())
}

/// The rules that gateways hold it to, in the words of the request.
fn fits(row: &ConsoleRow, change: &Change<'_>, input: &mut Input) -> Result<(), Error> {
    let Err(faults) = build::console(row, change.keys().as_ref())?.check() else { return Ok(()) };
    for fault in faults {
        let field = match fault.field.as_str() {
            "wire.path" => "path",
            "endpoint" => "port",
            other => other,
        };
        if input.is_sound_in(field) {
            input.invalid(field, "invalid", format!("{field}: {}", fault.message));
        }
    }
    Ok(())
}

/// Refuses a second console of a kind, naming the first.
async fn taken(change: &mut Change<'_>, row: &ConsoleRow) -> Result<(), Error> {
    let others = store::console::by_vm(change.conn(), row.vm.id).await?;
    match others.iter().find(|other| other.kind == row.kind) {
        None => Ok(()),
        Some(other) => {
            let (vm, kind) = (view::vm_text(row), row.kind.name());
            let message = format!("VM {vm} has a {kind} console already ({}); change that one", other.id);
            Err(Error::Conflict { field: "kind", message })
        }
    }
}

async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<ConsoleRow, Error> {
    let nothing = || Error::NotFound { kind: "console", name: id.chars().take(80).collect() };
    let parsed = id.parse().map_err(|_| nothing())?;
    let row = store::console::by_id(conn, parsed).await?.ok_or_else(nothing)?;
    if !sees(caller, &row.namespace) {
        return Err(nothing());
    }
    Ok(row)
}

fn sees(caller: &Caller, namespace: &Namespace) -> bool {
    caller.allow(Action::Read, Resource::Console(namespace)).is_ok()
}
