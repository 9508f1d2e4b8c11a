//! Authorities that sign people's SSH certificates.

use config::id::KeyId;
use config::limits::{SSH_CA_NAME_BYTES_MAX, SSH_KEY_ID_BYTES_MAX, SSH_REVOKED_MAX, SSH_USER_CAS_MAX};
use config::snapshot::{Kind, Value};
use serde::Serialize;
use utoipa::ToSchema;

use super::{blob, fingerprint};
use crate::app::change::{Note, Scope};
use crate::app::input::{Input, Members, Said};
use crate::app::page::time;
use crate::app::{App, Caller, Error, user_key};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store::ssh_ca::SshCaRow;
use crate::store::{self, Stamp};

/// An authority whose certificates log people in as the users whose names stand in them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SshCaView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Its key as OpenSSH writes it.
    pub key: String,
    /// Serial numbers of certificates that are no longer good.
    pub revoked_serials: Vec<u64>,
    /// Key ids of certificates that are no longer good.
    pub revoked_key_ids: Vec<String>,
    /// `SHA256:…` of certified keys that are no longer good.
    pub revoked_keys: Vec<String>,
    /// Free text.
    pub note: String,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["name", "key", "note"];
/// Members of a revocation.
pub const REVOKED: &[&str] = &["serials", "key_ids", "keys"];

fn view(row: &SshCaRow) -> SshCaView {
    let line = russh::keys::PublicKey::from_bytes(&row.blob).and_then(|key| key.to_openssh());
    SshCaView {
        id: row.id.to_string(),
        name: row.name.clone(),
        fingerprint: row.fingerprint.clone(),
        key: line.unwrap_or_default(),
        revoked_serials: row.revoked.serials.clone(),
        revoked_key_ids: row.revoked.key_ids.clone(),
        revoked_keys: row.revoked.keys.clone(),
        note: row.note.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.len() <= SSH_CA_NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("a name has 1 to {SSH_CA_NAME_BYTES_MAX} letters, digits, -, _ and ."))
    }
}

/// Believes an authority. Root alone: it could sign for anybody.
pub async fn create(app: &App, caller: &Caller, members: Members) -> Result<SshCaView, Error> {
    caller.allow(Action::Create, Resource::SshCas)?;
    let mut input = Input::new(members);
    let said = input.parsed("name", "invalid", name);
    let key = user_key::required(&mut input, "key");
    let note = input.note("note").or(String::new());
    let (Said::This(name), Some(key)) = (said, key) else {
        if input.is_sound_at("name") && input.is_sound_at("key") {
            input.invalid("name", "required", "name is missing");
        }
        return Err(input.refuse(KNOWN));
    };
    input.finish(KNOWN)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let row = SshCaRow {
        id: KeyId::from_uuid(uuid::Uuid::now_v7()),
        name,
        blob: blob(&key)?,
        fingerprint: fingerprint(&key),
        revoked: Default::default(),
        note,
        stamp: Stamp::new(change.now()),
    };
    let known = store::ssh_ca::all(change.conn()).await?;
    if let Some(other) = known.iter().find(|other| other.name == row.name) {
        let message = format!("authority {} ({}) has this name", other.name, other.id);
        return Err(Error::Conflict { field: "name", message });
    }
    if let Some(other) = known.iter().find(|other| other.fingerprint == row.fingerprint) {
        let message = format!("{} is the key of authority {}", row.fingerprint, other.name);
        return Err(Error::Conflict { field: "key", message });
    }
    if let Some(holder) = store::user_key::by_fingerprint(change.conn(), &row.fingerprint).await? {
        let message = format!("{} is the login key of user {}", row.fingerprint, holder.user);
        return Err(Error::Conflict { field: "key", message });
    }
    if known.len() >= SSH_USER_CAS_MAX {
        let message = format!("there are {SSH_USER_CAS_MAX} authorities, which is the most");
        return Err(Error::Conflict { field: "key", message });
    }
    store::ssh_ca::insert(change.conn(), &row).await?;
    change.put(Value::SshUserCa(build::ssh_ca(&row)));
    let view = view(&row);
    change.audit(note_of("create", &row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

/// All of them; a handful.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<SshCaView>, Error> {
    caller.allow(Action::Read, Resource::SshCas)?;
    Ok(store::ssh_ca::all(&mut app.db.read().await?).await?.iter().map(view).collect())
}

/// Believes an authority no longer; who came by it is cut.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), Error> {
    caller.allow(Action::Delete, Resource::SshCas)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let row = found(change.conn(), id).await?;
    let now = change.now();
    store::ssh_ca::delete(change.conn(), row.id, now).await?;
    change.remove(Kind::SSH_USER_CA, row.id.to_bytes());
    change.audit(note_of("delete", &row), Some(&view(&row)), None).await?;
    change.commit().await.map(drop)
}

/// Says that certificates are no longer good, by number, by key id or by the key they certify.
pub async fn revoke(app: &App, caller: &Caller, id: &str, members: Members) -> Result<SshCaView, Error> {
    caller.allow(Action::Update, Resource::SshCas)?;
    let mut input = Input::new(members);
    let serials = numbers(&mut input);
    let key_ids = input.texts("key_ids").or(Vec::new());
    let keys = input.texts("keys").or(Vec::new());
    for id in &key_ids {
        let is_id = (1..=SSH_KEY_ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
        if !is_id {
            let message =
                format!("a key id has 1 to {SSH_KEY_ID_BYTES_MAX} characters and no control character");
            input.invalid("key_ids", "invalid", message);
        }
    }
    let keys: Vec<String> = keys.iter().filter_map(|text| revoked_key(&mut input, text)).collect();
    if serials.is_empty() && key_ids.is_empty() && keys.is_empty() && input.is_sound() {
        input.invalid("serials", "required", "say what is revoked: serials, key_ids or keys");
    }
    input.finish(REVOKED)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let old = found(change.conn(), id).await?;
    let mut row = old.clone();
    row.stamp = old.stamp.changed(change.now());
    join(&mut row.revoked.serials, serials, "serials")?;
    join(&mut row.revoked.key_ids, key_ids, "key_ids")?;
    join(&mut row.revoked.keys, keys, "keys")?;
    store::ssh_ca::update(change.conn(), &row).await?;
    change.put(Value::SshUserCa(build::ssh_ca(&row)));
    let after = view(&row);
    change.audit(note_of("revoke", &row), Some(&view(&old)), Some(&after)).await?;
    change.commit().await?;
    Ok(after)
}

fn numbers(input: &mut Input) -> Vec<u64> {
    let Said::This(items) = input.items("serials") else { return Vec::new() };
    let mut serials = Vec::new();
    for item in items {
        match item.as_u64().filter(|serial| *serial != 0) {
            Some(serial) => serials.push(serial),
            None => input.invalid(
                "serials",
                "invalid",
                "a serial is a whole number above 0: 0 stands in every certificate without one",
            ),
        }
    }
    serials
}

/// The fingerprint of a key that is given as one, as a line, or as a certificate.
fn revoked_key(input: &mut Input, text: &str) -> Option<String> {
    if let Some(digest) = text.strip_prefix("SHA256:") {
        let is_digest = data_encoding::BASE64_NOPAD.decode(digest.as_bytes()).is_ok_and(|it| it.len() == 32);
        if is_digest {
            return Some(text.to_owned());
        }
        input.invalid("keys", "invalid", "this is no fingerprint; ssh-keygen -l prints one: SHA256:…");
        return None;
    }
    let certified = russh::keys::Certificate::from_openssh(text.trim())
        .map(|certificate| russh::keys::PublicKey::from(certificate.public_key().clone()));
    match certified.map_err(drop).or_else(|()| user_key::parse(text)) {
        Ok(key) => Some(fingerprint(&key)),
        Err(why) => {
            input.invalid("keys", "invalid", why);
            None
        }
    }
}

fn join<T: PartialEq>(held: &mut Vec<T>, more: Vec<T>, field: &'static str) -> Result<(), Error> {
    for item in more {
        if !held.contains(&item) {
            held.push(item);
        }
    }
    if held.len() <= SSH_REVOKED_MAX {
        return Ok(());
    }
    let message =
        format!("an authority has at most {SSH_REVOKED_MAX} revoked {field}; replace the authority instead");
    Err(Error::Conflict { field, message })
}

fn note_of<'a>(action: &'static str, row: &SshCaRow) -> Note<'a> {
    Note { action, kind: "ssh_ca", id: Some(row.id.to_string()), namespace: None }
}

/// Finds by id or name.
async fn found(conn: &mut store::Conn, id: &str) -> Result<SshCaRow, Error> {
    let rows = store::ssh_ca::all(conn).await?;
    let row = rows.into_iter().find(|row| row.name == id || row.id.to_string().eq_ignore_ascii_case(id));
    row.ok_or_else(|| Error::NotFound { kind: "SSH authority", name: id.chars().take(80).collect() })
}
