//! What was asked of certificate authorities in the last week: what their limits are counted by.

use config::id::AcmeOrderId;
use config::name::HostPattern;

use super::acme_order::names_key;
use super::conn::{Conn, Row, args};
use super::{Error, text};

/// One order that an authority was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id: one order of ours that begins anew has several.
    pub id: String,
    /// The order of ours.
    pub order: AcmeOrderId,
    /// URL of the authority's directory.
    pub directory: String,
    /// The names.
    pub names: Vec<HostPattern>,
    /// When the authority was asked last, in microseconds UTC.
    pub at: i64,
    /// Whether there was a certificate for the same names.
    pub is_renewal: bool,
    /// Whether no certificate comes of it any more.
    pub is_failed: bool,
}

const TABLE: &str = "acme_ledger";
/// Entries that are read of one authority: twice what the most generous limit allows in a week.
const ENTRIES_MAX: i64 = 50_000;

fn read(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        id: row.text("id")?,
        order: text::parsed(row, TABLE, "order_id", str::parse)?,
        directory: row.text("directory")?,
        names: text::parsed(row, TABLE, "names", |text| text.split(' ').map(HostPattern::parse).collect())?,
        at: row.int("at")?,
        is_renewal: row.bool("is_renewal")?,
        is_failed: row.bool("is_failed")?,
    })
}

/// Notes a request before it is made, or that the same one is made again.
pub async fn book(conn: &mut Conn, entry: &Entry) -> Result<(), Error> {
    let sql = "INSERT INTO acme_ledger (id, order_id, directory, names, at, is_renewal, is_failed) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    let args = args![
        &entry.id,
        entry.order.to_string(),
        &entry.directory,
        names_key(&entry.names),
        entry.at,
        entry.is_renewal,
        entry.is_failed,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Notes that no certificate comes of a request.
pub async fn failed(conn: &mut Conn, id: &str) -> Result<(), Error> {
    conn.run("UPDATE acme_ledger SET is_failed = $2 WHERE id = $1", &args![id, true]).await.map(drop)
}

/// What an authority was asked for since `then`, the newest first.
pub async fn since(conn: &mut Conn, directory: &str, then: i64) -> Result<Vec<Entry>, Error> {
    let sql = "SELECT id, order_id, directory, names, at, is_renewal, is_failed FROM acme_ledger \
               WHERE directory = $1 AND at >= $2 ORDER BY at DESC LIMIT $3";
    conn.rows(sql, &args![directory, then, ENTRIES_MAX]).await?.iter().map(read).collect()
}

/// Forgets what was asked before `then`.
pub async fn purge(conn: &mut Conn, then: i64) -> Result<(), Error> {
    conn.run("DELETE FROM acme_ledger WHERE at < $1", &args![then]).await.map(drop)
}
