//! Host keys of the gate: made on first start, the same on every gateway, announced before they are used.

use config::id::KeyId;
use config::name::HostName;
use config::snapshot::{Kind, Value};
use russh::keys::PublicKey;
use serde::Serialize;
use utoipa::ToSchema;

use super::own::{certify_host, ensure, new_key, open, public_line};
use super::{blob, fingerprint, internal, sshfp};
use crate::app::change::{Change, Note, Scope};
use crate::app::input::{Input, Members};
use crate::app::page::time;
use crate::app::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
use crate::publish::build;
use crate::store::host_key::HostKeyRow;
use crate::store::ssh_authority::{Purpose, SshAuthorityRow};
use crate::store::{self, Stamp};

/// Names of the gate that one certificate carries at most.
const NAMES_MAX: usize = 64;

/// A host key of the gate's SSH listener; its private half is never shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SshHostKeyView {
    /// Its id.
    pub id: String,
    /// `current`, or `next`: announced to clients and not used yet.
    pub stage: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// The public key as OpenSSH writes it.
    pub key: String,
    /// The data of an SSHFP record (RFC 4255): algorithm, 2 for SHA-256, digest.
    pub sshfp: Option<String>,
    /// The gate's certificate of it as OpenSSH writes it; absent until names of the gate were certified.
    pub certificate: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

/// The host keys and what vouches for them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SshHostKeysView {
    /// Every key, the current one first.
    pub items: Vec<SshHostKeyView>,
    /// Names of the gate that are certified.
    pub names: Vec<String>,
    /// The key of the authority that certifies the host keys, for `@cert-authority` lines.
    pub host_authority: Option<String>,
    /// The key of the authority that logs the browser terminal in, for `TrustedUserCAKeys` on VMs.
    pub user_authority: Option<String>,
}

/// Members of a rotation.
pub const ROTATION: &[&str] = &["finish"];
/// Members of a certification.
pub const CERTIFIED: &[&str] = &["names"];

impl App {
    /// Makes the first host key and the authorities.
    pub(in crate::app) async fn ensure_host_key(&self) -> Result<(), Error> {
        let mut conn = self.db.read().await?;
        let has_key = !store::host_key::all(&mut conn).await?.is_empty();
        if has_key && store::ssh_authority::find(&mut conn, Purpose::User).await?.is_some() {
            return Ok(());
        }
        drop(conn);
        let caller = Caller::ourselves("start");
        let mut change = self.begin(&caller, Scope::Published).await?;
        ensure(&mut change, Purpose::Host).await?;
        ensure(&mut change, Purpose::User).await?;
        if store::host_key::all(change.conn()).await?.is_empty() {
            make(&mut change, false).await?;
        }
        publish_gate(&mut change).await?;
        change.commit().await.map(drop)
    }
}

/// Tells gateways what the SSH gate has to know besides keys and people.
pub(in crate::app) async fn publish_gate(change: &mut Change<'_>) -> Result<(), Error> {
    let gate = build::ssh_gate(change.conn()).await?;
    change.put(Value::SshGate(gate));
    Ok(())
}

async fn make(change: &mut Change<'_>, is_next: bool) -> Result<HostKeyRow, Error> {
    let keys = change.keys();
    let (key, private_sealed) = new_key(keys.as_ref(), build::HOST_KEY_PURPOSE)?;
    let authority = ensure(change, Purpose::Host).await?;
    let row = HostKeyRow {
        id: KeyId::from_uuid(uuid::Uuid::now_v7()),
        private_sealed,
        is_next,
        certificate: certify_host(keys.as_ref(), &authority, key.public_key())?,
        stamp: Stamp::new(change.now()),
    };
    store::host_key::insert(change.conn(), &row).await?;
    change.put(Value::SshHostKey(build::host_key(&row, keys.as_ref())?));
    Ok(row)
}

fn public(app: &App, row: &HostKeyRow) -> Result<PublicKey, Error> {
    let key = open(app.keys.as_ref(), build::HOST_KEY_PURPOSE, &row.private_sealed)?;
    Ok(key.public_key().clone())
}

fn view(app: &App, row: &HostKeyRow) -> Result<SshHostKeyView, Error> {
    let key = public(app, row)?;
    let blob = blob(&key)?;
    Ok(SshHostKeyView {
        id: row.id.to_string(),
        stage: if row.is_next { "next" } else { "current" }.to_owned(),
        fingerprint: fingerprint(&key),
        sshfp: sshfp(&key, &blob),
        key: key.to_openssh().map_err(|error| internal(&error))?,
        certificate: row.certificate.clone(),
        created_at: time(row.stamp.created_at),
    })
}

/// Everything about the host keys. Public by nature: anybody who connects is shown them.
pub async fn show(app: &App, caller: &Caller) -> Result<SshHostKeysView, Error> {
    caller.allow(Action::Read, Resource::SshHostKeys)?;
    let mut conn = app.db.read().await?;
    let mut rows = store::host_key::all(&mut conn).await?;
    rows.sort_by_key(|row| (row.is_next, row.id));
    let authority = store::ssh_authority::find(&mut conn, Purpose::Host).await?;
    let (names, host_authority) =
        authority.map_or_else(Default::default, |row: SshAuthorityRow| (row.names, Some(row.public_line)));
    Ok(SshHostKeysView {
        items: rows.iter().map(|row| view(app, row)).collect::<Result<_, _>>()?,
        names,
        host_authority,
        user_authority: public_line(&mut conn, Purpose::User).await?,
    })
}

/// Makes the next key, which gateways announce beside the current one; with `finish` the next one takes its place.
pub async fn rotate(app: &App, caller: &Caller, members: Members) -> Result<SshHostKeysView, Error> {
    caller.allow(Action::Update, Resource::SshHostKeys)?;
    let mut input = Input::new(members);
    let finish = input.truth("finish").or(false);
    input.finish(ROTATION)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let rows = store::host_key::all(change.conn()).await?;
    let next = rows.iter().find(|row| row.is_next).cloned();
    match (next, finish) {
        (None, false) => {
            let row = make(&mut change, true).await?;
            change.audit(note_of("rotate", row.id), None, Some(&view(app, &row)?)).await?;
        }
        (Some(next), true) => {
            for old in rows.iter().filter(|row| !row.is_next) {
                store::host_key::delete(change.conn(), old.id).await?;
                change.remove(Kind::SSH_HOST_KEY, old.id.to_bytes());
            }
            let before = view(app, &next)?;
            let stamp = next.stamp.changed(change.now());
            let row = HostKeyRow { is_next: false, stamp, ..next };
            store::host_key::update(change.conn(), &row).await?;
            change.put(Value::SshHostKey(build::host_key(&row, app.keys.as_ref())?));
            change.audit(note_of("rotate", row.id), Some(&before), Some(&view(app, &row)?)).await?;
        }
        (Some(next), false) => {
            let shown = view(app, &next)?.fingerprint;
            let message = format!(
                "{shown} is announced already; say finish when clients have had time to learn it: it then takes the place of the current one"
            );
            return Err(Error::Conflict { field: "finish", message });
        }
        (None, true) => {
            let message = "no next key is announced; rotate without finish first".to_owned();
            return Err(Error::Conflict { field: "finish", message });
        }
    }
    change.commit().await?;
    show(app, caller).await
}

/// Certifies the host keys for the names that people type, all of them; none takes the certificates back.
pub async fn certify(app: &App, caller: &Caller, members: Members) -> Result<SshHostKeysView, Error> {
    caller.allow(Action::Update, Resource::SshHostKeys)?;
    let mut input = Input::new(members);
    let said = input.texts("names").some();
    let mut names = Vec::new();
    for text in said.as_deref().unwrap_or_default() {
        match name(text) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(why) => input.invalid("names", "invalid", why),
        }
    }
    if said.is_none() && input.is_sound() {
        input.invalid("names", "required", "say by which names people reach the gate; [] takes all back");
    }
    if names.len() > NAMES_MAX {
        input.invalid("names", "range", format!("at most {NAMES_MAX} names"));
    }
    input.finish(CERTIFIED)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let authority = SshAuthorityRow { names, ..ensure(&mut change, Purpose::Host).await? };
    store::ssh_authority::set_names(change.conn(), Purpose::Host, &authority.names).await?;
    for row in store::host_key::all(change.conn()).await? {
        let certificate = certify_host(app.keys.as_ref(), &authority, &public(app, &row)?)?;
        let before = view(app, &row)?;
        let row = HostKeyRow { certificate, stamp: row.stamp.changed(change.now()), ..row };
        store::host_key::update(change.conn(), &row).await?;
        change.put(Value::SshHostKey(build::host_key(&row, app.keys.as_ref())?));
        change.audit(note_of("certify", row.id), Some(&before), Some(&view(app, &row)?)).await?;
    }
    change.commit().await?;
    show(app, caller).await
}

/// A host name or an address as ssh compares it: lower case, without port.
fn name(text: &str) -> Result<String, String> {
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return Ok(ip.to_string());
    }
    HostName::parse(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

fn note_of<'a>(action: &'static str, id: KeyId) -> Note<'a> {
    Note { action, kind: "ssh_host_key", id: Some(id.to_string()), namespace: None }
}
