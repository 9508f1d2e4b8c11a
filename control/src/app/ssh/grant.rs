//! What people reach by SSH beyond their role: machines, ports, until when.

use config::limits::{SSH_GRANT_PORTS_MAX, SSH_GRANTS_MAX};
use config::name::Namespace;
use config::snapshot::{Ports, SshScope};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::change::{Change, Note, Scope};
use crate::app::input::{Input, Members};
use crate::app::page::time;
use crate::app::{App, Caller, Error, user};
use crate::auth::rbac::{Action, Resource};
use crate::store::ssh_grant::{SshGrantRow, ports_text};
use crate::store::{self, Conn, Stamp};

/// A right to reach ports of machines by SSH.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SshGrantView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// The machine's id; absent where it is a namespace's machines.
    pub vm: Option<String>,
    /// The machine as `NAME.NAMESPACE`.
    pub vm_name: Option<String>,
    /// The namespace; absent where it is one machine.
    pub namespace: Option<String>,
    /// `22,8000-8010`; 22 stands for the port of a machine's own sshd too.
    pub ports: String,
    /// When it ends, RFC 3339; absent where it does not.
    pub until: Option<String>,
    /// Whether it has ended.
    pub ended: bool,
    /// Free text.
    pub note: String,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["vm", "namespace", "ports", "until", "note"];

async fn view(conn: &mut Conn, row: &SshGrantRow, now: i64) -> Result<SshGrantView, Error> {
    let (vm, namespace) = match &row.scope {
        SshScope::Vm(vm) => (Some(*vm), None),
        SshScope::Namespace(namespace) => (None, Some(namespace.to_string())),
    };
    let named = match vm {
        Some(vm) => store::vm::by_id(conn, vm).await?,
        None => None,
    };
    Ok(SshGrantView {
        id: row.id.to_string(),
        user: row.user.to_string(),
        vm: vm.map(|vm| vm.to_string()),
        vm_name: named.map(|vm| format!("{}.{}", vm.name, vm.namespace)),
        namespace,
        ports: ports_text(&row.ports),
        until: row.until.map(time),
        ended: row.until.is_some_and(|until| until <= now),
        note: row.note.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
    })
}

fn ports(text: &str) -> Result<Vec<Ports>, String> {
    let mut rows = store::ssh_grant::ports(text)?;
    rows.sort_unstable();
    if let Some(pair) = rows.windows(2).find(|pair| matches!(pair, [one, other] if one.overlaps(*other))) {
        return Err(format!("{} name a port twice", ports_text(pair)));
    }
    if rows.len() > SSH_GRANT_PORTS_MAX {
        return Err(format!("at most {SSH_GRANT_PORTS_MAX} ports or rows of ports"));
    }
    Ok(rows)
}

struct Draft {
    vm: Option<config::id::VmId>,
    namespace: Option<Namespace>,
    ports: Vec<Ports>,
    until: Option<i64>,
    note: String,
}

fn read(input: &mut Input) -> Draft {
    let draft = Draft {
        vm: input.parsed("vm", "invalid", str::parse).some(),
        namespace: input.parsed("namespace", "invalid", Namespace::parse).some(),
        ports: input.parsed("ports", "invalid", ports).or(vec![Ports { first: 22, last: 22 }]),
        until: super::until(input, "until").some(),
        note: input.note("note").or(String::new()),
    };
    match (&draft.vm, &draft.namespace) {
        (Some(_), Some(_)) => input.invalid("vm", "invalid", "give either vm or namespace"),
        (None, None) if input.is_sound() => {
            input.invalid("vm", "required", "say which machines: vm (an id) or namespace");
        }
        _ => {}
    }
    draft
}

/// Gives a user a right. Root alone, as all that users hold.
pub async fn create(app: &App, caller: &Caller, user: &str, members: Members) -> Result<SshGrantView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let draft = read(&mut input);
    input.finish(KNOWN)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let user = user::found(change.conn(), caller, user).await?;
    caller.allow(Action::Update, Resource::User(user.id))?;
    if let Some(until) = draft.until.filter(|until| *until <= change.now()) {
        let message = format!("{} is over already", time(until));
        return Err(Error::Invalid(vec![crate::app::Violation::new("until", "range", message)]));
    }
    let scope = match (draft.vm, draft.namespace) {
        (Some(vm), _) => {
            if store::vm::by_id(change.conn(), vm).await?.is_none() {
                return Err(Error::NotFound { kind: "VM", name: vm.to_string() });
            }
            SshScope::Vm(vm)
        }
        (None, Some(namespace)) => SshScope::Namespace(namespace),
        (None, None) => return Err(Error::Internal("a grant without machines".into())),
    };
    let held = store::ssh_grant::of_user(change.conn(), user.id).await?;
    if held.len() >= SSH_GRANTS_MAX {
        let message = format!("{} has {SSH_GRANTS_MAX} SSH grants, which is the most", user.name);
        return Err(Error::Conflict { field: "vm", message });
    }
    let stamp = Stamp::new(change.now());
    let Draft { ports, until, note, .. } = draft;
    let row = SshGrantRow { id: Uuid::now_v7(), user: user.id, scope, ports, until, note, stamp };
    let alike = |other: &&SshGrantRow| {
        other.scope == row.scope && other.ports == row.ports && other.until == row.until
    };
    if let Some(other) = held.iter().find(alike) {
        let message = format!("{} has this grant already ({})", user.name, other.id);
        return Err(Error::Conflict { field: "vm", message });
    }
    store::ssh_grant::insert(change.conn(), &row).await?;
    user::publish(&mut change, &user).await?;
    let now = change.now();
    let view = view(change.conn(), &row, now).await?;
    change.audit(note_of("create", &row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

/// All of a user's, ended ones as well.
pub async fn list(app: &App, caller: &Caller, user: &str) -> Result<Vec<SshGrantView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let user = user::found(&mut conn, caller, user).await?;
    let now = app.clock.now();
    let mut items = Vec::new();
    for row in store::ssh_grant::of_user(&mut conn, user.id).await? {
        items.push(view(&mut conn, &row, now).await?);
    }
    Ok(items)
}

/// Takes a right away; sessions that need it are cut.
pub async fn delete(app: &App, caller: &Caller, user: &str, id: &str) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let user = user::found(change.conn(), caller, user).await?;
    caller.allow(Action::Update, Resource::User(user.id))?;
    let rows = store::ssh_grant::of_user(change.conn(), user.id).await?;
    let row = rows.into_iter().find(|row| row.id.to_string().eq_ignore_ascii_case(id));
    let row =
        row.ok_or_else(|| Error::NotFound { kind: "SSH grant", name: id.chars().take(80).collect() })?;
    let now = change.now();
    store::ssh_grant::delete(change.conn(), row.id, now).await?;
    user::publish(&mut change, &user).await?;
    let before = view(change.conn(), &row, now).await?;
    change.audit(note_of("delete", &row), Some(&before), None).await?;
    change.commit().await.map(drop)
}

/// Takes away what people held on a machine that goes.
pub(in crate::app) async fn remove_of_vm(change: &mut Change<'_>, vm: config::id::VmId) -> Result<(), Error> {
    let holders = store::ssh_grant::holders(change.conn(), vm).await?;
    let now = change.now();
    store::ssh_grant::delete_of_vm(change.conn(), vm, now).await?;
    for holder in holders {
        if let Some(user) = store::user::by_id(change.conn(), holder).await? {
            user::publish(change, &user).await?;
        }
    }
    Ok(())
}

fn note_of<'a>(action: &'static str, row: &SshGrantRow) -> Note<'a> {
    Note { action, kind: "ssh_grant", id: Some(row.id.to_string()), namespace: None }
}
