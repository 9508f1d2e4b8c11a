//! The host keys of the SSH gate, sealed.

use config::id::KeyId;

use super::conn::{Conn, Row, args};
use super::{Error, Stamp, text};

/// One host key.
#[derive(Debug, Clone)]
pub struct HostKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The private key, sealed.
    pub private_sealed: Vec<u8>,
    /// Whether it is announced and not used yet.
    pub is_next: bool,
    /// Its certificate as OpenSSH writes it.
    pub certificate: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

const NEXT: &str = "next";
const CURRENT: &str = "current";

const fn stage(key: &HostKeyRow) -> &'static str {
    if key.is_next { NEXT } else { CURRENT }
}

fn read(row: &Row) -> Result<HostKeyRow, Error> {
    const TABLE: &str = "host_keys";
    Ok(HostKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        private_sealed: text::parsed(row, TABLE, "private_sealed", text::unbase64)?,
        is_next: row.text("stage")? == NEXT,
        certificate: row.text_or("certificate")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &HostKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO host_keys (id, private_sealed, stage, certificate, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let args = args![
        key.id.to_string(),
        text::base64(&key.private_sealed),
        stage(key),
        key.certificate.clone(),
        key.stamp.revision,
        key.stamp.created_at,
        key.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Writes stage and certificate.
pub async fn update(conn: &mut Conn, key: &HostKeyRow) -> Result<(), Error> {
    let sql =
        "UPDATE host_keys SET stage = $2, certificate = $3, revision = $4, updated_at = $5 WHERE id = $1";
    let args = args![
        key.id.to_string(),
        stage(key),
        key.certificate.clone(),
        key.stamp.revision,
        key.stamp.updated_at
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Forgets one for ever: nobody is to pass for the gate with what a backup of today holds.
pub async fn delete(conn: &mut Conn, id: KeyId) -> Result<(), Error> {
    conn.run("DELETE FROM host_keys WHERE id = $1", &args![id.to_string()]).await.map(drop)
}

/// All of them; a handful.
pub async fn all(conn: &mut Conn) -> Result<Vec<HostKeyRow>, Error> {
    let sql = "SELECT id, private_sealed, stage, certificate, revision, created_at, updated_at FROM host_keys WHERE deleted_at IS NULL \
               ORDER BY id LIMIT 16";
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
