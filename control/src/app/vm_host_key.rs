//! The SSH host keys that VMs have shown: the first is believed, another waits for somebody who knows.

use config::id::VmId;
use config::limits::SSH_PINNED_KEYS_MAX;
use config::snapshot::{Kind, PinState, PinnedKey, SshHostKeyPin, SshKey, Value};
use russh::keys::{HashAlg, PublicKey};
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members};
use super::page::time;
use super::{App, Caller, Error, vm};
use crate::auth::rbac::{Action, Resource};
use crate::store;
use crate::store::vm_host_key::{VmHostKeyRow, word};

/// Members that may be set.
pub const KNOWN: &[&str] = &["fingerprint", "state"];

/// A host key that a VM's SSH server has shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmHostKeyView {
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The key as it stands in known_hosts, without a host.
    pub key: String,
    /// `accepted`: the gate logs in there. `refused`: another was accepted before.
    pub state: String,
    /// When it was first shown, RFC 3339.
    pub seen_at: String,
}

/// What to do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Refuse,
    Forget,
}

fn view(row: &VmHostKeyRow) -> VmHostKeyView {
    let line = PublicKey::from_bytes(&row.blob).ok().and_then(|key| key.to_openssh().ok());
    VmHostKeyView {
        fingerprint: row.fingerprint.clone(),
        key: line.unwrap_or_default(),
        state: word(row.state).to_owned(),
        seen_at: time(row.seen_at),
    }
}

/// What gateways see of a VM's keys; `None` where there are none.
pub fn pin(vm: VmId, rows: &[VmHostKeyRow]) -> Option<SshHostKeyPin> {
    let keys = rows.iter().map(|row| PinnedKey {
        key: SshKey { blob: row.blob.as_slice().into() },
        seen_ms: u64::try_from(row.seen_at / 1_000).unwrap_or(0),
        state: row.state,
    });
    (!rows.is_empty()).then(|| SshHostKeyPin { vm, keys: keys.collect() })
}

/// The keys of a VM that the caller may see.
pub async fn list(app: &App, caller: &Caller, id: &str) -> Result<Vec<VmHostKeyView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let vm = vm::found(&mut conn, caller, id).await?;
    Ok(store::vm_host_key::of_vm(&mut conn, vm.id).await?.iter().map(view).collect())
}

/// Says whether a key is the VM's.
pub async fn judge(
    app: &App,
    caller: &Caller,
    id: &str,
    members: Members,
) -> Result<Vec<VmHostKeyView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let fingerprint = input.required("fingerprint");
    let verdict = input.parsed("state", "unsupported", verdict).some();
    let mut change = app.begin(caller, Scope::Published).await?;
    let vm = vm::found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::Vm(&vm.namespace))?;
    let rows = store::vm_host_key::of_vm(change.conn(), vm.id).await?;
    let row = fingerprint.as_ref().and_then(|wanted| rows.iter().find(|row| row.fingerprint == *wanted));
    if let (Some(wanted), None) = (&fingerprint, row) {
        let shown: String = wanted.chars().take(80).collect();
        input.invalid("fingerprint", "unknown", format!("VM {} has shown no host key {shown:?}", vm.name));
    }
    if verdict.is_none() && input.is_sound_at("state") {
        input.invalid("state", "required", "state is missing; write accepted, refused or forgotten");
    }
    let (Some(row), Some(verdict)) = (row, verdict) else { return Err(input.refuse(KNOWN)) };
    input.finish(KNOWN)?;
    let (action, conn) = (verdict.action(), change.conn());
    match verdict {
        Verdict::Accept => store::vm_host_key::judge(conn, row, PinState::Accepted).await?,
        Verdict::Refuse => store::vm_host_key::judge(conn, row, PinState::Refused).await?,
        Verdict::Forget => store::vm_host_key::delete(conn, row).await?,
    }
    let after = publish(&mut change, vm.id).await?;
    let views: Vec<_> = after.iter().map(view).collect();
    let before = view(row);
    let (id, namespace) = (Some(vm.id.to_string()), Some(vm.namespace.as_str()));
    let now = views.iter().find(|view| view.fingerprint == before.fingerprint);
    change.audit(Note { action, kind: "vm", id, namespace }, Some(&before), now).await?;
    change.commit().await?;
    Ok(views)
}

fn verdict(text: &str) -> Result<Verdict, &'static str> {
    match text {
        "accepted" => Ok(Verdict::Accept),
        "refused" => Ok(Verdict::Refuse),
        "forgotten" => Ok(Verdict::Forget),
        _ => Err("a host key is accepted, refused or forgotten"),
    }
}

impl Verdict {
    const fn action(self) -> &'static str {
        match self {
            Self::Accept => "accept-host-key",
            Self::Refuse => "refuse-host-key",
            Self::Forget => "forget-host-key",
        }
    }
}

/// A gateway met a key that is not among the VM's pins; whether it is believed, or why nobody can say.
pub(super) async fn seen(app: &App, vm: VmId, key: &[u8]) -> Result<Result<bool, &'static str>, Error> {
    let Ok(shown) = PublicKey::from_bytes(key) else {
        return Ok(Err("the VM's SSH host key cannot be read"));
    };
    let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
    let caller = Caller::ourselves("terminals");
    let mut change = app.begin(&caller, Scope::Published).await?;
    let Some(machine) = store::vm::by_id(change.conn(), vm).await? else {
        return Ok(Err("the VM does not exist any more"));
    };
    let rows = store::vm_host_key::of_vm(change.conn(), vm).await?;
    if let Some(row) = rows.iter().find(|row| row.fingerprint == fingerprint) {
        return Ok(Ok(row.state == PinState::Accepted));
    }
    let state = if rows.is_empty() { PinState::Accepted } else { PinState::Refused };
    if rows.len() >= SSH_PINNED_KEYS_MAX {
        return Ok(Ok(false));
    }
    let row = VmHostKeyRow { vm, fingerprint, blob: key.to_vec(), state, seen_at: change.now() };
    store::vm_host_key::insert(change.conn(), &row).await?;
    publish(&mut change, vm).await?;
    let action = if state == PinState::Accepted { "pin-host-key" } else { "refuse-host-key" };
    let (id, namespace) = (Some(vm.to_string()), Some(machine.namespace.as_str()));
    change.audit(Note { action, kind: "vm", id, namespace }, None, Some(&view(&row))).await?;
    change.commit().await?;
    Ok(Ok(state == PinState::Accepted))
}

/// Forgets the keys of a VM that goes.
pub(super) async fn remove_of_vm(change: &mut Change<'_>, vm: VmId) -> Result<(), Error> {
    if !store::vm_host_key::of_vm(change.conn(), vm).await?.is_empty() {
        store::vm_host_key::delete_of_vm(change.conn(), vm).await?;
        change.remove(Kind::SSH_HOST_KEY_PIN, vm.to_bytes());
    }
    Ok(())
}

async fn publish(change: &mut Change<'_>, vm: VmId) -> Result<Vec<VmHostKeyRow>, Error> {
    let rows = store::vm_host_key::of_vm(change.conn(), vm).await?;
    match pin(vm, &rows) {
        Some(pin) => change.put(Value::SshHostKeyPin(pin)),
        None => change.remove(Kind::SSH_HOST_KEY_PIN, vm.to_bytes()),
    }
    Ok(rows)
}
