//! Authorities that sign people's SSH certificates.

use config::id::KeyId;
use serde::{Deserialize, Serialize};

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// What of an authority is no longer good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Serial numbers.
    pub serials: Vec<u64>,
    /// Key ids.
    pub key_ids: Vec<String>,
    /// SHA-256 of certified keys, as `SHA256:…`.
    pub keys: Vec<String>,
}

/// One authority.
#[derive(Debug, Clone)]
pub struct SshCaRow {
    /// Its id.
    pub id: KeyId,
    /// What people call it; unique.
    pub name: String,
    /// The key in SSH wire form.
    pub blob: Vec<u8>,
    /// `SHA256:…`
    pub fingerprint: String,
    /// What it signed and is no longer good.
    pub revoked: Revoked,
    /// Free text.
    pub note: String,
    /// Revision and times.
    pub stamp: Stamp,
}

macro_rules! columns {
    () => {
        "SELECT id, name, blob, fingerprint, revoked, note, revision, created_at, updated_at FROM ssh_user_cas \
         WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<SshCaRow, Error> {
    const TABLE: &str = "ssh_user_cas";
    Ok(SshCaRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: row.text("name")?,
        blob: text::parsed(row, TABLE, "blob", text::unbase64)?,
        fingerprint: row.text("fingerprint")?,
        revoked: text::parsed(row, TABLE, "revoked", |text| serde_json::from_str(text))?,
        note: row.text("note")?,
        stamp: Stamp::of(row)?,
    })
}

fn revoked(row: &SshCaRow) -> String {
    // Numbers and texts always become JSON.
    serde_json::to_string(&row.revoked).unwrap_or_default()
}

/// Adds one.
pub async fn insert(conn: &mut Conn, ca: &SshCaRow) -> Result<(), Error> {
    let sql = "INSERT INTO ssh_user_cas (id, name, blob, fingerprint, revoked, note, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let args = args![
        ca.id.to_string(),
        &ca.name,
        text::base64(&ca.blob),
        &ca.fingerprint,
        revoked(ca),
        &ca.note,
        ca.stamp.revision,
        ca.stamp.created_at,
        ca.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Writes what is revoked.
pub async fn update(conn: &mut Conn, ca: &SshCaRow) -> Result<(), Error> {
    let sql = "UPDATE ssh_user_cas SET revoked = $2, revision = $3, updated_at = $4 WHERE id = $1 AND deleted_at IS NULL";
    let args = args![ca.id.to_string(), revoked(ca), ca.stamp.revision, ca.stamp.updated_at];
    conn.run(sql, &args).await.map(drop)
}

/// Takes one away.
pub async fn delete(conn: &mut Conn, id: KeyId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE ssh_user_cas SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// All of them; at most [`config::limits::SSH_USER_CAS_MAX`].
pub async fn all(conn: &mut Conn) -> Result<Vec<SshCaRow>, Error> {
    let slice = Slice { after: None, limit: config::limits::SSH_USER_CAS_MAX, namespaces: None };
    Select::new(columns!()).slice("id", &slice, false).rows(conn).await?.iter().map(read).collect()
}
