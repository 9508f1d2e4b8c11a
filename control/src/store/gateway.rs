//! Gateways that were enrolled.

use config::id::GatewayId;
use config::name::GatewayName;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One gateway.
#[derive(Debug, Clone)]
pub struct GatewayRow {
    /// Its id.
    pub id: GatewayId,
    /// Its name.
    pub name: GatewayName,
    /// SHA-256 of its certificate, in hex.
    pub fingerprint: String,
    /// When the certificate ends, in microseconds UTC.
    pub expires_at: i64,
    /// Revision and times.
    pub stamp: Stamp,
}

macro_rules! columns {
    () => {
        "SELECT id, name, certificate_fingerprint, certificate_expires_at, revision, created_at, updated_at \
         FROM gateways WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<GatewayRow, Error> {
    const TABLE: &str = "gateways";
    Ok(GatewayRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: text::parsed(row, TABLE, "name", GatewayName::parse)?,
        fingerprint: row.text("certificate_fingerprint")?,
        expires_at: row.int("certificate_expires_at")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, gateway: &GatewayRow) -> Result<(), Error> {
    let sql = "INSERT INTO gateways (id, name, certificate_fingerprint, certificate_expires_at, revision, created_at, \
               updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let args = args![
        gateway.id.to_string(),
        gateway.name.as_str(),
        &gateway.fingerprint,
        gateway.expires_at,
        gateway.stamp.revision,
        gateway.stamp.created_at,
        gateway.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Notes a new certificate.
pub async fn update(conn: &mut Conn, gateway: &GatewayRow) -> Result<(), Error> {
    let sql = "UPDATE gateways SET certificate_fingerprint = $2, certificate_expires_at = $3, revision = $4, \
               updated_at = $5 WHERE id = $1 AND deleted_at IS NULL";
    let args = args![
        gateway.id.to_string(),
        &gateway.fingerprint,
        gateway.expires_at,
        gateway.stamp.revision,
        gateway.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Revokes one.
pub async fn delete(conn: &mut Conn, id: GatewayId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE gateways SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: GatewayId) -> Result<Option<GatewayRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// Finds by name.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<GatewayRow>, Error> {
    conn.row(concat!(columns!(), " AND name = $1"), &args![name]).await?.map(|row| read(&row)).transpose()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, slice: &Slice) -> Result<Vec<GatewayRow>, Error> {
    Select::new(columns!()).slice("id", slice, false).rows(conn).await?.iter().map(read).collect()
}
