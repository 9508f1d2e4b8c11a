//! VMs: static ones, until hosts report theirs.

use std::net::{IpAddr, SocketAddr};

use config::id::{EndpointId, VmId};
use config::name::{Namespace, NetworkName, VmName};
use config::snapshot::{Kind, Value};
use config::target;
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, Precondition, page, time};
use super::{App, Caller, Error, console, forward, route, ssh, vm_host_key};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store::vm::{Filter, VmRow};
use crate::store::{self, Stamp};

/// A VM.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmView {
    /// Its id.
    pub id: String,
    /// What people type; unique in the namespace.
    pub name: String,
    /// The DNS label that the name becomes.
    pub label: String,
    /// The tenant that owns it.
    pub namespace: String,
    /// The network its address belongs to.
    pub network: String,
    /// Its address; unique in the network.
    pub address: String,
    /// Where its sshd listens.
    pub ssh_port: u16,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["name", "namespace", "network", "address", "ssh_port", "note"];
const PLANNED: &[&str] =
    &["host", "os", "cpu", "memory", "disk", "nics", "tags", "console", "ssh", "limits", "status"];
const SHOWN: &[&str] = &["id", "label", "owner", "revision", "created_at", "updated_at"];

fn view(row: &VmRow) -> VmView {
    VmView {
        id: row.id.to_string(),
        name: row.name.to_string(),
        label: row.label.clone(),
        namespace: row.namespace.to_string(),
        network: row.network.to_string(),
        address: row.address.to_string(),
        ssh_port: row.ssh_port,
        note: row.note.clone(),
        owner: row.owner.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}

/// What was said about a VM.
struct Draft {
    name: Said<VmName>,
    network: Said<NetworkName>,
    address: Said<IpAddr>,
    ssh_port: Said<u16>,
    note: Said<String>,
}

fn read(input: &mut Input) -> Draft {
    input.unsupported(PLANNED);
    input.read_only(SHOWN);
    Draft {
        name: input.parsed("name", "invalid", VmName::parse),
        network: input.parsed("network", "invalid", NetworkName::parse),
        // Strict: no leading zeros, no zone, no shortened forms.
        address: input.parsed("address", "invalid", |text| {
            let parsed = text.parse::<IpAddr>().map(|address| address.to_canonical());
            parsed.map_err(|_| format!("{text:?} is no IP address"))
        }),
        ssh_port: match input.number("ssh_port", 1, u64::from(u16::MAX)) {
            Said::This(port) => u16::try_from(port).map_or(Said::Nothing, Said::This),
            Said::Null => Said::Null,
            Said::Nothing => Said::Nothing,
        },
        note: input.note("note"),
    }
}

/// Makes a VM. Its address is a literal target in all but name, so root sets it.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<VmView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let namespace = route::namespace(&mut input, caller);
    if let Some(namespace) = &namespace {
        caller.allow(Action::Create, Resource::Vm(namespace))?;
        caller.allow(Action::Create, Resource::VmAddress)?;
    }
    let draft = read(&mut input);
    for (name, is_given) in
        [("name", matches!(draft.name, Said::This(_))), ("address", matches!(draft.address, Said::This(_)))]
    {
        if !is_given && input.is_sound_at(name) {
            input.invalid(name, "required", format!("{name} is missing"));
        }
    }
    let (Some(namespace), Said::This(name), Said::This(address)) = (namespace, draft.name, draft.address)
    else {
        return Err(input.refuse(KNOWN));
    };
    let network =
        draft.network.or(NetworkName::parse(DEFAULT_NETWORK).map_err(|e| Error::Internal(e.to_string()))?);
    let mut change = app.begin(caller, Scope::Published).await?;
    let row = VmRow {
        id: VmId::from_uuid(uuid::Uuid::now_v7()),
        label: label(&name),
        name,
        namespace,
        network,
        address,
        ssh_port: draft.ssh_port.or(DEFAULT_SSH_PORT),
        loopback_ok: address.is_loopback(),
        note: draft.note.or(String::new()),
        owner: Some(caller.actor.name().to_owned()),
        stamp: Stamp::new(change.now()),
    };
    check(app, &row, &mut input);
    input.finish(KNOWN)?;
    taken(&mut change, caller, &row).await?;
    store::vm::insert(change.conn(), &row).await?;
    change.put(Value::Vm(build::vm(&row)));
    let view = view(&row);
    change.audit(note("create", &row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

/// The network of those who name none.
const DEFAULT_NETWORK: &str = "default";
const DEFAULT_SSH_PORT: u16 = 22;

/// The DNS label of a name: folded, `_` as `-`.
fn label(name: &VmName) -> String {
    name.as_str().to_ascii_lowercase().replace('_', "-")
}

fn check(app: &App, row: &VmRow, input: &mut Input) {
    if row.label.ends_with('-') {
        input.invalid(
            "name",
            "invalid",
            format!("{:?} does not end as a DNS label may, in a letter or digit", row.name.as_str()),
        );
    }
    if let Err(why) =
        target::check(SocketAddr::new(row.address, row.ssh_port), row.loopback_ok, &app.own_listeners())
    {
        input.invalid("address", "forbidden", format!("{}: {why}", row.address));
    }
}

/// Shows a VM that the caller may see.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<VmView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    Ok(view(&found(&mut app.db.read().await?, caller, id).await?))
}

/// A page of the VMs that the caller may see.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, asked: &Asked) -> Result<Page<VmView>, Error> {
    let slice = asked.slice(caller.visible(config::grant::Role::Guest)?)?;
    let rows = store::vm::list(&mut app.db.read().await?, filter, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view))
}

/// Merges a change into a VM. Routes and forwards that lead to it follow its address in the same generation.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<VmView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Vm(&old.namespace))?;
    precondition.require(old.stamp.revision)?;
    let mut input = Input::new(members);
    input.fixed("namespace", old.namespace.as_str());
    let draft = read(&mut input);
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    row.name = draft.name.merged(row.name.clone(), old.name.clone());
    row.label = label(&row.name);
    row.network = draft.network.merged(row.network.clone(), old.network.clone());
    row.address = draft.address.merged(row.address, old.address);
    row.ssh_port = draft.ssh_port.merged(row.ssh_port, DEFAULT_SSH_PORT);
    row.note = draft.note.merged(std::mem::take(&mut row.note), String::new());
    let moved = (row.address, &row.network) != (old.address, &old.network);
    if moved || row.ssh_port != old.ssh_port {
        caller.allow(Action::Update, Resource::VmAddress)?;
        row.loopback_ok = row.address.is_loopback();
        check(app, &row, &mut input);
    }
    input.finish(KNOWN)?;
    taken(&mut change, caller, &row).await?;
    store::vm::update(change.conn(), &row).await?;
    change.put(Value::Vm(build::vm(&row)));
    if row.address != old.address {
        follow(&mut change, row.id).await?;
        forward::follow_vm(&mut change, row.id).await?;
        console::follow_vm(&mut change, row.id).await?;
    }
    let after = view(&row);
    change.audit(note("update", &row), Some(&view(&old)), Some(&after)).await?;
    change.commit().await?;
    Ok(after)
}

/// The endpoints of a VM that moved are new ones: pools and health of the old address are not theirs.
async fn follow(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    for mut row in store::route::by_vm(change.conn(), vm).await? {
        for endpoint in &mut row.endpoints {
            if endpoint.vm.as_ref().is_some_and(|of| of.id == vm) {
                endpoint.id = EndpointId::from_uuid(uuid::Uuid::now_v7());
            }
        }
        store::route::update(change.conn(), &row).await?;
        route::publish(change, &row).await?;
    }
    Ok(())
}

/// Takes a VM away, and with it the endpoints that led to it, the routes that led nowhere else, its forwards
/// and its consoles.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::Vm(&old.namespace))?;
    precondition.allow(old.stamp.revision)?;
    for mut row in store::route::by_vm(change.conn(), old.id).await? {
        let leads_there = |vm: &store::route::EndpointVm| vm.id == old.id;
        let stays = row.endpoints.iter().any(|endpoint| !endpoint.vm.as_ref().is_some_and(leads_there));
        if stays {
            row.endpoints.retain(|endpoint| !endpoint.vm.as_ref().is_some_and(leads_there));
            row.stamp = row.stamp.changed(change.now());
            store::route::update(change.conn(), &row).await?;
            route::publish(&mut change, &row).await?;
        } else {
            route::remove(app, &mut change, &row).await?;
        }
    }
    forward::remove_of_vm(&mut change, old.id).await?;
    console::remove_of_vm(&mut change, old.id).await?;
    ssh::grant::remove_of_vm(&mut change, old.id).await?;
    vm_host_key::remove_of_vm(&mut change, old.id).await?;
    let now = change.now();
    store::vm::delete(change.conn(), old.id, now).await?;
    change.remove(Kind::VM, old.id.to_bytes());
    change.audit(note("delete", &old), Some(&view(&old)), None).await?;
    change.commit().await.map(drop)
}

fn note<'a>(action: &'static str, row: &'a VmRow) -> Note<'a> {
    Note { action, kind: "vm", id: Some(row.id.to_string()), namespace: Some(row.namespace.as_str()) }
}

/// Refuses a name, label or address that another VM holds, naming the holder.
async fn taken(change: &mut Change<'_>, caller: &Caller, row: &VmRow) -> Result<(), Error> {
    let by_label = store::vm::by_label(change.conn(), &row.namespace, &row.label).await?;
    if let Some(other) = by_label.filter(|other| other.id != row.id) {
        let message = if other.name == row.name {
            format!("VM {} of namespace {} has this name already ({})", other.name, other.namespace, other.id)
        } else {
            format!(
                "{} and VM {} ({}) become the same DNS label, {}",
                row.name, other.name, other.id, row.label
            )
        };
        return Err(Error::Conflict { field: "name", message });
    }
    let by_place = store::vm::by_place(change.conn(), &row.network, row.address).await?;
    if let Some(other) = by_place.filter(|other| other.id != row.id) {
        let holder = holder(caller, &other.namespace, &other);
        let message = format!("{} of network {} is the address of {holder}", row.address, row.network);
        return Err(Error::Conflict { field: "address", message });
    }
    Ok(())
}

fn holder(caller: &Caller, namespace: &Namespace, other: &VmRow) -> String {
    if caller.sees(namespace) {
        format!("VM {} of namespace {namespace} ({})", other.name, other.id)
    } else {
        "a VM of another namespace".into()
    }
}

pub(super) async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<VmRow, Error> {
    let nothing = || Error::NotFound { kind: "VM", name: id.chars().take(80).collect() };
    let parsed = id.parse().map_err(|_| nothing())?;
    let row = store::vm::by_id(conn, parsed).await?.ok_or_else(nothing)?;
    if caller.allow(Action::Read, Resource::Vm(&row.namespace)).is_err() {
        return Err(nothing());
    }
    Ok(row)
}
