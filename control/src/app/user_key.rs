//! SSH public keys of users.

use config::id::KeyId;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use serde::Serialize;
use utoipa::ToSchema;

use super::change::{Change, Note, Scope};
use super::input::{Input, Members};
use super::page::{Asked, Page, page, time};
use super::{App, Caller, Error, user};
use crate::auth::rbac::{Action, Resource};
use crate::store::user::UserRow;
use crate::store::user_key::{KEYS_PER_USER_MAX, UserKeyRow};
use crate::store::{self, Stamp};

/// A public key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserKeyView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// `ssh-ed25519`, …
    #[serde(rename = "type")]
    pub algorithm: String,
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// What stood behind the key.
    pub comment: String,
    /// The line as OpenSSH writes it.
    pub key: String,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
}

/// Members that may be set.
pub const KNOWN: &[&str] = &["key"];

fn view(row: &UserKeyRow) -> UserKeyView {
    UserKeyView {
        id: row.id.to_string(),
        user: row.user.to_string(),
        algorithm: row.algorithm.clone(),
        fingerprint: row.fingerprint.clone(),
        comment: row.comment.clone(),
        key: format!("{} {} {}", row.algorithm, store::text::base64(&row.blob), row.comment)
            .trim_end()
            .to_owned(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
    }
}

/// Least RSA modulus in bits (INVENTORY 2.1).
const RSA_BITS_MIN: u32 = 2048;
/// Largest RSA modulus in bits: a verification with more costs an unauthenticated peer nothing and us a lot.
const RSA_BITS_MAX: u32 = 8192;
/// Longest line in bytes: an 8192-bit key with a long comment.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest comment in characters.
const COMMENT_CHARS_MAX: usize = 255;

/// Reads one line of an `authorized_keys` or `.pub` file, without options.
///
/// Errors: what is wrong with it, and what would be right.
pub fn parse(line: &str) -> Result<PublicKey, String> {
    let line = line.trim();
    if let Some(what) = wrong_file(line) {
        return Err(what.into());
    }
    if line.len() > LINE_BYTES_MAX || line.contains(['\n', '\r', '\0']) {
        return Err(format!("a key is one line of at most {LINE_BYTES_MAX} bytes"));
    }
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    if first == "ssh-dss" {
        return Err(
            "this is a DSA key, which no current OpenSSH takes either; make one with ssh-keygen -t ed25519"
                .into(),
        );
    }
    if first.ends_with("-cert-v01@openssh.com") {
        return Err("this is a certificate; add the authority that signed it (gatehouse ssh-ca add), or the plain key".into());
    }
    let begins_with_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| line.starts_with(start));
    let has_options = !begins_with_key && ["ssh-", "ecdsa-", "sk-"].iter().any(|word| line.contains(word));
    if has_options {
        return Err("options before the key (command=, from=, …) have no meaning here; a line begins with its type, as in ssh-ed25519 AAAA…, without options".into());
    }
    let key = PublicKey::from_openssh(line).map_err(|why| {
        if begins_with_key || !line.contains(' ') {
            format!("this is no OpenSSH public key: {why}")
        } else {
            "this is no OpenSSH public key; a line begins with its type, as in ssh-ed25519 AAAA…".into()
        }
    })?;
    allowed(&key)?;
    Ok(key)
}

/// Files that people take for a public key.
fn wrong_file(text: &str) -> Option<&'static str> {
    if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Some(
            "this is a private key, which nobody else may see; give the public one, and make a new pair if this one has left your machine",
        );
    }
    if text.contains("BEGIN SSH2 PUBLIC KEY") {
        return Some("this is the form of RFC 4716; ssh-keygen -i -f FILE turns it into OpenSSH's");
    }
    if text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN RSA PUBLIC KEY") {
        return Some("this is a PEM file; ssh-keygen -i -m PKCS8 -f FILE turns it into OpenSSH's form");
    }
    None
}

fn allowed(key: &PublicKey) -> Result<(), String> {
    match (key.algorithm(), key.key_data()) {
        (Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256, _)
        | (
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 | EcdsaCurve::NistP384 | EcdsaCurve::NistP521 },
            _,
        ) => Ok(()),
        (Algorithm::Rsa { .. }, KeyData::Rsa(rsa)) => {
            let bits = rsa.key_size();
            if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                Ok(())
            } else {
                Err(format!("the RSA key has {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken"))
            }
        }
        (other, _) => Err(format!(
            "keys of type {other} are not taken; taken are ssh-ed25519, ecdsa-sha2-nistp256, -384, -521, \
             sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com and ssh-rsa"
        )),
    }
}

/// Reads a key that has to be there.
pub(super) fn required(input: &mut Input, name: &str) -> Option<PublicKey> {
    let line = input.required(name)?;
    match parse(&line) {
        Ok(key) => Some(key),
        Err(why) => {
            input.invalid(name, "invalid", why);
            None
        }
    }
}

/// Adds a key to a user.
pub async fn create(app: &App, caller: &Caller, user: &str, members: Members) -> Result<UserKeyView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let key = required(&mut input, "key");
    let Some(key) = key else { return Err(input.refuse(KNOWN)) };
    input.finish(KNOWN)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let user = user::found(change.conn(), caller, user).await?;
    caller.allow(Action::Create, Resource::UserKeys(user.id))?;
    // A key signs in as the whole user: a token of less would otherwise make itself more.
    user::may_grant(caller, &user.grants)?;
    let row = row(&user, &key, change.now())?;
    free(&mut change, caller, &user, &row).await?;
    store::user_key::insert(change.conn(), &row).await?;
    user::publish(&mut change, &user).await?;
    let view = view(&row);
    change.audit(note("create", &row), None, Some(&view)).await?;
    change.commit().await?;
    Ok(view)
}

fn row(user: &UserRow, key: &PublicKey, now: i64) -> Result<UserKeyRow, Error> {
    Ok(UserKeyRow {
        id: KeyId::from_uuid(uuid::Uuid::now_v7()),
        user: user.id,
        algorithm: key.algorithm().to_string(),
        // The blob alone, so that the same key with another comment is the same key.
        blob: key.to_bytes().map_err(|error| Error::Internal(error.to_string()))?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        comment: comment(key),
        stamp: Stamp::new(now),
    })
}

/// Refuses a key that somebody has, and one too many.
async fn free(
    change: &mut Change<'_>,
    caller: &Caller,
    user: &UserRow,
    row: &UserKeyRow,
) -> Result<(), Error> {
    if let Some(other) = store::user_key::by_fingerprint(change.conn(), &row.fingerprint).await? {
        let message = match store::user::by_id(change.conn(), other.user).await? {
            Some(holder) if holder.id == user.id => {
                format!("{} has the key {} already", user.name, row.fingerprint)
            }
            Some(holder) if caller.actor.is_root() => {
                format!("{} is the key of user {}", row.fingerprint, holder.name)
            }
            Some(_) | None => format!("{} is the key of another user", row.fingerprint),
        };
        return Err(Error::Conflict { field: "key", message });
    }
    let authorities = store::ssh_ca::all(change.conn()).await?;
    if let Some(ca) = authorities.iter().find(|ca| ca.fingerprint == row.fingerprint) {
        let message =
            format!("{} is the key of the authority {}, which signs for others", row.fingerprint, ca.name);
        return Err(Error::Conflict { field: "key", message });
    }
    if store::user_key::of_user(change.conn(), user.id).await?.len() >= KEYS_PER_USER_MAX {
        let message = format!("{} has {KEYS_PER_USER_MAX} keys, which is the most", user.name);
        return Err(Error::Conflict { field: "key", message });
    }
    Ok(())
}

/// Members of an import.
pub const IMPORTED: &[&str] = &["authorized_keys"];

/// What an import did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserKeyImport {
    /// The keys that were added.
    pub items: Vec<UserKeyView>,
    /// Fingerprints that the user had already.
    pub unchanged: Vec<String>,
}

/// Adds every key of an `authorized_keys` file, or none: each line that cannot be taken is named.
pub async fn import(
    app: &App,
    caller: &Caller,
    user: &str,
    members: Members,
) -> Result<UserKeyImport, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut input = Input::new(members);
    let text = input.required("authorized_keys");
    let keys = text.as_deref().map(|text| lines(&mut input, text)).unwrap_or_default();
    if keys.is_empty() && input.is_sound() {
        input.invalid("authorized_keys", "invalid", "there is no key in it");
    }
    input.finish(IMPORTED)?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let user = user::found(change.conn(), caller, user).await?;
    caller.allow(Action::Create, Resource::UserKeys(user.id))?;
    user::may_grant(caller, &user.grants)?;
    let mut done = UserKeyImport { items: Vec::new(), unchanged: Vec::new() };
    for key in keys {
        let row = row(&user, &key, change.now())?;
        let held = store::user_key::by_fingerprint(change.conn(), &row.fingerprint).await?;
        if held.is_some_and(|held| held.user == user.id) {
            done.unchanged.push(row.fingerprint);
            continue;
        }
        free(&mut change, caller, &user, &row).await?;
        store::user_key::insert(change.conn(), &row).await?;
        let view = view(&row);
        change.audit(note("create", &row), None, Some(&view)).await?;
        done.items.push(view);
    }
    user::publish(&mut change, &user).await?;
    change.commit().await?;
    Ok(done)
}

/// The keys of a file, each once; what is wrong is noted with its line.
fn lines(input: &mut Input, text: &str) -> Vec<PublicKey> {
    if let Some(what) = wrong_file(text) {
        input.invalid("authorized_keys", "invalid", what);
        return Vec::new();
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if keys.len() >= KEYS_PER_USER_MAX {
            input.invalid("authorized_keys", "range", format!("a user has at most {KEYS_PER_USER_MAX} keys"));
            break;
        }
        match parse(line) {
            Ok(key) if keys.iter().any(|other| other.key_data() == key.key_data()) => {}
            Ok(key) => keys.push(key),
            Err(why) => input.invalid("authorized_keys", "invalid", format!("line {number}: {why}")),
        }
    }
    keys
}

fn comment(key: &PublicKey) -> String {
    let text = String::from_utf8_lossy(key.comment().as_bytes()).into_owned();
    text.chars().filter(|character| !character.is_control()).take(COMMENT_CHARS_MAX).collect()
}

/// A page of a user's keys.
pub async fn list(app: &App, caller: &Caller, user: &str, asked: &Asked) -> Result<Page<UserKeyView>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut conn = app.db.read().await?;
    let user = user::found(&mut conn, caller, user).await?;
    let slice = asked.slice(None)?;
    let rows = store::user_key::list(&mut conn, Some(user.id), &slice).await?;
    Ok(page(rows, &slice, |row| row.id.to_string(), view))
}

/// Takes a key away.
pub async fn delete(app: &App, caller: &Caller, user: &str, id: &str) -> Result<(), Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let nothing = || Error::NotFound { kind: "key", name: id.chars().take(80).collect() };
    let key = id.parse().map_err(|_| nothing())?;
    let mut change = app.begin(caller, Scope::Published).await?;
    let user = user::found(change.conn(), caller, user).await?;
    caller.allow(Action::Delete, Resource::UserKeys(user.id))?;
    user::may_grant(caller, &user.grants)?;
    let row = store::user_key::by_id(change.conn(), key).await?;
    let row = row.filter(|row| row.user == user.id).ok_or_else(nothing)?;
    let now = change.now();
    store::user_key::delete(change.conn(), row.id, now).await?;
    user::publish(&mut change, &user).await?;
    change.audit(note("delete", &row), Some(&view(&row)), None).await?;
    change.commit().await.map(drop)
}

fn note<'a>(action: &'static str, row: &UserKeyRow) -> Note<'a> {
    Note { action, kind: "user_key", id: Some(row.id.to_string()), namespace: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@example";

    #[test]
    fn a_public_key_line_is_read_with_its_comment() {
        let key = parse(&format!("  {ED25519}\n")).unwrap();
        assert_eq!(comment(&key), "me@example");
        assert_eq!(key.algorithm().to_string(), "ssh-ed25519");
    }

    #[test]
    fn what_is_no_public_key_is_named() {
        for (line, part) in [
            ("", "no OpenSSH public key"),
            ("hello", "no OpenSSH public key"),
            ("command=\"x\" ssh-ed25519 AAAA", "without options"),
            ("ssh-ed25519 AAAA", "no OpenSSH public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.contains(part), "{line}: {why}");
        }
    }
}
