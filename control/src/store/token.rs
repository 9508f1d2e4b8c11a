//! API tokens: what was signed, for whom, until when. The tokens themselves are not stored.

use config::grant::Grants;
use config::id::{TokenId, UserId};

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One token.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its id, the claim `jti`.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What it may do at most.
    pub grants: Grants,
    /// Free text.
    pub note: String,
    /// Who had it made.
    pub issued_by: String,
    /// When it ends, in microseconds UTC.
    pub expires_at: i64,
    /// Revision and times.
    pub stamp: Stamp,
}

macro_rules! columns {
    () => {
        "SELECT id, user_id, grants, note, issued_by, expires_at, revision, created_at, updated_at FROM tokens \
         WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<TokenRow, Error> {
    const TABLE: &str = "tokens";
    Ok(TokenRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        user: text::parsed(row, TABLE, "user_id", str::parse)?,
        grants: text::parsed(row, TABLE, "grants", str::parse)?,
        note: row.text("note")?,
        issued_by: row.text("issued_by")?,
        expires_at: row.int("expires_at")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, token: &TokenRow) -> Result<(), Error> {
    let sql = "INSERT INTO tokens (id, user_id, grants, note, issued_by, expires_at, revision, created_at, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let args = args![
        token.id.to_string(),
        token.user.to_string(),
        token.grants.to_string(),
        &token.note,
        &token.issued_by,
        token.expires_at,
        token.stamp.revision,
        token.stamp.created_at,
        token.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Revokes one.
pub async fn delete(conn: &mut Conn, id: TokenId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE tokens SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Forgets tokens that ended before `then`.
pub async fn purge(conn: &mut Conn, then: i64) -> Result<(), Error> {
    conn.run("DELETE FROM tokens WHERE expires_at < $1", &args![then]).await.map(drop)
}

/// Finds by id; revoked ones are not found, ended ones are.
pub async fn by_id(conn: &mut Conn, id: TokenId) -> Result<Option<TokenRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// A page of those that have not ended by `now`, in the order of ids.
pub async fn list(
    conn: &mut Conn,
    user: Option<UserId>,
    now: i64,
    slice: &Slice,
) -> Result<Vec<TokenRow>, Error> {
    let select = Select::new(columns!())
        .and("user_id =", user.map(|user| user.to_string()))
        .and("expires_at >", Some(now))
        .slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}
