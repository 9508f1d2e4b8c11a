//! The key of sticky cookies, sealed.

use config::id::KeyId;

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// One key.
#[derive(Debug, Clone)]
pub struct CookieKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The secret, sealed.
    pub secret_sealed: Vec<u8>,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
}

fn read(row: &Row) -> Result<CookieKeyRow, Error> {
    const TABLE: &str = "cookie_keys";
    Ok(CookieKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        secret_sealed: text::parsed(row, TABLE, "secret_sealed", text::unbase64)?,
        created_at: row.int("created_at")?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &CookieKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO cookie_keys (id, secret_sealed, created_at) VALUES ($1, $2, $3)";
    let args = args![key.id.to_string(), text::base64(&key.secret_sealed), key.created_at];
    conn.run(sql, &args).await.map(drop)
}

/// All of them, oldest first; one, unless somebody adds another by hand.
pub async fn all(conn: &mut Conn) -> Result<Vec<CookieKeyRow>, Error> {
    let sql = "SELECT id, secret_sealed, created_at FROM cookie_keys ORDER BY created_at, id LIMIT 16";
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
