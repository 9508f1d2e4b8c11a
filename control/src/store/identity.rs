//! Certificate chains with their sealed keys.

use config::id::IdentityId;
use config::name::HostPattern;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One identity.
#[derive(Debug, Clone)]
pub struct IdentityRow {
    /// Its id.
    pub id: IdentityId,
    /// `self-signed`.
    pub source: String,
    /// The names it serves.
    pub names: Vec<HostPattern>,
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key, sealed.
    pub key_sealed: Vec<u8>,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// Revision and times.
    pub stamp: Stamp,
}

const TABLE: &str = "identities";

macro_rules! columns {
    () => {
        "SELECT id, source, chain, key_sealed, expires_at, revision, created_at, updated_at FROM identities \
         WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<IdentityRow, Error> {
    Ok(IdentityRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        source: row.text("source")?,
        names: Vec::new(),
        chain: text::parsed(row, TABLE, "chain", |text| text.split(' ').map(text::unbase64).collect())?,
        key_sealed: text::parsed(row, TABLE, "key_sealed", text::unbase64)?,
        expires_at: row.int("expires_at")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, identity: &IdentityRow) -> Result<(), Error> {
    let sql = "INSERT INTO identities (id, source, chain, key_sealed, expires_at, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let chain: Vec<_> = identity.chain.iter().map(|der| text::base64(der)).collect();
    let args = args![
        identity.id.to_string(),
        &identity.source,
        chain.join(" "),
        text::base64(&identity.key_sealed),
        identity.expires_at,
        identity.stamp.revision,
        identity.stamp.created_at,
        identity.stamp.updated_at,
    ];
    conn.run(sql, &args).await?;
    for name in &identity.names {
        let sql = "INSERT INTO identity_names (pattern, identity_id) VALUES ($1, $2)";
        conn.run(sql, &args![name.to_string(), identity.id.to_string()]).await?;
    }
    Ok(())
}

/// Takes one away; its names are free again.
pub async fn delete(conn: &mut Conn, id: IdentityId, now: i64) -> Result<(), Error> {
    conn.run("DELETE FROM identity_names WHERE identity_id = $1", &args![id.to_string()]).await?;
    let sql = "UPDATE identities SET deleted_at = $2, key_sealed = '' WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    let Some(row) = row else { return Ok(None) };
    let mut identity = read(&row)?;
    let sql = "SELECT identity_id AS id, pattern FROM identity_names WHERE identity_id = $1 ORDER BY pattern";
    for row in conn.rows(sql, &args![id.to_string()]).await? {
        identity.names.push(text::parsed(&row, "identity_names", "pattern", HostPattern::parse)?);
    }
    Ok(Some(identity))
}

/// An identity that serves exactly this pattern.
pub async fn by_name(conn: &mut Conn, pattern: &HostPattern) -> Result<Option<IdentityId>, Error> {
    let sql = "SELECT identity_id AS id FROM identity_names WHERE pattern = $1 ORDER BY identity_id LIMIT 1";
    let row = conn.row(sql, &args![pattern.to_string()]).await?;
    row.map(|row| text::parsed(&row, "identity_names", "id", str::parse)).transpose()
}

/// A page, in the order of ids, names included: two queries, whatever its size.
pub async fn list(conn: &mut Conn, slice: &Slice) -> Result<Vec<IdentityRow>, Error> {
    let select = Select::new(columns!()).slice("id", slice, false);
    let mut identities = select.rows(conn).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> = identities.iter().map(|identity| identity.id.to_string()).collect();
    let names = Select::new("SELECT identity_id AS id, pattern FROM identity_names WHERE pattern <> ''");
    for row in names.among("identity_id", &ids, "pattern").rows(conn).await? {
        let id: IdentityId = text::parsed(&row, "identity_names", "id", str::parse)?;
        if let Ok(place) = identities.binary_search_by_key(&id, |identity| identity.id)
            && let Some(identity) = identities.get_mut(place)
        {
            identity.names.push(text::parsed(&row, "identity_names", "pattern", HostPattern::parse)?);
        }
    }
    Ok(identities)
}

/// Those that end before `then`, the first hundred.
pub async fn ending(conn: &mut Conn, then: i64) -> Result<Vec<IdentityId>, Error> {
    let sql = "SELECT id FROM identities WHERE expires_at < $1 AND deleted_at IS NULL ORDER BY expires_at LIMIT 100";
    let rows = conn.rows(sql, &args![then]).await?;
    rows.iter().map(|row| text::parsed(row, TABLE, "id", str::parse)).collect()
}
