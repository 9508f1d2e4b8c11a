//! Port forwards: the rules of one, and its life.
//!
//! A disabled forward keeps its ports, so that enabling it again never fails on somebody who came later.

pub mod csv;
pub mod diagnose;
pub mod import;
pub mod input;
pub mod ports;
pub mod probe;
pub mod state;
pub mod target;
pub mod view;

use std::net::IpAddr;

use config::grant::Role;
use config::id::{EndpointId, ForwardId, VmId};
use config::limits::DRAIN_ON_DELETE_MS;
use config::name::Namespace;
use config::snapshot::{FlowPolicy, Kind, Ports, Transport, Value};

use self::input::{Draft, Wanted};
use self::probe::{Picked, Probed, Step};
pub use self::state::GatewayState;
pub use self::view::ForwardView;
use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, Precondition, page};
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store::forward::{Filter, ForwardRow, Leads};
use crate::store::{self, Stamp, text};

/// Makes a forward.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<ForwardView, Error> {
    let mut probed = Probed::default();
    loop {
        match create_with(app, caller, members.clone(), &probed).await? {
            Step::Done(view) => return Ok(view),
            Step::Ask(picked) => probed.ask(app, picked).await?,
        }
    }
}

async fn create_with(
    app: &App,
    caller: &Caller,
    members: Members,
    probed: &Probed,
) -> Result<Step<ForwardView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let namespace = namespace(&mut input, caller);
    if let Some(namespace) = &namespace {
        caller.allow(Action::Create, Resource::Forward(namespace))?;
    }
    let draft = input::read(&mut input);
    if !matches!(draft.transport, Said::This(_)) && input.is_sound_at("protocol") {
        input.invalid("protocol", "required", "protocol is missing; write tcp or udp");
    }
    if !matches!(draft.target_ports, Said::This(_)) && input.is_sound_at("vm_port") {
        input.invalid("vm_port", "required", "vm_port is missing");
    }
    if !draft.names_a_target() && input.is_sound_in("vm") && input.is_sound_in("vm_ip") {
        input.invalid("vm", "required", "vm or vm_ip is missing");
    }
    let Some(namespace) = namespace else { return Err(input.refuse(input::KNOWN)) };
    let mut change = app.begin(caller, Scope::Published).await?;
    let row = blank(namespace, caller, change.now());
    let row = applied(app, &mut change, (row, draft), &mut input).await?;
    let (mut row, wanted) = finished(input, row)?;
    if let Some(picked) = settle(app, &mut change, (&mut row, wanted), probed).await? {
        return Ok(Step::Ask(picked));
    }
    store::forward::insert(change.conn(), &row).await?;
    let mut view = view::of(&row);
    view.warnings.extend(probed.warnings(row.transport));
    finish(change, &row, ("create", None, Some(&view))).await?;
    Ok(Step::Done(view))
}

/// Shows a forward that the caller may see, with what the gateways say of it.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<ForwardView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let row = found(&mut conn, caller, id).await?;
    let mut view = view::of(&row);
    view.gateways = Some(state::of(app, &mut conn, caller, (row.id, state::Wanted::of(row.enabled))).await?);
    Ok(view)
}

/// What the gateways say of a forward that the caller may see, or could before it was deleted.
pub async fn gateways(app: &App, caller: &Caller, id: &str) -> Result<Page<GatewayState>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let (id, wanted) = match found(&mut conn, caller, id).await {
        Ok(row) => (row.id, state::Wanted::of(row.enabled)),
        Err(absent @ Error::NotFound { .. }) => {
            let Ok(parsed) = id.parse() else { return Err(absent) };
            let namespace = store::forward::deleted(&mut conn, parsed).await?;
            let sees =
                |namespace: &Namespace| caller.allow(Action::Read, Resource::Forward(namespace)).is_ok();
            if !namespace.as_ref().is_some_and(sees) {
                return Err(absent);
            }
            (parsed, state::Wanted::Gone)
        }
        Err(error) => return Err(error),
    };
    Ok(Page { items: state::of(app, &mut conn, caller, (id, wanted)).await?, next: None })
}

/// A page of the forwards that the caller may see.
pub async fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: &Asked,
) -> Result<Page<ForwardView>, Error> {
    let slice = asked.slice(caller.visible(Role::Guest)?)?;
    let rows = store::forward::list(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view::of))
}

/// Merges a change into a forward.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<ForwardView, Error> {
    let mut probed = Probed::default();
    loop {
        match update_with(app, caller, (id, precondition, members.clone()), &probed).await? {
            Step::Done(view) => return Ok(view),
            Step::Ask(picked) => probed.ask(app, picked).await?,
        }
    }
}

async fn update_with(
    app: &App,
    caller: &Caller,
    (id, precondition, members): (&str, &Precondition, Members),
    probed: &Probed,
) -> Result<Step<ForwardView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let draft = input::read(&mut input);
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Forward(&old.namespace))?;
    precondition.require(old.stamp.revision)?;
    input.fixed("namespace", old.namespace.as_str());
    for (name, is_null) in
        [("protocol", draft.transport == Said::Null), ("vm_port", draft.target_ports == Said::Null)]
    {
        if is_null {
            input.invalid(name, "required", format!("a forward has {name}"));
        }
    }
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    let row = applied(app, &mut change, (row, draft), &mut input).await?;
    let (mut row, wanted) = finished(input, row)?;
    let place = |row: &ForwardRow| (row.transport, row.bind, row.ports);
    if (wanted != Wanted::Kept || place(&row) != place(&old))
        && let Some(picked) = settle(app, &mut change, (&mut row, wanted), probed).await?
    {
        return Ok(Step::Ask(picked));
    }
    let target = |row: &ForwardRow| (row.leads.clone(), row.target_port);
    if target(&row) != target(&old) {
        row.endpoint = EndpointId::from_uuid(uuid::Uuid::now_v7());
    }
    store::forward::update(change.conn(), &row).await?;
    let (before, mut after) = (view::of(&old), view::of(&row));
    after.warnings.extend(probed.warnings(row.transport));
    finish(change, &row, ("update", Some(&before), Some(&after))).await?;
    Ok(Step::Done(after))
}

/// Takes a forward away.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::Forward(&old.namespace))?;
    precondition.allow(old.stamp.revision)?;
    remove(&mut change, &old).await?;
    change.commit().await.map(drop)
}

/// Takes a forward away inside a larger change.
async fn remove(change: &mut Change<'_>, old: &ForwardRow) -> Result<(), Error> {
    let now = change.now();
    store::forward::delete(change.conn(), old.id, now).await?;
    change.remove(Kind::FORWARD, old.id.to_bytes());
    change.audit(note("delete", old), Some(&view::of(old)), None).await
}

/// Takes away what leads to a VM that goes.
pub(super) async fn remove_of_vm(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    for row in store::forward::by_vm(change.conn(), vm).await? {
        remove(change, &row).await?;
    }
    Ok(())
}

/// A VM moved: the targets of its forwards are new ones.
pub(super) async fn follow_vm(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    for mut row in store::forward::by_vm(change.conn(), vm).await? {
        row.endpoint = EndpointId::from_uuid(uuid::Uuid::now_v7());
        store::forward::update(change.conn(), &row).await?;
        publish(change, &row);
    }
    Ok(())
}

/// Publishes a forward as its row says now.
fn publish(change: &mut Change<'_>, row: &ForwardRow) {
    match build::forward(row) {
        Some(forward) => change.put(Value::Forward(forward)),
        None => change.remove(Kind::FORWARD, row.id.to_bytes()),
    }
}

type Said3<'a> = (&'static str, Option<&'a ForwardView>, Option<&'a ForwardView>);

async fn finish(mut change: Change<'_>, row: &ForwardRow, said: Said3<'_>) -> Result<(), Error> {
    publish(&mut change, row);
    change.audit(note(said.0, row), said.1, said.2).await?;
    change.commit().await.map(drop)
}

fn note<'a>(action: &'static str, row: &'a ForwardRow) -> Note<'a> {
    Note { action, kind: "forward", id: Some(row.id.to_string()), namespace: Some(row.namespace.as_str()) }
}

/// The namespace of something new; `None` when what was said is none.
fn namespace(input: &mut Input, caller: &Caller) -> Option<Namespace> {
    match input.parsed("namespace", "invalid", Namespace::parse) {
        Said::This(namespace) => Some(namespace),
        Said::Nothing if !input.is_sound_at("namespace") => None,
        Said::Nothing | Said::Null => Namespace::parse(caller.home_as(Role::Operator)).ok(),
    }
}

/// A forward of which nothing was said: its ports and target are placeholders.
fn blank(namespace: Namespace, caller: &Caller, now: i64) -> ForwardRow {
    ForwardRow {
        id: ForwardId::from_uuid(uuid::Uuid::now_v7()),
        namespace,
        transport: Transport::Tcp,
        bind: None,
        ports: Ports { first: 0, last: 0 },
        endpoint: EndpointId::from_uuid(uuid::Uuid::now_v7()),
        leads: Leads::Address { ip: IpAddr::from([0; 4]), loopback_ok: false },
        target_port: 0,
        sources: Vec::new(),
        proxy_protocol: None,
        flows_max: None,
        flows_per_second: None,
        idle_ms: None,
        on_change: FlowPolicy::Keep,
        on_delete: DRAIN,
        enabled: true,
        note: String::new(),
        owner: Some(caller.actor.name().to_owned()),
        stamp: Stamp::new(now),
    }
}

const DRAIN: FlowPolicy = FlowPolicy::Drain { ms: DRAIN_ON_DELETE_MS };

/// Writes a draft into a row and checks the rules between its members. Broken ones are noted in `input`.
///
/// Errors: a right is missing, or the store fails.
async fn applied(
    app: &App,
    change: &mut Change<'_>,
    (mut row, draft): (ForwardRow, Draft),
    input: &mut Input,
) -> Result<(ForwardRow, Wanted), Error> {
    let given = (row.transport, row.bind);
    row.transport = draft.transport.clone().some().unwrap_or(row.transport);
    row.bind = draft.bind.clone().merged(row.bind, None);
    row.sources = draft.sources.clone().merged(std::mem::take(&mut row.sources), Vec::new());
    row.proxy_protocol = draft.proxy_protocol.clone().merged(row.proxy_protocol, None);
    row.flows_max = draft.flows_max.clone().merged(row.flows_max, None);
    row.flows_per_second = draft.flows_per_second.clone().merged(row.flows_per_second, None);
    row.idle_ms = draft.idle_ms.clone().merged(row.idle_ms, None);
    row.on_change = draft.on_change.clone().merged(row.on_change, FlowPolicy::Keep);
    row.on_delete = draft.on_delete.clone().merged(row.on_delete, DRAIN);
    row.enabled = draft.enabled.clone().merged(row.enabled, true);
    row.note = draft.note.clone().merged(std::mem::take(&mut row.note), String::new());
    if row.transport == Transport::Udp && row.proxy_protocol.is_some() {
        let message = "proxy_protocol is of tcp: a datagram has no beginning to put it before";
        input.invalid("proxy_protocol", "invalid", message);
    }
    let before = row.target_ports();
    let wanted = ports::merge(&mut row, &draft, input);
    let is_new = before.first == 0;
    match wanted {
        Wanted::These(these) => ports::allowed(app, change.caller(), these, input),
        // The same numbers elsewhere are other ports: whoever gave these did not give those.
        Wanted::Kept if given != (row.transport, row.bind) => {
            ports::allowed(app, change.caller(), row.ports, input);
        }
        // Looked for among those that are allowed.
        Wanted::Kept | Wanted::Auto { .. } => {}
    }
    // What is not touched is not judged again: a gateway may listen since on what the target is.
    let widens = !is_new && row.target_ports() != before;
    if draft.names_a_target() || widens || draft.vm == Said::Null || draft.vm_ip == Said::Null {
        target::apply(app, change, (&mut row, &draft), input).await?;
    }
    Ok((row, wanted))
}

fn finished(input: Input, row: (ForwardRow, Wanted)) -> Result<(ForwardRow, Wanted), Error> {
    input.finish(input::KNOWN).map(|()| row)
}

/// Gives the row its ports: those it names if nobody has them, otherwise the lowest that are free. Returns those that were
/// picked while gateways are still to be asked for them.
async fn settle(
    app: &App,
    change: &mut Change<'_>,
    (row, wanted): (&mut ForwardRow, Wanted),
    probed: &Probed,
) -> Result<Option<Picked>, Error> {
    let Wanted::Auto { count } = wanted else {
        let caller = change.caller().clone();
        ports::free(app, change.conn(), &caller, row).await?;
        return Ok(None);
    };
    let caller = change.caller().clone();
    row.ports = ports::automatic(app, change.conn(), (&caller, row, count), probed).await?;
    let picked = Picked { transport: row.transport, bind: row.bind, ports: row.ports };
    Ok((!probed.knows(&picked)).then_some(picked))
}

async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<ForwardRow, Error> {
    let nothing = || Error::NotFound { kind: "forward", name: id.chars().take(80).collect() };
    let parsed = id.parse().map_err(|_| nothing())?;
    let row = store::forward::by_id(conn, parsed).await?.ok_or_else(nothing)?;
    if caller.allow(Action::Read, Resource::Forward(&row.namespace)).is_err() {
        return Err(nothing());
    }
    Ok(row)
}

/// `tcp 10022 to 10.0.0.5:22`, for people.
pub fn sentence(row: &ForwardRow) -> String {
    let target = std::net::SocketAddr::new(row.leads.ip(), row.target_port);
    let (transport, ports) = (text::transport_text(row.transport), ports::text(row.ports));
    match row.bind {
        None => format!("{transport} {ports} to {target}"),
        Some(bind) => format!("{transport} {ports} of {bind} to {target}"),
    }
}
