//! Users: who may do what where.

use config::grant::Grants;
use config::id::UserId;
use config::name::UserName;
use config::snapshot::{Kind, Value};
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members, Said};
use super::page::{Asked, Page, Precondition, page, time};
use super::{App, Caller, Error, ssh};
use crate::auth::Actor;
use crate::auth::rbac::{Action, Denied, Resource};
use crate::publish::build;
use crate::store::user::UserRow;
use crate::store::{self, Stamp};

/// A user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// Their id.
    pub id: String,
    /// Their name; unique without regard to case.
    pub name: String,
    /// Whether they may do anything.
    pub enabled: bool,
    /// What they may do: `role` or `role:namespace`, separated by spaces.
    pub grant: String,
    /// When access by SSH ends, RFC 3339; null is never.
    pub ssh_until: Option<String>,
    /// Jumps at once in one gateway; null is the bound of everybody.
    pub ssh_sessions_max: Option<u16>,
    /// Free text.
    pub note: String,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["name", "enabled", "grant", "grants", "ssh_until", "ssh_sessions_max", "note"];
const PLANNED: &[&str] = &["email", "password", "expires_at", "mfa", "namespace"];
const SHOWN: &[&str] = &["id", "revision", "created_at", "updated_at"];

fn view(row: &UserRow) -> UserView {
    UserView {
        id: row.id.to_string(),
        name: row.name.to_string(),
        enabled: row.enabled,
        grant: row.grants.to_string(),
        ssh_until: row.ssh_until.map(time),
        ssh_sessions_max: row.ssh_sessions_max,
        note: row.note.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}

struct Draft {
    name: Said<UserName>,
    enabled: Said<bool>,
    grants: Said<Grants>,
    ssh_until: Said<i64>,
    ssh_sessions_max: Said<u16>,
    note: Said<String>,
}

fn read(input: &mut Input) -> Draft {
    input.unsupported(PLANNED);
    input.read_only(SHOWN);
    Draft {
        name: input.parsed("name", "invalid", name),
        enabled: input.truth("enabled"),
        grants: grants(input),
        ssh_until: ssh::until(input, "ssh_until"),
        ssh_sessions_max: ssh::sessions_max(input),
        note: input.note("note"),
    }
}

/// 3 to 32 letters, digits, `-` and `_` (INVENTORY 2.1, User).
fn name(text: &str) -> Result<UserName, String> {
    if !(3..=32).contains(&text.chars().count()) {
        return Err(format!("{:?} has not 3 to 32 characters", text.chars().take(40).collect::<String>()));
    }
    if text.to_ascii_lowercase().starts_with("node-") {
        return Err(format!("{text:?} is reserved: node- begins the names of machines"));
    }
    UserName::parse(text).map_err(|error| error.to_string())
}

/// `grant` is the word of the reference, `grants` is taken as well. A text out of grammar answers 400.
pub(super) fn grants(input: &mut Input) -> Said<Grants> {
    let (one, other) = (input.text("grant"), input.text("grants"));
    let (field, said) = match (one, other) {
        (said, Said::Nothing) => ("grant", said),
        (Said::Nothing, said) => ("grants", said),
        (Said::This(_) | Said::Null, Said::This(_) | Said::Null) => {
            input.invalid("grants", "invalid", "give either grant or grants");
            return Said::Nothing;
        }
    };
    match said {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(text) => match text.parse() {
            Ok(grants) => Said::This(grants),
            Err(why) => {
                input.unparsable(field, why);
                Said::Nothing
            }
        },
    }
}

/// Nobody grants more than they hold.
pub(super) fn may_grant(caller: &Caller, asked: &Grants) -> Result<(), Error> {
    let held = match &caller.actor {
        Actor::Local => return Ok(()),
        Actor::Token { grants, .. } => grants,
        Actor::Setup | Actor::Anonymous => {
            return Err(Denied { missing: asked.to_string(), anonymous: true }.into());
        }
    };
    if held.covers(asked) {
        Ok(())
    } else {
        Err(Denied { missing: asked.to_string(), anonymous: false }.into())
    }
}

/// Makes a user.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<UserView, Error> {
    caller.allow(Action::Create, Resource::Users)?;
    let mut input = Input::new(members);
    let draft = read(&mut input);
    let Said::This(name) = draft.name else {
        if input.is_sound_at("name") {
            input.invalid("name", "required", "name is missing");
        }
        return Err(input.refuse(KNOWN));
    };
    let grants = draft.grants.or(Grants::default());
    reserved(&name, &grants, &mut input);
    input.finish(KNOWN)?;
    may_grant(caller, &grants)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let row = UserRow {
        id: UserId::from_uuid(uuid::Uuid::now_v7()),
        name,
        enabled: draft.enabled.or(true),
        grants,
        ssh_until: draft.ssh_until.some(),
        ssh_sessions_max: draft.ssh_sessions_max.some(),
        note: draft.note.or(String::new()),
        stamp: Stamp::new(change.now()),
    };
    let view = insert(&mut change, &row).await?;
    change.commit().await?;
    Ok(view)
}

/// Adds a user inside a larger change.
pub(super) async fn insert(change: &mut Change<'_>, row: &UserRow) -> Result<UserView, Error> {
    taken(change, row).await?;
    store::user::insert(change.conn(), row).await?;
    if row.grants.is_root() {
        // Whoever made a root user has no use for the token of the first start.
        store::meta::close_setup(change.conn()).await?;
    }
    publish(change, row).await?;
    let view = view(row);
    change.audit(note("create", row), None, Some(&view)).await?;
    Ok(view)
}

/// People take these two for everything-goes.
fn reserved(name: &UserName, grants: &Grants, input: &mut Input) {
    let folded = store::user::folded(name.as_str());
    if ["root", "admin"].contains(&folded.as_str()) && !grants.is_root() {
        input.invalid("name", "reserved", format!("{name} is reserved for a user with the grant root"));
    }
}

/// Shows a user: themselves, or anyone to root.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<UserView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    Ok(view(&found(&mut app.db.read().await?, caller, id).await?))
}

/// A page: all for root, themselves for others.
pub async fn list(
    app: &App,
    caller: &Caller,
    name: Option<&str>,
    asked: &Asked,
) -> Result<Page<UserView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let slice = asked.slice(None)?;
    if let Actor::Token { user, grants, .. } = &caller.actor
        && !grants.is_root()
    {
        let own = store::user::by_id(&mut app.db.read().await?, *user).await?;
        let rows: Vec<_> = own
            .into_iter()
            .filter(|own| {
                slice.after.is_none() && name.is_none_or(|name| name.eq_ignore_ascii_case(own.name.as_str()))
            })
            .collect();
        return Ok(page(rows, &slice, |row| row.id.to_string(), view));
    }
    let rows = store::user::list(&mut app.db.read().await?, name, &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view))
}

/// Merges a change into a user.
pub async fn update(
    app: &App,
    caller: &Caller,
    id: &str,
    precondition: &Precondition,
    members: Members,
) -> Result<UserView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Update, Resource::User(old.id))?;
    precondition.require(old.stamp.revision)?;
    let mut input = Input::new(members);
    let draft = read(&mut input);
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    row.name = draft.name.merged(row.name.clone(), old.name.clone());
    row.enabled = draft.enabled.merged(row.enabled, true);
    row.grants = draft.grants.merged(row.grants.clone(), Grants::default());
    row.ssh_until = optional(draft.ssh_until, old.ssh_until);
    row.ssh_sessions_max = optional(draft.ssh_sessions_max, old.ssh_sessions_max);
    row.note = draft.note.merged(std::mem::take(&mut row.note), String::new());
    reserved(&row.name, &row.grants, &mut input);
    input.finish(KNOWN)?;
    if row.grants != old.grants {
        may_grant(caller, &row.grants)?;
    }
    taken(&mut change, &row).await?;
    store::user::update(change.conn(), &row).await?;
    last_root(&mut change, &old).await?;
    if row.grants.is_root() {
        store::meta::close_setup(change.conn()).await?;
    }
    publish(&mut change, &row).await?;
    let after = view(&row);
    change.audit(note("update", &row), Some(&view(&old)), Some(&after)).await?;
    change.commit().await?;
    Ok(after)
}

/// What an optional value is after a merge.
fn optional<T>(said: Said<T>, old: Option<T>) -> Option<T> {
    match said {
        Said::Nothing => old,
        Said::Null => None,
        Said::This(value) => Some(value),
    }
}

/// Takes a user away, with keys and tokens.
pub async fn delete(app: &App, caller: &Caller, id: &str, precondition: &Precondition) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), caller, id).await?;
    caller.allow(Action::Delete, Resource::User(old.id))?;
    precondition.allow(old.stamp.revision)?;
    let now = change.now();
    store::user::delete(change.conn(), old.id, now).await?;
    last_root(&mut change, &old).await?;
    change.remove(Kind::PRINCIPAL, old.id.to_bytes());
    change.audit(note("delete", &old), Some(&view(&old)), None).await?;
    change.commit().await.map(drop)
}

/// Publishes a user with their keys as the rows say now.
pub(super) async fn publish(change: &mut Change<'_>, row: &UserRow) -> Result<(), Error> {
    let keys = store::user_key::of_user(change.conn(), row.id).await?;
    let ssh = store::ssh_grant::of_user(change.conn(), row.id).await?;
    match build::principal(row, &keys, &ssh) {
        Some(principal) => change.put(Value::Principal(principal)),
        None => change.remove(Kind::PRINCIPAL, row.id.to_bytes()),
    }
    Ok(())
}

/// Refuses a change that leaves no enabled root user. Call after the row is written.
async fn last_root(change: &mut Change<'_>, old: &UserRow) -> Result<(), Error> {
    if old.enabled && old.grants.is_root() && store::user::count_root(change.conn()).await? == 0 {
        let message =
            format!("{} is the last enabled user with the grant root; make another one first", old.name);
        return Err(Error::Conflict { field: "grant", message });
    }
    Ok(())
}

async fn taken(change: &mut Change<'_>, row: &UserRow) -> Result<(), Error> {
    match store::user::by_name(change.conn(), row.name.as_str()).await? {
        Some(other) if other.id != row.id => {
            let message = format!("user {} ({}) has this name; case does not count", other.name, other.id);
            Err(Error::Conflict { field: "name", message })
        }
        Some(_) | None => Ok(()),
    }
}

fn note<'a>(action: &'static str, row: &UserRow) -> Note<'a> {
    Note { action, kind: "user", id: Some(row.id.to_string()), namespace: None }
}

/// Finds by id or name; others than oneself exist for root only.
pub(super) async fn found(conn: &mut store::Conn, caller: &Caller, id: &str) -> Result<UserRow, Error> {
    let nothing = || Error::NotFound { kind: "user", name: id.chars().take(80).collect() };
    let row = match id.parse() {
        Ok(id) => store::user::by_id(conn, id).await?,
        Err(_) => store::user::by_name(conn, id).await?,
    };
    let row = row.ok_or_else(nothing)?;
    if caller.allow(Action::Read, Resource::User(row.id)).is_err() {
        return Err(nothing());
    }
    Ok(row)
}
