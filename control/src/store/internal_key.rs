//! Keys of control itself, sealed. They are rows of their own so that nothing that publishes ever meets them.

use data_encoding::BASE64;

use super::conn::args;
use super::{Conn, Db, Error};

/// The key of this name, still sealed; of several makers at once one wins, and all get the winner's.
///
/// `sealed` is what it becomes if there is none yet.
pub async fn get_or_put(db: &Db, name: &'static str, sealed: &[u8], now: i64) -> Result<Vec<u8>, Error> {
    let mut conn = db.write().await?;
    let sql = "INSERT INTO internal_keys (name, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    conn.run(sql, &args![name, BASE64.encode(sealed), now]).await?;
    conn.commit().await?;
    get(db, name).await?.ok_or_else(|| damaged(name, "the row vanished".to_owned()))
}

/// Puts a key in the place of the one of this name.
pub async fn put(conn: &mut Conn, name: &'static str, sealed: &[u8], now: i64) -> Result<(), Error> {
    conn.run("DELETE FROM internal_keys WHERE name = $1", &args![name]).await?;
    let sql = "INSERT INTO internal_keys (name, sealed, created_at) VALUES ($1, $2, $3)";
    conn.run(sql, &args![name, BASE64.encode(sealed), now]).await.map(drop)
}

/// The key of this name, still sealed; `None` before the first start.
pub async fn get(db: &Db, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
    read(&mut db.read().await?, name).await
}

/// The same, within a change.
pub async fn read(conn: &mut Conn, name: &'static str) -> Result<Option<Vec<u8>>, Error> {
    let row = conn.row("SELECT sealed FROM internal_keys WHERE name = $1", &args![name]).await?;
    let Some(row) = row else { return Ok(None) };
    let text = row.text("sealed")?;
    BASE64.decode(text.as_bytes()).map(Some).map_err(|why| damaged(name, why.to_string()))
}

fn damaged(name: &'static str, why: String) -> Error {
    Error::Damaged { table: "internal_keys", id: name.to_owned(), why }
}
