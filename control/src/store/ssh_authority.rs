//! The product's own SSH authorities, sealed.

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// What an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The gate's host keys.
    Host,
    /// Minutes-long certificates of the browser terminal.
    User,
}

impl Purpose {
    /// Its text in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::User => "user",
        }
    }
}

/// One authority.
#[derive(Debug, Clone)]
pub struct SshAuthorityRow {
    /// The public key as OpenSSH writes it.
    pub public_line: String,
    /// The private key, sealed.
    pub private_sealed: Vec<u8>,
    /// The names of the gate that it certifies; of the host authority only.
    pub names: Vec<String>,
    /// When it was made, in microseconds UTC.
    pub created_at: i64,
}

fn read(row: &Row) -> Result<SshAuthorityRow, Error> {
    Ok(SshAuthorityRow {
        public_line: row.text("public_line")?,
        private_sealed: text::parsed(row, "ssh_authorities", "private_sealed", text::unbase64)?,
        names: row.text("names")?.split_ascii_whitespace().map(str::to_owned).collect(),
        created_at: row.int("created_at")?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, purpose: Purpose, row: &SshAuthorityRow) -> Result<(), Error> {
    let sql = "INSERT INTO ssh_authorities (purpose, public_line, private_sealed, names, created_at) \
               VALUES ($1, $2, $3, $4, $5)";
    let sealed = text::base64(&row.private_sealed);
    let args = args![purpose.as_str(), &row.public_line, sealed, row.names.join(" "), row.created_at];
    conn.run(sql, &args).await.map(drop)
}

/// Writes the names it certifies.
pub async fn set_names(conn: &mut Conn, purpose: Purpose, names: &[String]) -> Result<(), Error> {
    let sql = "UPDATE ssh_authorities SET names = $2 WHERE purpose = $1";
    conn.run(sql, &args![purpose.as_str(), names.join(" ")]).await.map(drop)
}

/// Finds one.
pub async fn find(conn: &mut Conn, purpose: Purpose) -> Result<Option<SshAuthorityRow>, Error> {
    let sql = "SELECT public_line, private_sealed, names, created_at FROM ssh_authorities WHERE purpose = $1";
    conn.row(sql, &args![purpose.as_str()]).await?.map(|row| read(&row)).transpose()
}
