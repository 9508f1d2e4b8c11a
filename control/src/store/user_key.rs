//! SSH public keys of users.

use config::id::{KeyId, UserId};

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One public key.
#[derive(Debug, Clone)]
pub struct UserKeyRow {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// `ssh-ed25519`, …
    pub algorithm: String,
    /// The key in SSH wire form.
    pub blob: Vec<u8>,
    /// `SHA256:…`
    pub fingerprint: String,
    /// What stood behind the key.
    pub comment: String,
    /// Revision and times.
    pub stamp: Stamp,
}

/// Keys of one user at most; a principal's object stays far below its bound.
pub const KEYS_PER_USER_MAX: usize = 200;

macro_rules! columns {
    () => {
        "SELECT id, user_id, algorithm, blob, fingerprint, comment, revision, created_at, updated_at FROM user_keys \
         WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<UserKeyRow, Error> {
    const TABLE: &str = "user_keys";
    Ok(UserKeyRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        user: text::parsed(row, TABLE, "user_id", str::parse)?,
        algorithm: row.text("algorithm")?,
        blob: text::parsed(row, TABLE, "blob", text::unbase64)?,
        fingerprint: row.text("fingerprint")?,
        comment: row.text("comment")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &UserKeyRow) -> Result<(), Error> {
    let sql = "INSERT INTO user_keys (id, user_id, algorithm, blob, fingerprint, comment, revision, created_at, \
               updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let args = args![
        key.id.to_string(),
        key.user.to_string(),
        &key.algorithm,
        text::base64(&key.blob),
        &key.fingerprint,
        &key.comment,
        key.stamp.revision,
        key.stamp.created_at,
        key.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Takes one away.
pub async fn delete(conn: &mut Conn, id: KeyId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE user_keys SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: KeyId) -> Result<Option<UserKeyRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// Who holds this key.
pub async fn by_fingerprint(conn: &mut Conn, fingerprint: &str) -> Result<Option<UserKeyRow>, Error> {
    let sql = concat!(columns!(), " AND fingerprint = $1");
    conn.row(sql, &args![fingerprint]).await?.map(|row| read(&row)).transpose()
}

/// All keys of a user, at most [`KEYS_PER_USER_MAX`].
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<UserKeyRow>, Error> {
    let slice = Slice { after: None, limit: KEYS_PER_USER_MAX, namespaces: None };
    list(conn, Some(user), &slice).await
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, user: Option<UserId>, slice: &Slice) -> Result<Vec<UserKeyRow>, Error> {
    let select =
        Select::new(columns!()).and("user_id =", user.map(|user| user.to_string())).slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}
