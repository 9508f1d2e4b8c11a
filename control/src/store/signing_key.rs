//! The keys that sign console tickets, sealed.

use config::id::KeyId;

use super::conn::{Conn, Row, args};
use super::ticket_key::Stage;
use super::{Error, text};

/// One signing key.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The seed of an Ed25519 key, sealed.
    pub seed_sealed: Vec<u8>,
    /// What gateways verify with.
    pub public_key: [u8; 32],
    /// Where it is in its life.
    pub stage: Stage,
    /// Since when, in microseconds UTC.
    pub staged_at: i64,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
}

fn read(row: &Row) -> Result<SigningKeyRow, Error> {
    const TABLE: &str = "signing_keys";
    let public = |text: &str| {
        let bytes = text::unbase64(text)?;
        <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("a public key has 32 bytes, not {}", bytes.len()))
    };
    Ok(SigningKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        seed_sealed: text::parsed(row, TABLE, "seed_sealed", text::unbase64)?,
        public_key: text::parsed(row, TABLE, "public_key", public)?,
        stage: text::parsed(row, TABLE, "stage", Stage::parse)?,
        staged_at: row.int("staged_at")?,
        created_at: row.int("created_at")?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &SigningKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO signing_keys (id, seed_sealed, public_key, stage, staged_at, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let args = args![
        key.id.to_string(),
        text::base64(&key.seed_sealed),
        text::base64(&key.public_key),
        key.stage.as_str(),
        key.staged_at,
        key.created_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Moves one on.
pub async fn stage(conn: &mut Conn, key: &SigningKeyRow) -> Result<(), Error> {
    let sql = "UPDATE signing_keys SET stage = $2, staged_at = $3 WHERE id = $1";
    conn.run(sql, &args![key.id.to_string(), key.stage.as_str(), key.staged_at]).await.map(drop)
}

/// Forgets one for ever.
pub async fn delete(conn: &mut Conn, id: KeyId) -> Result<(), Error> {
    conn.run("DELETE FROM signing_keys WHERE id = $1", &args![id.to_string()]).await.map(drop)
}

/// All of them, oldest first; a handful.
pub async fn all(conn: &mut Conn) -> Result<Vec<SigningKeyRow>, Error> {
    let sql = "SELECT id, seed_sealed, public_key, stage, staged_at, created_at FROM signing_keys \
               ORDER BY created_at, id LIMIT 16";
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
