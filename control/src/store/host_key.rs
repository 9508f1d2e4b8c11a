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
    /// Revision and times.
    pub stamp: Stamp,
}

fn read(row: &Row) -> Result<HostKeyRow, Error> {
    const TABLE: &str = "host_keys";
    Ok(HostKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        private_sealed: text::parsed(row, TABLE, "private_sealed", text::unbase64)?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &HostKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO host_keys (id, private_sealed, revision, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)";
    let args = args![
        key.id.to_string(),
        text::base64(&key.private_sealed),
        key.stamp.revision,
        key.stamp.created_at,
        key.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// All of them; a handful.
pub async fn all(conn: &mut Conn) -> Result<Vec<HostKeyRow>, Error> {
    let sql = "SELECT id, private_sealed, revision, created_at, updated_at FROM host_keys WHERE deleted_at IS NULL \
               ORDER BY id LIMIT 16";
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
