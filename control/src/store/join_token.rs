//! Join tokens: one use, kept as hashes.

use config::id::{GatewayId, TokenId};
use config::name::GatewayName;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One join token.
#[derive(Debug, Clone)]
pub struct JoinTokenRow {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of its text, in hex.
    pub hash: String,
    /// The only name it may enrol.
    pub gateway_name: Option<GatewayName>,
    /// Who had it made.
    pub issued_by: String,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// When it was used, in microseconds UTC.
    pub used_at: Option<i64>,
    /// The gateway that it became.
    pub gateway: Option<GatewayId>,
    /// SHA-256 of the request that it was used with, in hex.
    pub csr_digest: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

macro_rules! columns {
    () => {
        "SELECT id, hash, gateway_name, issued_by, expires_at, used_at, gateway_id, csr_digest, revision, \
         created_at, updated_at \
         FROM join_tokens WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<JoinTokenRow, Error> {
    const TABLE: &str = "join_tokens";
    let gateway_name = match row.text_or("gateway_name")? {
        Some(_) => Some(text::parsed(row, TABLE, "gateway_name", GatewayName::parse)?),
        None => None,
    };
    let gateway = match row.text_or("gateway_id")? {
        Some(_) => Some(text::parsed(row, TABLE, "gateway_id", str::parse)?),
        None => None,
    };
    Ok(JoinTokenRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        hash: row.text("hash")?,
        gateway_name,
        issued_by: row.text("issued_by")?,
        expires_at: row.int("expires_at")?,
        used_at: row.int_or("used_at")?,
        gateway,
        csr_digest: row.text_or("csr_digest")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, token: &JoinTokenRow) -> Result<(), Error> {
    let sql = "INSERT INTO join_tokens (id, hash, gateway_name, issued_by, expires_at, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let args = args![
        token.id.to_string(),
        &token.hash,
        token.gateway_name.as_ref().map(GatewayName::as_str),
        &token.issued_by,
        token.expires_at,
        token.stamp.revision,
        token.stamp.created_at,
        token.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Spends one on a gateway and its request; false when it was spent already.
pub async fn spend(
    conn: &mut Conn,
    id: TokenId,
    gateway: GatewayId,
    csr_digest: &str,
    now: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE join_tokens SET used_at = $3, gateway_id = $2, csr_digest = $4, updated_at = $3 \
               WHERE id = $1 AND used_at IS NULL AND deleted_at IS NULL";
    Ok(conn.run(sql, &args![id.to_string(), gateway.to_string(), now, csr_digest]).await? == 1)
}

/// Takes one back.
pub async fn delete(conn: &mut Conn, id: TokenId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE join_tokens SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by hash.
pub async fn by_hash(conn: &mut Conn, hash: &str) -> Result<Option<JoinTokenRow>, Error> {
    conn.row(concat!(columns!(), " AND hash = $1"), &args![hash]).await?.map(|row| read(&row)).transpose()
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<JoinTokenRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, slice: &Slice) -> Result<Vec<JoinTokenRow>, Error> {
    Select::new(columns!()).slice("id", slice, false).rows(conn).await?.iter().map(read).collect()
}
