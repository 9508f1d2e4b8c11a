//! Accounts with ACME authorities. Keys, bindings and DNS secrets are sealed columns that only control reads.

use std::net::SocketAddr;

use config::id::AcmeAccountId;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One account.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// Its id.
    pub id: AcmeAccountId,
    /// What people call it.
    pub name: String,
    /// URL of the authority's directory.
    pub directory: String,
    /// Mail addresses.
    pub contacts: Vec<String>,
    /// Root certificates trusted for this authority besides the machine's, as PEM; empty for none.
    pub roots: String,
    /// Where names are looked up; empty for the resolvers of this machine.
    pub resolvers: Vec<SocketAddr>,
    /// How names are proved unless a certificate says otherwise.
    pub challenge: String,
    /// Key id of an external account.
    pub eab_kid: Option<String>,
    /// Its HMAC key as base64url text, sealed.
    pub eab_key_sealed: Option<Vec<u8>>,
    /// Where TXT records are put, as JSON without the secret.
    pub dns: Option<String>,
    /// The secret of that, sealed.
    pub dns_secret_sealed: Option<Vec<u8>>,
    /// What the authority knows us by, sealed; `None` until it was registered.
    pub credentials_sealed: Option<Vec<u8>>,
    /// URL of the account at the authority.
    pub url: Option<String>,
    /// When the terms were agreed to, in microseconds UTC.
    pub agreed_at: i64,
    /// Why the last registration failed.
    pub last_error: Option<String>,
    /// Revision and times.
    pub stamp: Stamp,
}

const TABLE: &str = "acme_accounts";

macro_rules! columns {
    () => {
        "SELECT id, name, directory, contacts, roots, resolvers, challenge, eab_kid, eab_key_sealed, dns, dns_secret_sealed, \
         credentials_sealed, url, agreed_at, last_error, revision, created_at, updated_at FROM acme_accounts \
         WHERE deleted_at IS NULL"
    };
}

pub(super) fn bytes(row: &Row, table: &'static str, column: &'static str) -> Result<Option<Vec<u8>>, Error> {
    match row.text_or(column)? {
        None => Ok(None),
        Some(_) => text::parsed(row, table, column, text::unbase64).map(Some),
    }
}

fn read(row: &Row) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        name: row.text("name")?,
        directory: row.text("directory")?,
        contacts: row.text("contacts")?.split(' ').filter(|mail| !mail.is_empty()).map(Into::into).collect(),
        roots: row.text("roots")?,
        resolvers: text::parsed(row, TABLE, "resolvers", |text| {
            text.split(' ').filter(|part| !part.is_empty()).map(str::parse).collect::<Result<_, _>>()
        })?,
        challenge: row.text("challenge")?,
        eab_kid: row.text_or("eab_kid")?,
        eab_key_sealed: bytes(row, TABLE, "eab_key_sealed")?,
        dns: row.text_or("dns")?,
        dns_secret_sealed: bytes(row, TABLE, "dns_secret_sealed")?,
        credentials_sealed: bytes(row, TABLE, "credentials_sealed")?,
        url: row.text_or("url")?,
        agreed_at: row.int("agreed_at")?,
        last_error: row.text_or("last_error")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, account: &AccountRow) -> Result<(), Error> {
    let sql = "INSERT INTO acme_accounts (id, name, directory, contacts, roots, challenge, eab_kid, eab_key_sealed, dns, \
               dns_secret_sealed, agreed_at, revision, created_at, updated_at, resolvers) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    let args = args![
        account.id.to_string(),
        &account.name,
        &account.directory,
        account.contacts.join(" "),
        &account.roots,
        &account.challenge,
        account.eab_kid.clone(),
        account.eab_key_sealed.as_deref().map(text::base64),
        account.dns.clone(),
        account.dns_secret_sealed.as_deref().map(text::base64),
        account.agreed_at,
        account.stamp.revision,
        account.stamp.created_at,
        account.stamp.updated_at,
        account.resolvers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Notes what the authority knows an account by; the first registration wins.
pub async fn registered(
    conn: &mut Conn,
    id: AcmeAccountId,
    credentials_sealed: &[u8],
    url: &str,
) -> Result<(), Error> {
    let sql = "UPDATE acme_accounts SET credentials_sealed = $2, url = $3, last_error = NULL \
               WHERE id = $1 AND credentials_sealed IS NULL AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), text::base64(credentials_sealed), url]).await.map(drop)
}

/// Forgets what the authority knew it by: it says that it knows it no more.
pub async fn unregistered(conn: &mut Conn, id: AcmeAccountId) -> Result<(), Error> {
    let sql = "UPDATE acme_accounts SET credentials_sealed = NULL, url = NULL WHERE id = $1";
    conn.run(sql, &args![id.to_string()]).await.map(drop)
}

/// Notes why a registration failed.
pub async fn failed(conn: &mut Conn, id: AcmeAccountId, why: &str) -> Result<(), Error> {
    let sql = "UPDATE acme_accounts SET last_error = $2 WHERE id = $1";
    conn.run(sql, &args![id.to_string(), why]).await.map(drop)
}

/// Takes one away, and every secret of it.
pub async fn delete(conn: &mut Conn, id: AcmeAccountId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE acme_accounts SET deleted_at = $2, credentials_sealed = NULL, eab_key_sealed = NULL, \
               dns_secret_sealed = NULL WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Finds by id.
pub async fn by_id(conn: &mut Conn, id: AcmeAccountId) -> Result<Option<AccountRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND id = $1"), &args![id.to_string()]).await?;
    row.map(|row| read(&row)).transpose()
}

/// Finds by name.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<AccountRow>, Error> {
    let row = conn.row(concat!(columns!(), " AND name = $1"), &args![name]).await?;
    row.map(|row| read(&row)).transpose()
}

/// The oldest of them: what is ordered with when nobody says with which.
pub async fn first(conn: &mut Conn) -> Result<Option<AccountRow>, Error> {
    let row = conn.row(concat!(columns!(), " ORDER BY id LIMIT 1"), &[]).await?;
    row.map(|row| read(&row)).transpose()
}

/// A page, in the order of ids.
pub async fn list(conn: &mut Conn, name: Option<&str>, slice: &Slice) -> Result<Vec<AccountRow>, Error> {
    let select = Select::new(columns!()).and("name =", name).slice("id", slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}
