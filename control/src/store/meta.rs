//! The one row about the whole, and the log of what changed in which generation.

use config::snapshot::{Generation, Kind, Lineage, ObjectKey};

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// The row about the whole.
#[derive(Debug, Clone)]
pub struct Meta {
    /// The mark of this database.
    pub lineage: Lineage,
    /// The newest generation.
    pub generation: Generation,
    /// The admin address that the snapshot names.
    pub admin_address: Option<std::net::SocketAddr>,
    /// SHA-256 of the one-time setup token, in hex.
    pub setup_hash: Option<String>,
    /// Whether a root user was ever made.
    pub setup_closed: bool,
}

/// Reads the row.
pub async fn read(conn: &mut Conn) -> Result<Meta, Error> {
    let sql = "SELECT 'meta' AS id, lineage, generation, admin_address, setup_hash, setup_closed FROM meta WHERE id = 1";
    let row = conn.row(sql, &[]).await?.ok_or_else(gone)?;
    let admin_address = match row.text_or("admin_address")? {
        Some(_) => Some(text::parsed(&row, "meta", "admin_address", str::parse)?),
        None => None,
    };
    Ok(Meta {
        lineage: text::parsed(&row, "meta", "lineage", |text| {
            uuid::Uuid::try_parse(text).map(|uuid| Lineage(uuid.into_bytes()))
        })?,
        generation: generation(&row)?,
        admin_address,
        setup_hash: row.text_or("setup_hash")?,
        setup_closed: row.bool("setup_closed")?,
    })
}

/// Takes the next generation. First in a transaction, it makes writers wait for one another.
pub async fn next_generation(conn: &mut Conn) -> Result<Generation, Error> {
    let sql = "UPDATE meta SET generation = generation + 1 WHERE id = 1 RETURNING 'meta' AS id, generation";
    generation(&conn.row(sql, &[]).await?.ok_or_else(gone)?)
}

/// Makes writers wait as [`next_generation`] does, for a change that gateways never see.
pub async fn same_generation(conn: &mut Conn) -> Result<Generation, Error> {
    let sql = "UPDATE meta SET generation = generation WHERE id = 1 RETURNING 'meta' AS id, generation";
    generation(&conn.row(sql, &[]).await?.ok_or_else(gone)?)
}

/// Numbers on from at least `floor`.
pub async fn raise_generation(conn: &mut Conn, floor: Generation) -> Result<(), Error> {
    let floor = i64::try_from(floor.0).unwrap_or(i64::MAX - 1);
    conn.run("UPDATE meta SET generation = $1 WHERE id = 1 AND generation < $1", &args![floor])
        .await
        .map(drop)
}

/// Notes the admin address that the snapshot names.
pub async fn set_admin_address(conn: &mut Conn, address: std::net::SocketAddr) -> Result<(), Error> {
    conn.run("UPDATE meta SET admin_address = $1 WHERE id = 1", &args![address.to_string()]).await.map(drop)
}

/// Replaces the setup token's hash, unless the setup is closed.
pub async fn set_setup_hash(conn: &mut Conn, hash: &str) -> Result<(), Error> {
    conn.run("UPDATE meta SET setup_hash = $1 WHERE id = 1 AND setup_closed = $2", &args![hash, false])
        .await
        .map(drop)
}

/// Closes the setup for ever.
pub async fn close_setup(conn: &mut Conn) -> Result<(), Error> {
    conn.run("UPDATE meta SET setup_hash = NULL, setup_closed = $1 WHERE id = 1", &args![true])
        .await
        .map(drop)
}

/// Logs that an object changed in a generation.
pub async fn log_change(conn: &mut Conn, generation: Generation, key: ObjectKey) -> Result<(), Error> {
    let sql =
        "INSERT INTO change_log (generation, kind, object_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let id = uuid::Uuid::from_bytes(key.id).to_string();
    let generation = i64::try_from(generation.0).unwrap_or(i64::MAX);
    conn.run(sql, &args![generation, i64::from(key.kind.0), id]).await.map(drop)
}

/// The objects that changed after `after`, each once.
pub async fn changed_since(conn: &mut Conn, after: Generation) -> Result<Vec<ObjectKey>, Error> {
    let sql = "SELECT DISTINCT kind, object_id AS id FROM change_log WHERE generation > $1";
    let rows = conn.rows(sql, &args![i64::try_from(after.0).unwrap_or(i64::MAX)]).await?;
    let key = |row: &Row| {
        Ok(ObjectKey {
            kind: Kind(text::narrow(row, "change_log", "kind")?),
            id: text::parsed(row, "change_log", "id", |text| {
                uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes)
            })?,
        })
    };
    rows.iter().map(key).collect()
}

/// The generation of an object's last change; `None` when the log no longer reaches back to it.
pub async fn changed_at(conn: &mut Conn, key: ObjectKey) -> Result<Option<Generation>, Error> {
    let sql = "SELECT COALESCE(MAX(generation), 0) AS generation, 'change_log' AS id FROM change_log \
               WHERE kind = $1 AND object_id = $2";
    let id = uuid::Uuid::from_bytes(key.id).to_string();
    let row = conn.row(sql, &args![i64::from(key.kind.0), id]).await?;
    let found = row.as_ref().map(generation).transpose()?;
    Ok(found.filter(|generation| generation.0 > 0))
}

/// Forgets the log of generations that nobody asks for any more.
pub async fn prune_log(conn: &mut Conn, before: Generation) -> Result<(), Error> {
    let before = i64::try_from(before.0).unwrap_or(i64::MAX);
    conn.run("DELETE FROM change_log WHERE generation < $1", &args![before]).await.map(drop)
}

fn generation(row: &Row) -> Result<Generation, Error> {
    text::narrow(row, "meta", "generation").map(Generation)
}

fn gone() -> Error {
    Error::Damaged { table: "meta", id: "1".into(), why: "the row is gone".into() }
}
