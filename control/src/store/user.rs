//! Users.

use config::grant::Grants;
use config::id::UserId;
use config::name::UserName;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One user.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Their id.
    pub id: UserId,
    /// Their name, as it was written.
    pub name: UserName,
    /// Whether they may do anything.
    pub enabled: bool,
    /// What they may do.
    pub grants: Grants,
    /// When access by SSH ends, in microseconds UTC.
    pub ssh_until: Option<i64>,
    /// Jumps at once in one gateway.
    pub ssh_sessions_max: Option<u16>,
    /// Free text.
    pub note: String,
    /// Revision and times.
    pub stamp: Stamp,
}

impl UserRow {
    /// Whether the time that access by SSH was given for is not over; in microseconds UTC.
    pub fn has_ssh(&self, now: i64) -> bool {
        self.ssh_until.is_none_or(|until| now < until)
    }
}

/// Names are unique without regard to case.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

macro_rules! columns {
    () => {
        "SELECT id, name, enabled, grants, ssh_until, ssh_sessions_max, note, revision, created_at, updated_at FROM users \
         WHERE deleted_at IS NULL"
    };
}

fn read(row: &Row) -> Result<UserRow, Error> {
    const TABLE: &str = "users";
    Ok(UserRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: text::parsed(row, TABLE, "name", UserName::parse)?,
        enabled: row.bool("enabled")?,
        grants: text::parsed(row, TABLE, "grants", str::parse)?,
        ssh_until: row.int_or("ssh_until")?,
        ssh_sessions_max: row.int_or("ssh_sessions_max")?.and_then(|most| u16::try_from(most).ok()),
        note: row.text("note")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, user: &UserRow) -> Result<(), Error> {
    let sql = "INSERT INTO users (id, name, name_folded, enabled, grants, is_root, note, revision, created_at, \
               updated_at, ssh_until, ssh_sessions_max) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let args = args![
        user.id.to_string(),
        user.name.as_str(),
        folded(user.name.as_str()),
        user.enabled,
        user.grants.to_string(),
        user.grants.is_root(),
        &user.note,
        user.stamp.revision,
        user.stamp.created_at,
        user.stamp.updated_at,
        user.ssh_until,
        user.ssh_sessions_max.map(i64::from),
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Writes all that may change.
pub async fn update(conn: &mut Conn, user: &UserRow) -> Result<(), Error> {
    let sql = "UPDATE users SET name = $2, name_folded = $3, enabled = $4, grants = $5, is_root = $6, note = $7, \
               revision = $8, updated_at = $9, ssh_until = $10, ssh_sessions_max = $11 WHERE id = $1 AND deleted_at IS NULL";
    let args = args![
        user.id.to_string(),
        user.name.as_str(),
        folded(user.name.as_str()),
        user.enabled,
        user.grants.to_string(),
        user.grants.is_root(),
        &user.note,
        user.stamp.revision,
        user.stamp.updated_at,
        user.ssh_until,
        user.ssh_sessions_max.map(i64::from),
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Takes one away, with keys and tokens.
pub async fn delete(conn: &mut Conn, id: UserId, now: i64) -> Result<(), Error> {
    let args = args![id.to_string(), now];
    conn.run("UPDATE user_keys SET deleted_at = $2 WHERE user_id = $1 AND deleted_at IS NULL", &args).await?;
    conn.run("UPDATE ssh_grants SET deleted_at = $2 WHERE user_id = $1 AND deleted_at IS NULL", &args)
        .await?;
    conn.run("UPDATE tokens SET deleted_at = $2 WHERE user_id = $1 AND deleted_at IS NULL", &args).await?;
    conn.run("UPDATE users SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL", &args).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: UserId) -> Result<Option<UserRow>, Error> {
    conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()])
        .await?
        .map(|row| read(&row))
        .transpose()
}

/// The name of a person, also of one who is gone.
pub async fn name_of(conn: &mut Conn, id: UserId) -> Result<Option<String>, Error> {
    let row = conn.row("SELECT name FROM users WHERE id = $1", &args![id.to_string()]).await?;
    row.map(|row| row.text("name")).transpose()
}

/// Finds by name, without regard to case.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<UserRow>, Error> {
    let sql = concat!(columns!(), " AND name_folded = $1");
    conn.row(sql, &args![folded(name)]).await?.map(|row| read(&row)).transpose()
}

/// How many enabled users are root.
pub async fn count_root(conn: &mut Conn) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) AS n FROM users WHERE is_root = $1 AND enabled = $1 AND deleted_at IS NULL";
    conn.row(sql, &args![true]).await?.map_or(Ok(0), |row| row.int("n"))
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, name: Option<&str>, slice: &Slice) -> Result<Vec<UserRow>, Error> {
    let select = Select::new(columns!()).and("name_folded =", name.map(folded)).slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}
