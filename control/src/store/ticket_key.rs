//! The keys of session tickets, sealed.

use config::id::KeyId;

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// Where a ticket key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// On its way in: gateways open with it and do not seal yet.
    Next,
    /// The one that seals.
    Current,
    /// On its way out: only opens.
    Old,
}

impl Stage {
    /// Its text in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Old => "old",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        [Self::Next, Self::Current, Self::Old]
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no stage"))
    }
}

/// One ticket key.
#[derive(Debug, Clone)]
pub struct TicketKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The secret, sealed.
    pub secret_sealed: Vec<u8>,
    /// Where it is in its life.
    pub stage: Stage,
    /// Since when, in microseconds UTC.
    pub staged_at: i64,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
}

fn read(row: &Row) -> Result<TicketKeyRow, Error> {
    const TABLE: &str = "ticket_keys";
    Ok(TicketKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        secret_sealed: text::parsed(row, TABLE, "secret_sealed", text::unbase64)?,
        stage: text::parsed(row, TABLE, "stage", Stage::parse)?,
        staged_at: row.int("staged_at")?,
        created_at: row.int("created_at")?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &TicketKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO ticket_keys (id, secret_sealed, stage, staged_at, created_at) VALUES ($1, $2, $3, $4, $5)";
    let args = args![
        key.id.to_string(),
        text::base64(&key.secret_sealed),
        key.stage.as_str(),
        key.staged_at,
        key.created_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Moves one on.
pub async fn stage(conn: &mut Conn, key: &TicketKeyRow) -> Result<(), Error> {
    let sql = "UPDATE ticket_keys SET stage = $2, staged_at = $3 WHERE id = $1";
    conn.run(sql, &args![key.id.to_string(), key.stage.as_str(), key.staged_at]).await.map(drop)
}

/// Forgets one for ever: nobody is to open old tickets with what a backup of today holds.
pub async fn delete(conn: &mut Conn, id: KeyId) -> Result<(), Error> {
    conn.run("DELETE FROM ticket_keys WHERE id = $1", &args![id.to_string()]).await.map(drop)
}

/// All of them, oldest first; a handful.
pub async fn all(conn: &mut Conn) -> Result<Vec<TicketKeyRow>, Error> {
    let sql = "SELECT id, secret_sealed, stage, staged_at, created_at FROM ticket_keys \
               ORDER BY created_at, id LIMIT 16";
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
